"""Turn the encryption of everything that tchat stores on and off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.chat.stored_files import convertible_files
from tchat.encryption.conversion import (
    ConversionProgress,
    Convertible,
    decrypt_store,
    encrypt_store,
    require_room,
)
from tchat.sessions.conversion import SessionsConversion
from tchat.sessions.database_file import alone_with

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption
    from tchat.paths import Paths


def kinds_of(paths: Paths) -> tuple[Convertible, ...]:
    """All files that hold words, in the order in which they are converted."""
    return (SessionsConversion(paths.sessions_db), *convertible_files(paths))


def folders_of(paths: Paths) -> list[Path]:
    """The folders that files with words are written to."""
    trees = (paths.judge, paths.tool_undo, paths.snapshots)
    return [
        *dict.fromkeys((paths.config, paths.cache)),
        *(Path(place) for tree in trees for place, _, _ in os.walk(tree)),
    ]


def require_convertible(paths: Paths) -> None:
    """Look whether the store can be converted, before it gets a lock.

    Raises:
        StorageError: Another process has it open, or the disk has no room.
    """
    with alone_with(paths.sessions_db):
        require_room(kinds_of(paths))


def turn_on(paths: Paths, encryption: Encryption) -> Iterator[ConversionProgress]:
    """Encrypt everything; what was interrupted goes on. The store must be unlocked.

    Raises:
        StorageError: Another process has it open, or something cannot be written. What is done
            stays done; call it again, or `turn_off`.
    """
    with alone_with(paths.sessions_db):
        yield from encrypt_store(encryption, folders_of(paths), kinds_of(paths))


def turn_off(paths: Paths, encryption: Encryption) -> Iterator[ConversionProgress]:
    """Decrypt everything and remove the lock; what was interrupted goes on.

    Raises:
        StorageError: As `turn_on`.
    """
    with alone_with(paths.sessions_db):
        yield from decrypt_store(encryption, folders_of(paths), kinds_of(paths))
