"""Every file and folder below an open folder, in the order of names, links left out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from tchat.tools.protected_names import is_secret
from tchat.tools.roots import Location, Roots

GENERATED = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", ".tox"})
MAX_DEPTH = 40
MAX_ENTRIES = 100_000


class FolderEntry(NamedTuple):
    """A file or folder.

    Attributes:
        folder: The descriptor of its folder, open until the next entry is asked for.
        name: Its name there.
        path: Its path below the folder that the walk started at.
        is_folder: Whether it is a folder.
        size: In bytes.
    """

    folder: int
    name: str
    path: str
    is_folder: bool
    size: int


def entries_below(
    roots: Roots, location: Location, *, depth: int = MAX_DEPTH
) -> Iterator[FolderEntry]:
    """The regular files and the folders below the folder ``location``, down to ``depth`` folders.

    Links, special files, what generated folders hold, what is denied and what may hold secrets are
    left out.
    """
    for number, entry in enumerate(_below(roots, location, "", depth)):
        if number >= MAX_ENTRIES:
            return
        yield entry


def _below(roots: Roots, location: Location, path: str, depth: int) -> Iterator[FolderEntry]:
    folder = location.folder
    for name in _names(folder):
        if roots.is_denied(location.path / name):
            continue
        try:
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            continue
        is_folder = stat.S_ISDIR(info.st_mode)
        if not (is_folder or stat.S_ISREG(info.st_mode)):
            continue
        yield FolderEntry(folder, name, path + name, is_folder, info.st_size)
        if not is_folder or depth <= 1 or name in GENERATED:
            continue
        below = roots.open_below(folder, name)
        if below is None:
            continue
        try:
            inner = Location(below, "", location.path / name)
            yield from _below(roots, inner, f"{path}{name}/", depth - 1)
        finally:
            os.close(below)


def _names(folder: int) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not is_secret(name))
    except OSError:
        return []
