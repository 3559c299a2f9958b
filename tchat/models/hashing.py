"""The SHA-256 of model files, remembered for as long as a file stays as it is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from tchat.errors import ModelInvalid
from tchat.models.files import file_key, label, open_regular
from tchat.models.store import ModelStore

PIECE = 1 << 22  # bytes read at once


@dataclass(frozen=True, slots=True)
class Hashing:
    """``done`` of ``total`` bytes are hashed."""

    done: int
    total: int


def hashed(path: Path, store: ModelStore) -> Generator[Hashing, None, str]:
    """Read the whole file; returns its SHA-256, in hexadecimal digits, and remembers it.

    Raises:
        ModelNotFound: It is not there.
        ModelInvalid: It is no file, cannot be read, or changes meanwhile.
    """
    key = file_key(path)
    digest, done = hashlib.sha256(), 0
    try:
        with os.fdopen(open_regular(path), "rb", buffering=0) as file:
            while piece := file.read(PIECE):
                digest.update(piece)
                done += len(piece)
                yield Hashing(done, key.size)
    except OSError as error:
        reason = error.strerror or "the disk gave an error"
        raise ModelInvalid(f"{label(path)} cannot be read: {reason}", "check the disk") from error
    if file_key(path) != key:
        raise ModelInvalid(f"{label(path)} changed while it was read", "try again")
    store.remember_sha256(key, digest.hexdigest())
    return digest.hexdigest()


def known_hash(path: Path, store: ModelStore) -> Generator[Hashing, None, str]:
    """As `hashed`, without reading a file whose SHA-256 is remembered.

    Raises:
        ModelNotFound, ModelInvalid: As `hashed`.
    """
    return store.sha256(file_key(path)) or (yield from hashed(path, store))
