"""Replace a file by another form of it, so that nothing of the one before stays readable."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tchat.encryption.lock_file import sync_folder
from tchat.private_files import private_file, writing

_NEW, _OLD = ".converting", ".converted"  # endings of hidden files beside one that is replaced
# What kills left of a replacement, and of `tchat.private_files.write_private`.
_LEFTOVER = re.compile(r"\.(.+)\.(?:converting|converted|\d+\.part)(?:-journal|-wal)?")
_PIECE = 1 << 20  # bytes


def replace_file(path: Path, pieces: Iterable[bytes], *, overwrite: bool) -> None:
    """Give a file another content; with ``overwrite`` the one before is overwritten.

    Not where it has another name, which is somebody's copy. What a file system that copies on
    writing, a snapshot of it or a flash memory keeps of it is out of reach.

    Raises:
        StorageError: It cannot be written; what was there is unchanged.
    """
    new = new_file(path)
    with writing(path), new.open("wb") as file:
        for piece in pieces:
            file.write(piece)
    put_in_place(new, path, overwrite=overwrite)


def new_file(path: Path) -> Path:
    """An empty file beside ``path``, to write what will take its place."""
    new = path.with_name(f".{path.name}{_NEW}")
    for suffix in ("-journal", "-wal", ""):
        new.with_name(new.name + suffix).unlink(missing_ok=True)
    return private_file(new)


def put_in_place(new: Path, path: Path, *, overwrite: bool) -> None:
    """Put the finished file ``new`` in the place of ``path``, once the disk has it."""
    old = path.with_name(f".{path.name}{_OLD}")
    with writing(path):
        _sync(new)
        if overwrite:
            old.unlink(missing_ok=True)
            # Names the old content, so that a kill leaves nothing that is not found again.
            with suppress(OSError):
                os.link(path, old)
        with path.open("r+b") as before:
            new.replace(path)
            sync_folder(path.parent)
            if overwrite and os.fstat(before.fileno()).st_nlink <= 1:
                _overwrite(before.fileno())
        old.unlink(missing_ok=True)


def remove_leftovers(folders: Iterable[Path], paths: Iterable[Path] = ()) -> None:
    """Remove what kills left of files that were being written; it may be in clear.

    Args:
        folders: Where nobody else writes; those in them are not looked through.
        paths: Files beside which it is looked for by name.
    """
    for folder in folders:
        _erase_leftovers(folder, "")
    for path in paths:
        _erase_leftovers(path.parent, path.name)


def _erase_leftovers(folder: Path, name: str) -> None:
    if not folder.is_dir():
        return
    with writing(folder):
        found = [entry.name for entry in folder.iterdir() if entry.name.startswith(f".{name}")]
    for entry in found:
        match = _LEFTOVER.fullmatch(entry)
        if match and name in {"", match[1]}:
            with suppress(FileNotFoundError):
                erase_file(folder / entry)


def erase_file(path: Path) -> None:
    """Overwrite a file and remove it; only remove it where it has another name, too.

    Raises:
        StorageError: It cannot be removed.
    """
    with writing(path):
        if path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1:
            with path.open("r+b") as file:
                _overwrite(file.fileno())
        path.unlink()


def _overwrite(descriptor: int) -> None:
    left = os.fstat(descriptor).st_size
    os.lseek(descriptor, 0, os.SEEK_SET)
    zeros = memoryview(bytes(_PIECE))
    while left > 0:
        left -= os.write(descriptor, zeros[: min(left, _PIECE)])
    os.fsync(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
