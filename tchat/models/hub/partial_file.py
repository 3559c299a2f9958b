"""The incomplete file of a download: kept across processes, hashed as it is written."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tchat.errors import StorageError
from tchat.models.hub.repo_files import RepoFile

PIECE = 1 << 20  # bytes read at once
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class PartialFile:
    """The incomplete content of ``file``, at ``path``; writes are not buffered.

    Not safe to use from several processes.

    Attributes:
        size: Bytes written and hashed.

    Raises, also from its methods:
        StorageError: It cannot be written.
    """

    def __init__(self, path: Path, file: RepoFile) -> None:
        self.size = 0
        self._path = path
        self._file = file
        self._hash = new_hash(self._file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = _open_own(path)
        except OSError as error:
            raise _failed(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are written."""
        return self.size >= self._file.size

    def resume(self) -> Iterator[tuple[int, int]]:
        """Hash what an earlier attempt left; yields the bytes hashed and their total."""
        try:
            left = os.fstat(self._descriptor).st_size
            if left > self._file.size:
                self.reset()
                return
            while piece := os.read(self._descriptor, PIECE):
                self._hash.update(piece)
                self.size += len(piece)
                yield self.size, left
        except OSError as error:
            raise _failed(self._path, error) from error

    def append(self, chunk: bytes) -> int:
        """Write the part of ``chunk`` that belongs to the file; returns its size."""
        view = memoryview(chunk)[: self._file.size - self.size]
        try:
            written = 0
            while written < len(view):
                written += os.write(self._descriptor, view[written:])
        except OSError as error:
            raise _failed(self._path, error) from error
        self._hash.update(view)
        self.size += len(view)
        return len(view)

    def reset(self) -> None:
        """Empty the file, to begin again."""
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.ftruncate(self._descriptor, 0)
        except OSError as error:
            raise _failed(self._path, error) from error
        self.size = 0
        self._hash = new_hash(self._file)

    def is_valid(self) -> bool:
        """Whether the content has the hash that the hub lists; if so, it is synced to disk."""
        if not self.is_complete or self._hash.hexdigest() != self._file.blob:
            return False
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise _failed(self._path, error) from error
        return True


def new_hash(file: RepoFile) -> hashlib._Hash:
    """The hash of the content of ``file``, before its first byte.

    SHA-256, or git's SHA-1 of a blob for a file that is not in the large file storage.
    """
    if file.sha256:
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)


def _open_own(path: Path) -> int:
    """Open a regular file with a single name for writing.

    The cache may be shared: through a link, or a hard link to another file, a download would
    overwrite that file. Such a name is removed, and a new file is created.

    Raises:
        OSError: It cannot be removed or created.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            path.unlink()
    except FileNotFoundError:
        pass
    descriptor = os.open(path, flags, 0o666)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise FileExistsError(errno.EEXIST, "another program put something else there", str(path))
    return descriptor


def _failed(path: Path, error: OSError) -> StorageError:
    if error.errno in FULL:
        return StorageError(
            f"the disk is full: no room for {path}",
            "free some space and pull again, which resumes; or set HF_HUB_CACHE",
        )
    return StorageError(
        f"cannot write {path}: {error.strerror or error}",
        "check the disk, or set HF_HUB_CACHE to a folder that you may write to",
    )
