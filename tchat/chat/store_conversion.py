"""Turn the encryption of everything that tchat stores on and off."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
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
from tchat.encryption.stored_kinds import kind_of
from tchat.encryption.stored_paths import find_folders, reading
from tchat.sessions.conversion import SessionsConversion
from tchat.sessions.database_file import alone_with

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption
    from tchat.paths import Paths


def kinds_of(paths: Paths) -> tuple[Convertible, ...]:
    """All files that hold words, in the order in which they are converted."""
    return (SessionsConversion(paths.sessions_db), *convertible_files(paths))


def folders_of(paths: Paths) -> list[Path]:
    """The folders that files with words are written to.

    Raises:
        StorageError: One cannot be read.
    """
    trees = (paths.judge, paths.tool_undo, paths.snapshots)
    return [
        *dict.fromkeys((paths.config, paths.cache)),
        *(folder for tree in trees for folder in find_folders(tree)),
    ]


def is_own(paths: Paths, path: Path) -> bool:
    """Whether ``path``, in one of those folders, is a file that tchat writes, by its name."""
    if path.parent not in (paths.config, paths.cache):
        return True
    return kind_of(path.name, is_cache=path.parent == paths.cache) is not None


def require_convertible(paths: Paths) -> None:
    """Look whether the store can be converted, before it gets a lock.

    Raises:
        StorageError: Another process has it open, or the disk has no room.
    """
    with alone_with(paths.sessions_db):
        require_room(kinds_of(paths))


def find_linked(paths: Paths) -> list[Path]:
    """The files that have another name somewhere, so that their content is not overwritten.

    Raises:
        StorageError: One cannot be looked at.
    """
    found = []
    for path in (each for kind in kinds_of(paths) for each in kind.paths()):
        with reading(path):
            if path.stat().st_nlink > 1:
                found.append(path)
    return found


def turn_on(paths: Paths, encryption: Encryption) -> Iterator[ConversionProgress]:
    """Encrypt everything; what was interrupted goes on. The store must be unlocked.

    Raises:
        StorageError: Another process has it open, or something cannot be written. What is done
            stays done; call it again, or `turn_off`.
    """
    with alone_with(paths.sessions_db):
        yield from encrypt_store(
            encryption, folders_of(paths), kinds_of(paths), partial(is_own, paths)
        )


def turn_off(paths: Paths, encryption: Encryption) -> Iterator[ConversionProgress]:
    """Decrypt everything and remove the lock; what was interrupted goes on.

    Raises:
        StorageError: As `turn_on`.
    """
    with alone_with(paths.sessions_db):
        yield from decrypt_store(
            encryption, folders_of(paths), kinds_of(paths), partial(is_own, paths)
        )
