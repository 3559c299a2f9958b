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
    is_marked,
    require_room,
)
from tchat.encryption.lock_file import EncryptionState
from tchat.encryption.stored_kinds import kind_of
from tchat.encryption.stored_paths import find_folders, first_bytes, reading
from tchat.errors import StorageError
from tchat.sessions.conversion import SessionsConversion
from tchat.sessions.database_file import alone_with
from tchat.translation import tr

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
        StorageError: Another process has it open, the disk has no room, or it has a lock that is
            missing.
    """
    require_no_lost_lock(paths)
    with alone_with(paths.sessions_db):
        require_room(kinds_of(paths))


def require_no_lost_lock(paths: Paths) -> None:
    """Look whether a store without a lock file is in clear.

    Raises:
        StorageError: A file is encrypted: with another lock it could not be opened any more.
    """
    for path in (each for kind in kinds_of(paths) for each in kind.paths()):
        if is_marked(path):
            raise StorageError(
                tr("{path} is encrypted, and the lock file that opens it is missing", path=path),
                tr(
                    "put lock.json back into {folder}, from a backup, or move that folder away to "
                    "begin anew",
                    folder=paths.config,
                ),
            )


def find_clear(paths: Paths, encryption: Encryption) -> list[Path]:
    """The files of an encrypted store that are in clear, so that it does not read them.

    Nobody is asked for the passphrase where each file begins as an encrypted one.

    Raises:
        StorageError: The store cannot be unlocked, or a file not be read.
    """
    return [path for kind in kinds_of(paths) for path in _clear_of(kind, encryption)]


def _clear_of(kind: Convertible, encryption: Encryption) -> list[Path]:
    found = {path for path in kind.paths() if first_bytes(path, 1) and not is_marked(path)}
    return [
        path for path in (kind.find_clear(encryption.conversion_keys()) if found else ())
        if path in found
    ]  # fmt: skip


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

    In a store that is encrypted, only kinds of which files are in clear.

    Raises:
        StorageError: Another process has it open, or something cannot be written. What is done
            stays done; call it again, or `turn_off`.
    """
    with alone_with(paths.sessions_db):
        kinds = kinds_of(paths)
        if encryption.state is EncryptionState.ON:
            kinds = tuple(kind for kind in kinds if _clear_of(kind, encryption))
            if not kinds:
                return
        yield from encrypt_store(encryption, folders_of(paths), kinds, partial(is_own, paths))


def turn_off(paths: Paths, encryption: Encryption) -> Iterator[ConversionProgress]:
    """Decrypt everything and remove the lock; what was interrupted goes on.

    Raises:
        StorageError: As `turn_on`.
    """
    with alone_with(paths.sessions_db):
        yield from decrypt_store(
            encryption, folders_of(paths), kinds_of(paths), partial(is_own, paths)
        )
