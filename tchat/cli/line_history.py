"""The lines typed in chats on lines, which readline goes back through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tchat.chat.stored_files import TYPED_LINES, TYPED_LINES_PURPOSE
from tchat.cli.console import Console
from tchat.encryption.stored_file import StoredFile
from tchat.errors import StorageError
from tchat.private_files import has_magic, private_file, require_clear, without_lock, writing
from tchat.translation import tr

HISTORY_LENGTH = 1000


@contextmanager
def line_history(console: Console, *, private: bool = False) -> Iterator[None]:
    """Enable line editing with history, if Python has readline.

    A ``private`` chat neither reads nor writes the history.
    """
    try:
        import readline  # noqa: F401
    except ImportError:
        yield
        return
    if not console.stdin_is_terminal:
        yield
        return
    stored = _stored(console)
    _tell_failure(console, lambda: _read(stored, private=private))
    try:
        yield
    finally:
        if not private and not _is_locked(stored):  # `save_line_history` was called before
            _tell_failure(console, lambda: _write(stored))


def save_line_history(console: Console) -> None:
    """Save what was typed so far, before the store is locked."""
    try:
        import readline  # noqa: F401
    except ImportError:
        return
    _tell_failure(console, lambda: _write(_stored(console)))


def _stored(console: Console) -> StoredFile:
    path = console.paths.config / TYPED_LINES
    return StoredFile(path, console.paths.encryption, TYPED_LINES_PURPOSE)


def _is_locked(stored: StoredFile) -> bool:
    return stored.encryption is not None and not stored.encryption.is_unlocked


def _read(stored: StoredFile, *, private: bool) -> None:
    import readline

    path = stored.path
    readline.clear_history()
    if path.exists() and not path.is_file():  # readline would wait for the writer of a pipe
        raise StorageError(tr("{path} is not a file", path=path), tr("move it away"))
    if stored.encryption is not None:
        if not private and path.exists() and not _is_locked(stored):
            for line in stored.read().decode("utf-8", "replace").splitlines():
                readline.add_history(line)
        return
    if not private:
        if has_magic(path):
            raise without_lock(path)
        private_file(path)
    with suppress(OSError):  # there is none; an empty one is an error to libedit
        readline.read_history_file(path)


def _write(stored: StoredFile) -> None:
    import readline

    path = stored.path
    if path.exists() and not path.is_file():
        return  # told by `_read`
    if stored.encryption is not None:  # readline would write it in clear
        stored.write("".join(f"{line}\n" for line in _last_lines()).encode())
        return
    require_clear(path)
    private_file(path)
    readline.set_history_length(HISTORY_LENGTH)
    with writing(path):  # readline's error names no file
        readline.write_history_file(path)
    private_file(path)


def _last_lines() -> Iterator[str]:
    import readline

    length = readline.get_current_history_length()
    for number in range(max(0, length - HISTORY_LENGTH), length):
        yield readline.get_history_item(number + 1).replace("\n", " ")


def _tell_failure(console: Console, work: Callable[[], None]) -> None:
    """Report an error of ``work``, and go on without history."""
    try:
        work()
    except StorageError as error:
        console.say(tr("typed lines are not saved for later chats: {error}", error=error))
    except OSError as error:
        console.say(
            tr(
                "typed lines are not saved for later chats: {strerror}",
                strerror=error.strerror or error,
            )
        )


def forget_last_line() -> None:
    """Remove the last line from the history, for a private session."""
    try:
        import readline
    except ImportError:
        return
    if length := readline.get_current_history_length():
        readline.remove_history_item(length - 1)
