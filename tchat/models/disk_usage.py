"""What model files take of the disk."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tchat.errors import ModelError
from tchat.models.files import FileKey, file_key
from tchat.models.hub.cache import HubCache
from tchat.models.metadata_cache import MetadataCache
from tchat.models.sources.source import HUB, LocalModel


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """What the models of one owner take.

    Attributes:
        owner: Who keeps them.
        models: How many there are.
        size: Bytes; a file with several names counts once, for whom it was found at first.
        unfinished: Bytes of downloads that were interrupted; `tchat models pull` goes on there.
    """

    owner: str
    models: int
    size: int
    unfinished: int = 0


def disk_usage(
    places: Iterable[LocalModel], store: MetadataCache, cache: HubCache
) -> list[DiskUsage]:
    """Bytes by owner, in the order in which they are found."""
    models: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    for found in places:
        models[found.owner] += 1
        try:
            metadata = store.metadata(found.path)
            parts: Iterable[Path] = (found.path, *metadata.parts)
        except ModelError:
            parts = (found.path,)
        for key in _keys(parts):
            if (key.device, key.inode) not in seen:
                seen.add((key.device, key.inode))
                sizes[found.owner] += key.size
    unfinished = _unfinished(cache)
    if unfinished:
        models[HUB] += 0
    return [
        DiskUsage(owner, count, sizes[owner], unfinished if owner == HUB else 0)
        for owner, count in models.items()
    ]


def _keys(paths: Iterable[Path]) -> Iterator[FileKey]:
    for path in paths:
        with contextlib.suppress(ModelError):
            yield file_key(path)


def _unfinished(cache: HubCache) -> int:
    total = 0
    for path in cache.root.glob("models--*/blobs/*.incomplete"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total
