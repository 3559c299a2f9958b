"""The lock file and its copy beside it: a damaged byte of one does not lose the store.

The file is written first, then the copy. The newer of them is the one in force, by the number of
changes since the lock was made: a copy of before a change of the passphrase is never used again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tchat.encryption.lock_file import LockFile, LockIsNewer, read_lock_file, write_lock_file
from tchat.errors import StorageError
from tchat.private_files import LOCK_COPY, acquire_lock
from tchat.translation import tr

CHANGE_SECONDS = 30.0

Stamp = tuple[int, int, int] | None
Found = LockFile | FileNotFoundError | StorageError


def copy_of(path: Path) -> Path:
    """The copy of the lock file ``path``."""
    return path.with_name(path.name + LOCK_COPY)


def stamps(path: Path) -> tuple[Stamp, Stamp]:
    """What tells whether the lock file or its copy changed.

    Raises:
        OSError: They cannot be looked at.
    """
    return _stamp(path), _stamp(copy_of(path))


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def read_lock(path: Path) -> LockFile:
    """The lock of the file ``path`` or of its copy.

    Raises:
        FileNotFoundError: There is neither.
        StorageError: None of them can be used; the error is that of the file.
    """
    own, copy = _found(path), _found(copy_of(path))
    if isinstance(own, LockIsNewer) or not isinstance(copy, LockFile):
        return _lock_or_raise(own, copy)
    if isinstance(own, LockFile) and not _is_newer(copy, own):
        return own
    return copy


def _lock_or_raise(own: Found, copy: Found) -> LockFile:
    if isinstance(own, LockFile):
        return own
    is_missing = isinstance(own, FileNotFoundError)
    raise copy if is_missing and isinstance(copy, StorageError) else own


def _found(path: Path) -> Found:
    try:
        return read_lock_file(path)
    except (FileNotFoundError, StorageError) as error:
        return error


def _is_newer(lock: LockFile, other: LockFile) -> bool:
    return lock.id == other.id and lock.generation > other.generation


def write_lock(path: Path, lock: LockFile) -> None:
    """Write the lock file, then its copy. A copy of another lock is kept under another name.

    Raises:
        StorageError: The file cannot be written; what was there is unchanged.
    """
    write_lock_file(path, lock)
    with suppress(StorageError):  # the next start writes it
        _write_copy(path, lock)


def _write_copy(path: Path, lock: LockFile) -> None:
    copy = copy_of(path)
    before = _found(copy)
    if isinstance(before, LockFile) and before.id != lock.id:
        with suppress(OSError):
            copy.replace(copy.with_name(f"{copy.name}-{before.id[:8]}"))
    write_lock_file(copy, lock)


def remove_lock_files(path: Path) -> None:
    """Remove the copy, then the file: what is killed in between leaves a lock that is known.

    Raises:
        OSError: One cannot be removed.
    """
    copy_of(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    with suppress(OSError):
        _gate(path).unlink(missing_ok=True)


def repair_lock(path: Path) -> str:
    """Write the lock file or its copy again from the other; what to tell of it, or nothing.

    One of them may be older where a process was killed between them; that is not told.
    """
    if _is_whole(path):
        return ""
    with suppress(StorageError), changing(path):
        return _repaired(path)
    return _told(path, _damaged(path), is_repaired=False)


def _is_whole(path: Path) -> bool:
    """Whether both say the same, or neither can be used, or they are of two locks."""
    own, copy = _found(path), _found(copy_of(path))
    if isinstance(own, LockFile) and isinstance(copy, LockFile):
        return own == copy or own.id != copy.id
    return isinstance(own, LockIsNewer) or not (
        isinstance(own, LockFile) or isinstance(copy, LockFile)
    )


def _repaired(path: Path) -> str:
    if _is_whole(path):  # another process did it
        return ""
    damaged, lock = _damaged(path), read_lock(path)
    try:
        if _found(path) != lock:
            write_lock_file(path, lock)
        if _found(copy_of(path)) != lock:
            _write_copy(path, lock)
    except StorageError:
        return _told(path, damaged, is_repaired=False)
    return _told(path, damaged, is_repaired=True)


def _damaged(path: Path) -> Path | None:
    """The one that cannot be used."""
    if isinstance(_found(path), StorageError | FileNotFoundError):
        return path
    return copy_of(path) if isinstance(_found(copy_of(path)), StorageError) else None


def _told(path: Path, damaged: Path | None, *, is_repaired: bool) -> str:
    if damaged is None:
        return ""
    other = copy_of(path) if damaged == path else path
    if is_repaired:
        return tr("{path} was damaged: restored from {other}", path=damaged, other=other.name)
    return tr(
        "{path} is damaged and cannot be written: {other} is used", path=damaged, other=other.name
    )


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Hold back other processes that would change the lock file.

    Raises:
        StorageError: One does so for half a minute, or locks do not work here.
    """
    try:
        held = acquire_lock(_gate(path), CHANGE_SECONDS)
    except (OSError, NotImplementedError) as error:
        raise StorageError(
            tr("cannot lock files in {folder}: {error}", folder=path.parent, error=error),
            tr("set TCHAT_HOME to a folder on a local disk"),
        ) from error
    if held is None:
        raise StorageError(
            tr("another process is changing {path}", path=path), tr("wait for it, or end it")
        )
    try:
        yield
    finally:
        held.release()


def _gate(path: Path) -> Path:
    return path.with_name(path.name + ".gate")


def is_there(path: Path) -> bool:
    """Whether there is a lock file or a copy of it, of whatever kind."""
    return os.path.lexists(path) or os.path.lexists(copy_of(path))
