"""The files of each kind that are there: where, how big, encrypted or not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tchat.encryption.stored_kinds import KINDS, StoredKind, kind_of
from tchat.paths import Paths
from tchat.privacy.linked_files import find_linked
from tchat.private_files import BESIDE, MAGICS

CLEAR_DATABASE = b"SQLite format 3\x00"
HEAD = 16  # bytes of a file that tell whether it is encrypted


class Protection(StrEnum):
    """Whether files are encrypted."""

    ENCRYPTED = "encrypted"
    CLEAR = "clear"
    MIXED = "mixed"
    NOTHING = "nothing"  # there is none, or no file holds anything


@dataclass(frozen=True, slots=True)
class StoredData:
    """The files of a kind that are there.

    Attributes:
        kind: Their kind.
        paths: Entries of its folder; before them, files of tchat that links among them lead to.
        files: How many files they are.
        size: Of all files, in bytes.
        protection: Whether they are encrypted, by their first bytes.
    """

    kind: StoredKind
    paths: tuple[Path, ...]
    files: int
    size: int
    protection: Protection


def find_data(paths: Paths) -> Iterator[StoredData]:
    """All kinds, also those that there is nothing of."""
    by_folder = {folder: _entries(folder) for folder in (paths.config, paths.cache)}
    taken: set[Path] = {paths.cache}  # inside the other one with TCHAT_HOME
    for kind in KINDS:
        folder = paths.cache if kind.is_cache else paths.config
        found = [
            each
            for each in by_folder[folder]
            if each not in taken and kind_of(each.name, is_cache=kind.is_cache) is kind
        ]
        taken.update(found)
        linked = (path for each in found for path in find_linked(each, kind))
        found = [*(dict.fromkeys(path for path in linked if path not in found)), *found]
        files = [file for each in found for file in files_below(each)]
        sizes = [_size(file) for file in files]
        yield StoredData(kind, tuple(found), len(files), sum(sizes), _protection(files))


def files_below(path: Path) -> Iterator[Path]:
    """The file ``path``, or all files in the folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for folder, _, names in os.walk(path):
        yield from (Path(folder) / name for name in names)


def other_entries(paths: Paths) -> list[Path]:
    """What lies in tchat's folders and is not its own."""
    known = {each for data in find_data(paths) for each in data.paths}
    entries = {each for folder in (paths.config, paths.cache) for each in _entries(folder)}
    return sorted(entries - known - {paths.cache})


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _protection(files: Sequence[Path]) -> Protection:
    found = {state for state in map(_file_protection, files) if state is not None}
    if not found:
        return Protection.NOTHING
    return found.pop() if len(found) == 1 else Protection.MIXED


def _file_protection(path: Path) -> Protection | None:
    """None for a file that holds nothing."""
    if path.suffix == ".lock" or path.name in ("gate", "seen"):  # of processes; no words
        return None
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return Protection.CLEAR  # nothing speaks for more
    if not head:
        return None
    if head.startswith(MAGICS):
        return Protection.ENCRYPTED
    is_database = ".db" in path.name
    return Protection.ENCRYPTED if is_database and _is_random(head, path) else Protection.CLEAR


def _is_random(head: bytes, path: Path) -> bool:
    """Whether a file of a database is encrypted: its database is, which begins like noise."""
    if path.name.endswith(BESIDE[1:]):
        database = next(path.with_name(path.name.removesuffix(each)) for each in BESIDE[1:]
                        if path.name.endswith(each))  # fmt: skip
        try:
            with database.open("rb") as file:
                head = file.read(HEAD)
        except OSError:
            return False
    return bool(head) and head != CLEAR_DATABASE
