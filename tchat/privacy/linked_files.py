"""What links in tchat's folders lead to: files of tchat elsewhere, and what is not its own."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from tchat.encryption.stored_kinds import Content, StoredKind, kind_of


def find_linked(entry: Path, kind: StoredKind) -> list[Path]:
    """The file of tchat that the link ``entry`` leads to, last, and what was written beside it.

    A file is tchat's if it is the user's own, and has a name that it would have without the link.
    Folders are not, and neither is the configuration: other programs may use them.
    """
    target = link_target(entry)
    if target is None or kind.content is Content.CONFIGURATION or not _is_users_file(target):
        return []
    if kind_of(target.name, is_cache=kind.is_cache) is not kind:
        return []
    return [*sorted(_beside(target, kind)), target]


def link_target(entry: Path) -> Path | None:
    """What is there where the link leads; None for anything but a link, and where nothing is."""
    if not entry.is_symlink():
        return None
    try:
        return entry.resolve(strict=True)
    except (OSError, RuntimeError):
        return None


def left_by_links(entries: Iterable[Path], removed: Iterable[Path]) -> list[Path]:
    """Where links among ``entries`` lead, except to files that are ``removed``."""
    targets = {target for entry in entries if (target := link_target(entry)) is not None}
    return sorted(targets - set(removed))


def _beside(target: Path, kind: StoredKind) -> Iterator[Path]:
    """Journals, copies and leftovers: tchat writes them where the link leads."""
    try:
        names = [path.name for path in target.parent.iterdir()]
    except OSError:
        return
    for name in names:
        is_beside = name != target.name and name.lstrip(".").startswith(target.name)
        if is_beside and kind_of(name, is_cache=kind.is_cache) is not None:
            yield target.with_name(name)


def _is_users_file(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    is_own = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    return is_own and stat.S_ISREG(status.st_mode)
