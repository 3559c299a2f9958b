"""Model files before their content is parsed: identity, safe opening, SHA-256.

Reading a FIFO would block for ever and a device may do anything, so ``stat`` decides what a path
is before it is opened.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Protocol

from tchat.errors import ModelInvalid, ModelNotFound
from tchat.sanitize import single_line
from tchat.translation import N_, tr

if TYPE_CHECKING:
    import hashlib

GGUF_ENDING = ".gguf"
# Part of a split model, as llama.cpp names them: NAME-00001-of-00003.gguf.
PART_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
MAX_PARTS = 1000
NAMES_OF_KINDS = (
    (stat.S_ISFIFO, N_("a FIFO")),
    (stat.S_ISSOCK, N_("a socket")),
    (stat.S_ISCHR, N_("a character device")),
    (stat.S_ISBLK, N_("a block device")),
)
PIECE = 1 << 22  # bytes read at once


@dataclass(frozen=True, slots=True)
class FileKey:
    """Identity of a file's content: it is unchanged as long as these are.

    Any program can set ``mtime_ns`` back; none can set ``ctime_ns``.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    def __str__(self) -> str:
        return f"{self.identity}-{self.ctime_ns}"

    @property
    def identity(self) -> str:
        """The key without ``ctime_ns``, which a new link or new permissions change."""
        return f"{self.device:x}-{self.inode:x}-{self.size}-{self.mtime_ns}"


def has_gguf_ending(name: str) -> bool:
    """Whether a file name ends in ``.gguf``; case is ignored."""
    return name.lower().endswith(GGUF_ENDING)


def without_gguf_ending(name: str) -> str:
    """``name`` without ``.gguf``, in any case."""
    return name[: -len(GGUF_ENDING)] if has_gguf_ending(name) else name


def label(path: Path) -> str:
    """The file's name for messages, on one line."""
    return single_line(path.name or str(path))


def file_key(path: Path) -> FileKey:
    """Check with one ``stat`` that ``path`` is a regular file, and return its key.

    Raises:
        ModelNotFound: There is no such file.
        ModelInvalid: It is not a regular file, or permissions forbid to look.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise _unreachable(path, error) from error
    except ValueError as error:  # a NUL in the name
        raise ModelNotFound(tr("no file can be named {path!r}", path=label(path))) from error
    _require_regular(path, status.st_mode)
    return FileKey(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def open_regular(path: Path) -> int:
    """Open ``path`` for reading; never blocks on a FIFO. Raises as `file_key`."""
    file_key(path)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        raise _unreachable(path, error) from error
    try:
        # The path may have been replaced between the two calls.
        _require_regular(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(path: Path, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise ModelInvalid(
            tr("{path} is a folder, not a model file", path=label(path)), _folder_hint(path)
        )
    kind = next((tr(name) for test, name in NAMES_OF_KINDS if test(mode)), tr("no regular file"))
    raise ModelInvalid(
        tr("{path} is {kind}, not a model file", path=label(path), kind=kind),
        tr("name a GGUF file"),
    )


def _folder_hint(path: Path) -> str:
    try:
        files = [entry for entry in path.iterdir() if has_gguf_ending(entry.name)]
        inside = sorted(map(label, files))[:3]
    except OSError:
        inside = []
    return (
        tr("name a file in it: {inside}", inside=", ".join(inside))
        if inside
        else tr("it holds no GGUF file")
    )


def _unreachable(path: Path, error: OSError) -> ModelNotFound | ModelInvalid:
    if isinstance(error, PermissionError):
        return ModelInvalid(
            tr("{path} may not be read", path=label(path)),
            tr("check who may read it: {path}", path=path),
        )
    if os.path.islink(path):  # noqa: PTH114 - unlike Path's, it never raises
        return ModelNotFound(
            tr("{path} is a link to a file that is gone", path=label(path)),
            tr("remove it, or get the file again"),
        )
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ModelNotFound(
            tr("there is no file {path}", path=label(path)),
            tr("looked for {absolute}", absolute=path.absolute()),
        )
    reason = error.strerror or type(error).__name__
    return ModelInvalid(
        tr("{path} cannot be read: {reason}", path=label(path), reason=reason),
        tr("looked for {path}", path=path),
    )


@dataclass(frozen=True, slots=True)
class HashProgress:
    """``done`` of ``total`` bytes are hashed."""

    done: int
    total: int


class HashCache(Protocol):
    """Stores the SHA-256 of files; a `MetadataCache` is one."""

    def sha256(self, key: FileKey) -> str:
        """The stored hash; empty when there is none."""

    def store_sha256(self, key: FileKey, sha256: str) -> None:
        """Store the SHA-256 of a file's content."""


def compute_sha256(path: Path, hash_cache: HashCache) -> Generator[HashProgress, None, str]:
    """Hash the whole file and store its SHA-256; returns hexadecimal digits.

    Raises:
        ModelNotFound: It is not there.
        ModelInvalid: It is not a file, cannot be read, or changes while it is read.
    """
    key = file_key(path)
    import hashlib

    digest = yield from hash_file(path, hashlib.sha256())
    hash_cache.store_sha256(key, digest)
    return digest


def cached_sha256(path: Path, hash_cache: HashCache) -> Generator[HashProgress, None, str]:
    """The stored SHA-256, else that of `compute_sha256`."""
    return hash_cache.sha256(file_key(path)) or (yield from compute_sha256(path, hash_cache))


def sha256_of(path: Path, hash_cache: HashCache) -> str:
    """As `cached_sha256`, without progress."""
    hashing = cached_sha256(path, hash_cache)
    while True:
        try:
            next(hashing)
        except StopIteration as end:
            return str(end.value)


def hash_file(path: Path, digest: hashlib._Hash) -> Generator[HashProgress, None, str]:
    """Update ``digest`` with the whole file; returns its hexadecimal digits."""
    key = file_key(path)
    done = 0
    try:
        with os.fdopen(open_regular(path), "rb", buffering=0) as file:
            while piece := file.read(PIECE):
                digest.update(piece)
                done += len(piece)
                yield HashProgress(done, key.size)
    except OSError as error:
        reason = error.strerror or tr("the disk gave an error")
        raise ModelInvalid(
            tr("{path} cannot be read: {reason}", path=label(path), reason=reason),
            tr("check the disk"),
        ) from error
    if file_key(path) != key:
        raise ModelInvalid(
            tr("{path} changed while it was read", path=label(path)), tr("try again")
        )
    return digest.hexdigest()


def short_model_name(model: str) -> str:
    """A model as it was asked for, without its folder: ``SmolLM2-135M-Instruct.Q4_1``."""
    return without_gguf_ending(PurePath(model).name)
