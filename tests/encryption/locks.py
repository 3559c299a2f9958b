"""Locks that are cheap to open, for tests."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tchat.encryption.derivation import ARGON2ID, SALT_SIZE, KeyDerivation
from tchat.encryption.encryption import Encryption
from tchat.encryption.key_management import create_lock
from tchat.encryption.lock_copies import copy_of
from tchat.encryption.lock_file import EncryptionState, checksum
from tchat.paths import Paths

PASSPHRASE = "correct horse battery staple"


def cheap_derivation() -> KeyDerivation:
    """One that takes no time."""
    return KeyDerivation(ARGON2ID, os.urandom(SALT_SIZE), 64, 1, 1)


def make_lock(
    paths: Paths,
    passphrase: str | None = PASSPHRASE,
    *,
    keyring: bool = False,
    state: EncryptionState = EncryptionState.ON,
) -> Encryption:
    """An unlocked store, with a lock file at its place."""
    made = create_lock(
        paths.lock_file, passphrase, keyring=keyring, state=state, calibration=cheap_derivation
    )
    return made.encryption


def rewrite(lock_file: Path, record: dict[str, Any]) -> None:
    """Put a record in place of a lock, as who knows how one is written."""
    lock_file.write_text(json.dumps(record | {"checksum": checksum(record)}))
    copy_of(lock_file).unlink()
