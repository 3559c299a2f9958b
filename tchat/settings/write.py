"""Writing ``config.toml`` and other files atomically; comments and order are kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tchat.errors import StorageError, UsageError
from tchat.paths import private_folder
from tchat.settings.keys import Key, Value, parse
from tchat.settings.load import check_document, parse_toml, read_text

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


def set_value(path: Path, key: Key, text: str) -> Value:
    """Write ``key = text`` into the file at ``path``, and return the value.

    Raises:
        UsageError: ``text`` spells no allowed value, or the file is broken; it is left as it is.
        StorageError: The file cannot be written; it is left as it is.
    """
    value = parse(key, text, "config set")

    def change(document: TOMLDocument) -> None:
        table = _table(document, key)
        table[key.name] = list(value) if isinstance(value, tuple) else value
        table.pop(key.former, None)

    _rewrite(path, change)
    return value


def unset_value(path: Path, key: Key) -> None:
    """Remove ``key`` from the file at ``path``, which restores its default.

    Raises:
        UsageError: The file is broken; it is left as it is.
        StorageError: The file cannot be written; it is left as it is.
    """

    def change(document: TOMLDocument) -> None:
        for name in (key.name, key.former):
            _table(document, key).pop(name, None)

    _rewrite(path, change)


def write_private(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write ``data`` to ``path`` atomically, with mode 0600.

    Follows a symbolic link. Removes what a killed process left of an earlier write.

    Args:
        path: The file.
        data: Its content, whole or in pieces.

    Raises:
        StorageError: It cannot be written; what was there is unchanged.
    """
    target = Path(os.path.realpath(path))
    private_folder(path.parent)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    _remove_stale(target)
    try:
        descriptor = os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        _discard(part)
        raise StorageError(
            f"cannot write {target}: {error.strerror}", "free some space or check the permissions"
        ) from error
    except BaseException:  # the pieces could not be had
        _discard(part)
        raise


def _discard(part: Path) -> None:
    """Remove ``part``; a failure never hides the error that led here."""
    with suppress(OSError):
        part.unlink(missing_ok=True)


def _remove_stale(target: Path) -> None:
    """Remove the parts of ``target`` whose processes have died."""
    if os.name != "posix":  # there, asking whether a process lives ends it
        return
    begin, end = f".{target.name}.", ".part"
    with suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            number = entry.name[len(begin) : -len(end)]
            named = entry.name.startswith(begin) and entry.name.endswith(end)
            if named and number.isdecimal() and not _lives(int(number)):
                (target.parent / entry.name).unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def write_new(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write ``data`` to a new file at ``path``, with mode 0600.

    Raises:
        UsageError: The file exists, or its folder does not.
        StorageError: It cannot be written.
    """
    if os.path.lexists(path):
        raise UsageError(f"{path} is already there", "choose another name or delete it first")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", "create it, or choose another")
    write_private(path, data)


def _rewrite(path: Path, change: Callable[[TOMLDocument], object]) -> None:
    import tomlkit

    text = read_text(path)
    check_document(parse_toml(text, path), path)
    document = tomlkit.parse(text)
    change(document)
    written = tomlkit.dumps(document)
    check_document(parse_toml(written, path), path)
    write_private(path, written.encode())


def _table(document: TOMLDocument, key: Key) -> Any:
    if not key.section:
        return document
    import tomlkit

    if key.section not in document:
        document[key.section] = tomlkit.table()
    return document[key.section]
