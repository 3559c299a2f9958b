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

LOCK_FILE = "lock.json"
LOCK_COPY = ".copy"  # ends the name of the copy of the lock file
RANDOM_DIGITS = 10  # that follow the process in the name of a part
MAGICS = (b"tchatENC", b"tchat1:")  # begin an encrypted file, and an encrypted line
STORE_DEPTH = 5  # folders between a file of the store and the lock file, at most
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
    _remove_stale(target)
    with _part_of(target, data) as part, writing(target):
        part.replace(target)


@contextmanager
def _part_of(target: Path, data: bytes | Iterable[bytes]) -> Iterator[Path]:
    """A new file beside ``target`` with ``data``, on the disk; it is removed in the end.

    Its name cannot be guessed, and nothing that is there already is opened: others may write to the
    folder.
    """
    number = f"{os.getpid()}{int.from_bytes(os.urandom(4)):0{RANDOM_DIGITS}}"
    part = target.with_name(f".{target.name}.{number}.part")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)
    with writing(target):
        descriptor = os.open(part, flags | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with writing(target), os.fdopen(descriptor, "wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
        yield part
    finally:
        with suppress(OSError):  # never hides the error that led here
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
            process = number[:-RANDOM_DIGITS] or number  # alone, in names by older versions
            if named and number.isdecimal() and not is_alive(int(process)):
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


def require_clear(path: Path) -> None:
    """Require that the store of the file is in clear still, for a process that began so.

    Raises:
        StorageError: `tchat lock on` ran meanwhile, or the file is encrypted and its lock file is
            missing: what this process writes would be in clear.
    """
    if not is_encrypted_now(path):
        return
    if not _has_lock(path):
        raise without_lock(path)
    raise StorageError(
        tr("{path} is not touched: the store was encrypted while tchat ran", path=path),
        tr("end this tchat and start it again"),
    )


def without_lock(path: Path) -> StorageError:
    """The error for an encrypted file where no lock file is."""
    return StorageError(
        tr("{path} is encrypted, and the lock file that opens it is missing", path=path),
        tr("restore lock.json from a backup"),
    )


def is_encrypted_now(path: Path) -> bool:
    """Whether the file is encrypted, or lies in a store that has a lock."""
    return _has_lock(path) or has_magic(path)


def has_magic(path: Path) -> bool:
    """Whether the file is encrypted, or its first line is; False where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(MAGICS)
    except OSError:
        return False  # there is none, or writing it tells what is wrong


def _has_lock(path: Path) -> bool:
    lock = f"{LOCK_FILE}{LOCK_COPY}"
    return any(os.path.lexists(folder / lock) for folder in path.parents[:STORE_DEPTH])


def write_new(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write ``data`` to a new file at ``path``, with mode 0600; nothing is ever replaced.

    Raises:
        UsageError: The file exists, or its folder does not.
        StorageError: It cannot be written.
    """
    if os.path.lexists(path):
        raise _already_there(path)
    require_folder(path)
    with _part_of(path, data) as part:
        try:
            with writing(path):
                _link(part, path)
        except StorageError as error:
            if isinstance(error.__cause__, FileExistsError):
                raise _already_there(path) from None
            raise


def _link(part: Path, path: Path) -> None:
    """Give ``part`` the name ``path``, which must be free."""
    try:
        path.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: take the name first
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        part.replace(path)


def _already_there(path: Path) -> UsageError:
    return UsageError(
        tr("{path} is already there", path=path), tr("choose another name or delete it first")
    )


def require_folder(path: Path) -> None:
    """Raise UsageError unless the folder of ``path`` exists."""
    if not path.absolute().parent.is_dir():
        raise UsageError(
            tr("there is no folder {parent}", parent=path.parent),
            tr("create it, or choose another"),
        )
