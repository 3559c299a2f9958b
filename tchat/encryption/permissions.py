"""Files and folders that others may read, though tchat made them for the user alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tchat.encryption.stored_kinds import Content, kind_of

OTHERS = 0o077


def repair_permissions(config: Path, cache: Path, *, with_folders: bool) -> list[Path]:
    """Take from others the right to read what tchat stores; returns what changed.

    Looks at the top of the folders only: below a folder that is closed, nothing can be read. What
    the user writes, and may share, is left alone, as is what tchat does not know.

    Args:
        config: The folder of the configuration.
        cache: That of the cache.
        with_folders: Whether they belong to tchat alone, so that they are closed themselves.
    """
    if os.name != "posix":
        return []
    return [*_repaired(config, with_folders, False), *_repaired(cache, True, True)]


def _repaired(folder: Path, is_closed: bool, is_cache: bool) -> Iterator[Path]:
    if is_closed and _close(folder):
        yield folder
    try:
        entries = sorted(folder.iterdir())
    except OSError:  # not made yet
        return
    for entry in entries:
        kind = kind_of(entry.name, is_cache=is_cache)
        is_private = kind is not None and kind.content is not Content.CONFIGURATION
        if is_private and _close(entry):
            yield entry


def _close(path: Path) -> bool:
    """Close ``path`` if others may use it; whether that was done. A link is not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        is_folder = stat.S_ISDIR(status.st_mode)
        if not (is_folder or stat.S_ISREG(status.st_mode)) or not status.st_mode & OTHERS:
            return False
        if status.st_uid != os.geteuid():
            return False
        os.fchmod(descriptor, 0o700 if is_folder else 0o600)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
