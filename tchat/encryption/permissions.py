"""Files and folders that others may read, though tchat made them for the user alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

OTHERS = 0o077
# The user writes these, and may share them.
WRITTEN_BY_USER = frozenset({".toml", ".json"})
OF_TCHAT = frozenset({"lock.json", "lock-tries.json", "palette.json"})
FOLDERS = frozenset({"judge", "tool-undo", "snapshots", "sessions.db.writers"})


def repair_permissions(folders: Iterable[Path], *, with_folders: bool) -> list[Path]:
    """Take from others the right to read what tchat stores in ``folders``; returns what changed.

    Looks at the top of them only: below a folder that is closed, nothing can be read.

    Args:
        folders: Those of the configuration and the cache.
        with_folders: Whether they belong to tchat alone, so that they are closed themselves.
    """
    if os.name != "posix":
        return []
    return [path for folder in folders for path in _repaired(folder, with_folders=with_folders)]


def _repaired(folder: Path, *, with_folders: bool) -> Iterator[Path]:
    if with_folders and _close(folder, 0o700):
        yield folder
    try:
        entries = list(os.scandir(folder))
    except OSError:  # not made yet
        return
    for entry in entries:
        is_folder = entry.name in FOLDERS
        is_shared = Path(entry.name).suffix in WRITTEN_BY_USER and entry.name not in OF_TCHAT
        if (is_folder or not is_shared) and _close(Path(entry.path), 0o700 if is_folder else 0o600):
            yield Path(entry.path)


def _close(path: Path, mode: int) -> bool:
    """Give ``path`` the mode if others may use it; whether that was done."""
    try:
        status = os.lstat(path)
        kind = stat.S_ISDIR if mode & 0o100 else stat.S_ISREG
        if not kind(status.st_mode) or not status.st_mode & OTHERS:
            return False
        if status.st_uid != os.geteuid():
            return False
        path.chmod(mode)
    except OSError:
        return False
    return True
