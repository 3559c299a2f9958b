"""The SHA-256 of model files, remembered for as long as a file stays as it is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tchat.errors import ModelInvalid
from tchat.models.files import FileKey, file_key, label, open_regular

PIECE = 1 << 22  # bytes read at once


@dataclass(frozen=True, slots=True)
class HashProgress:
    """``done`` of ``total`` bytes are hashed."""

    done: int
    total: int


class HashCache(Protocol):
    """Remembers the SHA-256 of files; a `ModelStore` is one."""

    def sha256(self, key: FileKey) -> str:
        """What is remembered; empty when nothing is."""

    def store_sha256(self, key: FileKey, sha256: str) -> None:
        """Store the SHA-256 of a file's content."""


def compute_sha256(path: Path, memory: HashCache) -> Generator[HashProgress, None, str]:
    """Read the whole file; returns its SHA-256, in hexadecimal digits, and remembers it.

    Raises:
        ModelNotFound: It is not there.
        ModelInvalid: It is no file, cannot be read, or changes meanwhile.
    """
    key = file_key(path)
    digest = yield from hash_file(path, hashlib.sha256())
    memory.store_sha256(key, digest)
    return digest


def cached_sha256(path: Path, memory: HashCache) -> Generator[HashProgress, None, str]:
    """As `compute_sha256`, without reading a file whose SHA-256 is remembered.

    Raises:
        ModelNotFound, ModelInvalid: As `compute_sha256`.
    """
    return memory.sha256(file_key(path)) or (yield from compute_sha256(path, memory))


def sha256_of(path: Path, memory: HashCache) -> str:
    """As `cached_sha256`, without telling its progress."""
    hashing = cached_sha256(path, memory)
    while True:
        try:
            next(hashing)
        except StopIteration as end:
            return str(end.value)


def hash_file(path: Path, digest: hashlib._Hash) -> Generator[HashProgress, None, str]:
    """Read the whole file into ``digest``; returns its hexadecimal digits.

    Raises:
        ModelNotFound, ModelInvalid: As `compute_sha256`.
    """
    key = file_key(path)
    done = 0
    try:
        with os.fdopen(open_regular(path), "rb", buffering=0) as file:
            while piece := file.read(PIECE):
                digest.update(piece)
                done += len(piece)
                yield HashProgress(done, key.size)
    except OSError as error:
        reason = error.strerror or "the disk gave an error"
        raise ModelInvalid(f"{label(path)} cannot be read: {reason}", "check the disk") from error
    if file_key(path) != key:
        raise ModelInvalid(f"{label(path)} changed while it was read", "try again")
    return digest.hexdigest()
