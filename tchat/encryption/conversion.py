"""Encrypt all files of a store where they lie, or decrypt them; what is killed goes on later.

The lock file tells that it is under way before the first file is touched, and that it is done
after the last one. Each file is whole at every moment: its other form is written beside it, and
takes its place. Which files there are is known to the rooms that write them: `Convertible`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tchat.encryption.convertible_files import DAMAGED
from tchat.encryption.encryption import Encryption, StoreKeys
from tchat.encryption.file_cipher import LINE_MARK, MAGIC
from tchat.encryption.key_management import change_state, remove_lock
from tchat.encryption.lock_file import EncryptionState
from tchat.encryption.replacing import remove_leftovers
from tchat.encryption.sqlcipher_pages import MARK
from tchat.encryption.stored_paths import find_files, first_bytes, reading
from tchat.errors import StorageError
from tchat.humanize import size_text
from tchat.translation import tr

_SPARE = 16 << 20  # bytes on the disk that are left free
MARKS = (MARK, MAGIC, LINE_MARK)  # what encrypted files begin with


class Convertible(Protocol):
    """Files of one kind. Its methods may be killed, and are called again: what is done is skipped.

    Whoever calls them sees to it that nobody else uses the files.
    """

    @property
    def name(self) -> str:
        """What the user calls them."""

    def paths(self) -> Iterable[Path]:
        """Those that there are."""

    def find_clear(self, keys: StoreKeys) -> Iterable[Path]:
        """Those that are in clear, if only in part."""

    def opens(self, path: Path, keys: StoreKeys) -> bool:
        """Whether something in the file is encrypted as it is in files of this kind."""

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
    encryption: Encryption,
    folders: Sequence[Path],
    kinds: Sequence[Convertible],
    is_own: Callable[[Path], bool],
) -> Iterator[ConversionProgress]:
    """Encrypt everything of an unlocked store; its lock file says "on" at the end.

    Args:
        encryption: Its keys.
        folders: Where its files are.
        kinds: What they are.
        is_own: Whether a file in the folders is one that tchat writes, by its name.

    Raises:
        StorageError: Something stands in the way. Call it again, or `decrypt_store`.
    """
    keys = encryption.conversion_keys()
    require_room(kinds)
    change_state(encryption, EncryptionState.TURNING_ON)
    _clean(folders, kinds, is_own)
    for done, kind in enumerate(kinds):
        yield ConversionProgress(kind.name, done, len(kinds))
        kind.encrypt(keys)
    _clean(folders, kinds, is_own)
    _require_encrypted(keys, kinds)
    change_state(encryption, EncryptionState.ON)


def decrypt_store(
    encryption: Encryption,
    folders: Sequence[Path],
    kinds: Sequence[Convertible],
    is_own: Callable[[Path], bool],
) -> Iterator[ConversionProgress]:
    """Decrypt everything of an unlocked store; there is no lock file at the end.

    What is damaged is moved aside, and named by the last progress.

    Args: As of `encrypt_store`.

    Raises:
        StorageError: Something stands in the way. Call it again, or `encrypt_store`.
    """
    keys = encryption.conversion_keys()
    require_room(kinds)
    change_state(encryption, EncryptionState.TURNING_OFF)
    damaged: list[Path] = []
    _clean(folders, kinds, is_own)
    for done, kind in enumerate(kinds):
        yield ConversionProgress(kind.name, done, len(kinds))
        damaged += kind.decrypt(keys)
    _clean(folders, kinds, is_own)
    _require_decrypted(keys, folders, kinds)
    if damaged:
        yield ConversionProgress("", len(kinds), len(kinds), tuple(damaged))
    remove_lock(encryption)


def _clean(
    folders: Iterable[Path], kinds: Iterable[Convertible], is_own: Callable[[Path], bool]
) -> None:
    remove_leftovers(folders, (path for kind in kinds for path in kind.paths()), is_own)


def _require_encrypted(keys: StoreKeys, kinds: Iterable[Convertible]) -> None:
    """Look at every file once more.

    Raises:
        StorageError: One is in clear, or cannot be read.
    """
    for path in (each for kind in kinds for each in kind.find_clear(keys)):
        raise StorageError(
            tr("{path} is not encrypted yet", path=path),
            tr("run `tchat lock on` again, or move the file away"),
        )


def _require_decrypted(
    keys: StoreKeys, folders: Iterable[Path], kinds: Sequence[Convertible]
) -> None:
    """Look at every file once more, whatever its name is: without the key it would be lost.

    Raises:
        StorageError: One is encrypted with the key, or cannot be read.
    """
    found = [path for kind in kinds for path in kind.paths()]
    others = (each for folder in folders for each in find_files(folder, "*"))
    found += [each for each in others if DAMAGED not in each.name and is_marked(each)]
    for path in dict.fromkeys(found):
        if any(kind.opens(path, keys) for kind in kinds):
            raise StorageError(
                tr("{path} is still encrypted, and would be lost with the key", path=path),
                tr("run `tchat lock off` again, or move the file away if you do not need it"),
            )


def is_marked(path: Path) -> bool:
    """Whether a file begins as tchat's encrypted ones."""
    return first_bytes(path, len(MARK)).startswith(MARKS)


def require_room(kinds: Iterable[Convertible]) -> None:
    """Require that each file can be read, and room on the disk for the largest once more.

    Raises:
        StorageError: One cannot be read, or there is less room.
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
                free=size_text(free) or "0 B",
            ),
            tr("free some space and try again"),
        )


def _size(path: Path) -> int:
    with reading(path), path.open("rb") as file:
        file.read(1)
        return os.fstat(file.fileno()).st_size
