"""Input of a prompt: files, standard input and words; and lines typed on a terminal."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TextIO

from tchat.chat.attachments import (
    MAX_SIZE,
    Attachment,
    expand_patterns,
    join_parts,
    read_file,
    too_large_error,
)
from tchat.cli.console import Console
from tchat.decoding import AUTO, Decoded, decode
from tchat.errors import Interrupted, StorageError
from tchat.paths import private_file


def read_prompt(
    console: Console, words: Sequence[str], files: Sequence[str], encoding: str = AUTO
) -> str:
    """Read a prompt: files, standard input and words, separated by blank lines.

    The document precedes the question, so that a second question reuses its KV cache.

    Args:
        console: Standard input is read when it is not a terminal.
        words: The prompt as the shell split it.
        files: Paths and glob patterns.
        encoding: Of files and standard input; what is assumed of it is told.

    Raises:
        UsageError: A file is missing or is not text, or there is too much.
        StorageError: A file cannot be read.
    """
    parts = [
        str(Attachment(str(path), report_decoding(console, read_file(path, encoding))))
        for path in expand_patterns(files)
    ]
    if not console.stdin_is_terminal:
        parts.append(read_text(console, encoding).strip("\n"))
    return join_parts([*parts, report_decoding(console, _decoded_words(words))])


def decode_words(words: Sequence[str]) -> str:
    """The words as text; decodes bytes that Python could not."""
    return _decoded_words(words).text


def _decoded_words(words: Sequence[str]) -> Decoded:
    text = " ".join(words)
    try:
        text.encode()
    except UnicodeEncodeError:
        return decode(os.fsencode(text), "the prompt")
    return Decoded(text, "")


def read_text(console: Console, encoding: str = AUTO) -> str:
    """Read standard input as text; reports an assumed encoding.

    Raises:
        UsageError: It is no text, too large, or in another encoding.
    """
    return report_decoding(console, decode(read_all(console), "standard input", encoding))


def report_decoding(console: Console, decoded: Decoded) -> str:
    """The decoded text; prints a notice if its encoding was assumed."""
    if decoded.assumed:
        console.notice(decoded.assumed)
    return decoded.text


def read_all(console: Console) -> bytes:
    """Read standard input as bytes; empty if it is closed.

    Raises:
        UsageError: It is larger than any context window.
    """
    if console.stdin is None:
        return b""
    data = console.stdin.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise too_large_error("standard input")
    return data


HISTORY = "history"
HISTORY_LENGTH = 1000


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Raise `Interrupted` on SIGTERM and SIGHUP, so that the terminal is restored.

    Raises:
        Interrupted: One of them came.
    """

    def receive(number: int, _: FrameType | None) -> None:
        raise Interrupted(number)

    names = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, receive) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
    path = console.paths.config / HISTORY
    _tell_failure(console, lambda: _read(path, private=private))
    try:
        yield
    finally:
        if not private:
            _tell_failure(console, lambda: _write(path))


def _read(path: Path, *, private: bool) -> None:
    import readline

    readline.clear_history()
    if path.exists() and not path.is_file():  # readline would wait for the writer of a pipe
        raise StorageError(f"{path} is not a file", "move it away")
    if not private:
        private_file(path)
    with suppress(OSError):  # there is none; an empty one is an error to libedit
        readline.read_history_file(path)


def _write(path: Path) -> None:
    import readline

    if path.exists() and not path.is_file():
        return  # told by `_read`
    private_file(path)
    readline.set_history_length(HISTORY_LENGTH)
    readline.write_history_file(path)
    private_file(path)


def _tell_failure(console: Console, work: Callable[[], None]) -> None:
    """Report an error of ``work``, and go on without history."""
    try:
        work()
    except StorageError as error:
        console.say(f"typed lines are not saved for later chats: {error}")
    except OSError as error:  # readline's names no file
        console.say(f"typed lines are not saved for later chats: {error.strerror or error}")


def read_line(console: Console, prompt: str) -> str:
    """Read a line; the prompt is printed on the terminal even if standard output is redirected.

    Raises:
        EOFError: The input has ended.
    """
    if console.stdout_is_terminal:
        return input(prompt)
    with _terminal(console) as terminal:
        terminal.write(prompt)
        terminal.flush()
        return input()


def forget_last_line() -> None:
    """Remove the last line from the history, for a private session."""
    try:
        import readline
    except ImportError:
        return
    if length := readline.get_current_history_length():
        readline.remove_history_item(length - 1)


@contextmanager
def _terminal(console: Console) -> Iterator[TextIO]:
    """The terminal, while standard output is redirected."""
    if console.stderr_is_terminal:
        yield console.stderr
        return
    try:
        terminal = open("/dev/tty", "w", encoding="utf-8")  # noqa: PTH123, SIM115
    except OSError:
        terminal = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    with terminal:
        yield terminal
