"""Writing files and folders that only the user may read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.errors import StorageError, UsageError
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_COPY = ".copy"  # ends the name of the copy of the lock file
BESIDE = ("", "-journal", "-wal", "-shm")  # suffixes of SQLite's files for one database


def private_folder(path: Path) -> Path:
    """Create ``path`` and its missing parents with mode 0700, whatever the umask.

    Existing folders keep their mode: they may belong to other programs.

    Raises:
        StorageError: The folder cannot be created.
    """
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True, mode=0o700)
        path.mkdir(exist_ok=True)  # raises when it is a file
    except OSError as error:
        raise StorageError(
            tr("cannot make the folder {path}: {reason}", path=path, reason=error.strerror),
            tr("set TCHAT_HOME to a folder that you may write to"),
        ) from error
    return path


def private_file(path: Path) -> Path:
    """Create ``path``, if missing, with mode 0600 in a private folder, and return it.

    Raises:
        StorageError: The file cannot be created.
    """
    private_folder(path.parent)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        if os.name == "posix" and path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        folder = isinstance(error, IsADirectoryError)
        raise StorageError(
            tr("cannot write {path}: {reason}", path=path, reason=error.strerror),
            tr("move it away") if folder else tr("free some space or check the permissions"),
        ) from error
    return path


@contextmanager
def writing(
    path: Path, hint: str = N_("free some space or check the permissions")
) -> Iterator[None]:
    """Turn a failed write in the block into an error that names ``path``.

    Raises:
        StorageError: The block raised `OSError`, which names no file when a disk is full.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            tr("cannot write {path}: {reason}", path=path, reason=error.strerror or error), tr(hint)
        ) from error


def is_writable(path: Path) -> bool:
    """Whether the file and its folder may be written; a read-only disk refuses it to anybody."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def is_on_read_only_disk(path: Path) -> bool:
    """Whether the file system of ``path`` is mounted read-only."""
    return os.name == "posix" and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def acquire_lock(path: Path, seconds: float, mode: int = 0o600) -> BaseFileLock | None:
    """Lock the lock file ``path``; None when another process holds it for so many seconds.

    Any thread may release it.

    Raises:
        OSError, NotImplementedError: It cannot be locked.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, mode=mode, thread_local=False)
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return None
    return lock


def special_file(database: Path) -> Path | None:
    """The first file of a database that exists but is not regular, links followed.

    SQLite would block for ever on a pipe.
    """
    for suffix in BESIDE:
        file = database.with_name(database.name + suffix)
        try:
            if not stat.S_ISREG(file.stat().st_mode):
                return file
        except OSError:
            continue  # SQLite reports the error
    return None


def write_private(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write ``data``, whole or in pieces, to ``path`` atomically, with mode 0600.

    Follows a symbolic link. Removes what a killed process left of an earlier write.

    Raises:
        StorageError: It cannot be written; what was there is unchanged.
    """
    target = Path(os.path.realpath(path))
    private_folder(path.parent)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    _remove_stale(target)
    try:
        with writing(target):
            descriptor = os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.writelines([data] if isinstance(data, bytes) else data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
    except BaseException:
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
            if named and number.isdecimal() and not is_alive(int(number)):
                (target.parent / entry.name).unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Whether there is a process of this number; not for Windows, where asking ends it."""
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
        raise UsageError(
            tr("{path} is already there", path=path), tr("choose another name or delete it first")
        )
    require_folder(path)
    write_private(path, data)


def require_folder(path: Path) -> None:
    """Raise UsageError unless the folder of ``path`` exists."""
    if not path.absolute().parent.is_dir():
        raise UsageError(
            tr("there is no folder {parent}", parent=path.parent),
            tr("create it, or choose another"),
        )
