"""Which files of a store there are: what cannot be read is never taken for "not there".

`Path.glob`, `Path.is_file` and `os.walk` leave out what they may not read. Where files are
converted and keys removed, that would leave words in clear, or encrypted without a key.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from tchat.errors import StorageError
from tchat.translation import tr


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn a failed read in the block into an error that names ``path``.

    Raises:
        StorageError: The block raised `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            tr("cannot read {path}: {reason}", path=path, reason=error.strerror or error),
            tr("check the permissions and the disk, or move it away"),
        ) from error


def is_file(path: Path) -> bool:
    """Whether a regular file is there; links are followed.

    Raises:
        StorageError: That cannot be told, or it is a link that leads nowhere.
    """
    status = _status(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def find_files(folder: Path, *patterns: str) -> list[Path]:
    """The files below ``folder`` that a pattern names, sorted; ``/`` separates folders.

    Raises:
        StorageError: A folder cannot be read, or a link leads nowhere.
    """
    return sorted({each for pattern in patterns for each in _find(folder, pattern.split("/"))})


def find_folders(tree: Path) -> list[Path]:
    """The folder ``tree`` and all in it, links left out; none where it is not there.

    Raises:
        StorageError: One cannot be read.
    """
    if not _is_folder(tree):
        return []
    with reading(tree), os.scandir(tree) as entries:
        below = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    return [tree, *(each for name in below for each in find_folders(tree / name))]


def first_bytes(path: Path, size: int) -> bytes:
    """The beginning of a file; empty where there is none.

    Raises:
        StorageError: It cannot be read.
    """
    with reading(path):
        try:
            with path.open("rb") as file:
                return file.read(size)
        except FileNotFoundError:
            return b""


def _find(folder: Path, parts: list[str]) -> Iterator[Path]:
    if not _is_folder(folder):
        return
    with reading(folder):
        found = [each for each in folder.iterdir() if fnmatchcase(each.name, parts[0])]
    for each in found:
        if len(parts) > 1:
            yield from _find(each, parts[1:])
        elif is_file(each):
            yield each


def _is_folder(path: Path) -> bool:
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _status(path: Path) -> os.stat_result | None:
    """None where nothing is."""
    with reading(path):
        try:
            return path.stat()
        except (FileNotFoundError, NotADirectoryError):
            if path.is_symlink():
                raise
            return None
