"""Encrypt all files of a store where they lie, or decrypt them; what is killed goes on later.

The lock file tells that it is under way before the first file is touched, and that it is done
after the last one. Each file is whole at every moment: its other form is written beside it, and
takes its place. Which files there are is known to the rooms that write them: `Convertible`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tchat.encryption.encryption import Encryption, StoreKeys
from tchat.encryption.key_management import change_state, remove_lock
from tchat.encryption.lock_file import EncryptionState
from tchat.encryption.replacing import remove_leftovers
from tchat.errors import StorageError
from tchat.humanize import size_text
from tchat.translation import tr

_SPARE = 16 << 20  # bytes on the disk that are left free


class Convertible(Protocol):
    """Files of one kind. Its methods may be killed, and are called again: what is done is skipped.

    Whoever calls them sees to it that nobody else uses the files.
    """

    @property
    def name(self) -> str:
        """What the user calls them."""

    def paths(self) -> Iterable[Path]:
        """Those that there are."""

    def encrypt(self, keys: StoreKeys) -> None:
        """Encrypt each that is in clear."""

    def decrypt(self, keys: StoreKeys) -> Sequence[Path]:
        """Decrypt each that is encrypted; returns those that cannot be, which are moved aside."""


@dataclass(frozen=True, slots=True)
class ConversionProgress:
    """The kind of files that comes next, and how many of all kinds are done.

    Attributes:
        damaged: At the end, files that cannot be decrypted; they are as they were, under new names.
    """

    name: str
    done: int
    total: int
    damaged: tuple[Path, ...] = ()


def encrypt_store(
    encryption: Encryption, folders: Sequence[Path], kinds: Sequence[Convertible]
) -> Iterator[ConversionProgress]:
    """Encrypt everything of an unlocked store; its lock file says "on" at the end.

    ``folders`` are those that hold nothing but files of tchat.

    Raises:
        StorageError: Something stands in the way. Call it again, or `decrypt_store`.
    """
    keys = encryption.conversion_keys()
    if encryption.state is EncryptionState.ON:
        return
    require_room(kinds)
    change_state(encryption, EncryptionState.TURNING_ON)
    remove_leftovers(folders, (path for kind in kinds for path in kind.paths()))
    for done, kind in enumerate(kinds):
        yield ConversionProgress(kind.name, done, len(kinds))
        kind.encrypt(keys)
    remove_leftovers(folders, (path for kind in kinds for path in kind.paths()))
    change_state(encryption, EncryptionState.ON)


def decrypt_store(
    encryption: Encryption, folders: Sequence[Path], kinds: Sequence[Convertible]
) -> Iterator[ConversionProgress]:
    """Decrypt everything of an unlocked store; there is no lock file at the end.

    What is damaged is moved aside, and named by the last progress.

    Raises:
        StorageError: Something stands in the way. Call it again, or `encrypt_store`.
    """
    keys = encryption.conversion_keys()
    require_room(kinds)
    change_state(encryption, EncryptionState.TURNING_OFF)
    damaged: list[Path] = []
    remove_leftovers(folders, (path for kind in kinds for path in kind.paths()))
    for done, kind in enumerate(kinds):
        yield ConversionProgress(kind.name, done, len(kinds))
        damaged += kind.decrypt(keys)
    remove_leftovers(folders, (path for kind in kinds for path in kind.paths()))
    if damaged:
        yield ConversionProgress("", len(kinds), len(kinds), tuple(damaged))
    remove_lock(encryption)


def require_room(kinds: Iterable[Convertible]) -> None:
    """Require room on the disk for the largest file once more.

    Raises:
        StorageError: There is less.
    """
    sizes = [(_size(path), path) for kind in kinds for path in kind.paths()]
    size, largest = max(sizes, default=(0, None))
    if largest is None:
        return
    needed, free = size + size // 8 + _SPARE, shutil.disk_usage(largest.parent).free
    if free < needed:
        raise StorageError(
            tr(
                "converting {path} needs {needed} of free space, and there is {free}",
                path=largest,
                needed=size_text(needed),
                free=size_text(free),
            ),
            tr("free some space and try again"),
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
