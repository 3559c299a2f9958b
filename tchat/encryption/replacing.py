"""Replace a file by another form of it, so that nothing of the one before stays readable."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from operator import eq
from pathlib import Path

from tchat.encryption.lock_file import sync_folder
from tchat.encryption.stored_paths import reading
from tchat.errors import StorageError
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
    with new_file(path) as new:
        with writing(path), new.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        put_in_place(new, path, overwrite=overwrite)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """An empty file beside ``path``, to write what will take its place; erased on a failure.

    It may be in clear.

    Raises:
        StorageError: It cannot be made.
    """
    new = path.with_name(f".{path.name}{_NEW}")
    files = [new.with_name(new.name + suffix) for suffix in ("-journal", "-wal", "")]
    with writing(path):
        for each in files:
            each.unlink(missing_ok=True)
    try:
        yield private_file(new)
    except BaseException:
        for each in files:
            # The error that led here is told, and what stays is removed by the next conversion.
            with suppress(OSError, StorageError):
                if os.path.lexists(each):
                    erase_file(each)
        raise


@contextmanager
def overwriting(paths: Iterable[Path]) -> Iterator[None]:
    """Overwrite the content of those of ``paths`` that the block removes.

    A second link to each leads to it then, also after a kill: see `remove_leftovers`.

    Raises:
        StorageError: One cannot be overwritten.
    """
    with ExitStack() as opened:
        for path in paths:
            opened.enter_context(_overwriting(path))
        yield


@contextmanager
def _overwriting(path: Path) -> Iterator[None]:
    link = path.with_name(f".{path.name}{_OLD}")
    with writing(path):
        try:
            file = path.open("r+b")
            link.unlink(missing_ok=True)
        except FileNotFoundError:
            file = None
    if file is None:
        yield
        return
    with file:
        with suppress(OSError):  # a file system without links
            os.link(path, link)
        try:
            yield
        finally:
            with writing(path):
                if os.fstat(file.fileno()).st_nlink == link.exists():
                    _overwrite(file.fileno())
                link.unlink(missing_ok=True)


def put_in_place(new: Path, path: Path, *, overwrite: bool) -> None:
    """Put the finished file ``new`` in the place of ``path``, once the disk has it."""
    old = path.with_name(f".{path.name}{_OLD}")
    with writing(path):
        _sync(new)
        if overwrite:
            old.unlink(missing_ok=True)
            # A second link: after a kill the old content can still be found and overwritten.
            with suppress(OSError):
                os.link(path, old)
        with path.open("r+b") as before:
            new.replace(path)
            sync_folder(path.parent)
            if overwrite and os.fstat(before.fileno()).st_nlink <= 1:
                _overwrite(before.fileno())
        old.unlink(missing_ok=True)


def leftover_target(name: str) -> str | None:
    """The name of the file that a kill left ``name`` of; None for a name of something else."""
    match = _LEFTOVER.fullmatch(name)
    return match and match[1]


def remove_leftovers(
    folders: Iterable[Path],
    paths: Iterable[Path] = (),
    is_own: Callable[[Path], bool] = lambda _: True,
) -> None:
    """Remove what kills left of files that were being written; it may be in clear.

    Args:
        folders: Where it is looked for; those in them are not looked through.
        paths: Files beside which it is looked for by name.
        is_own: Whether a file in ``folders`` is one that tchat writes: others are left alone.
    """
    for folder in folders:
        _erase_leftovers(folder, is_own)
    for path in paths:
        _erase_leftovers(path.parent, partial(eq, path))


def _erase_leftovers(folder: Path, is_wanted: Callable[[Path], bool]) -> None:
    with reading(folder):
        try:
            entries = list(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return
    for entry in entries:
        target = leftover_target(entry.name)
        if target is not None and is_wanted(folder / target):
            with suppress(FileNotFoundError):
                erase_file(entry)


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
