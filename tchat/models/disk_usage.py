"""What model files take of the disk, and files of the same content."""

from __future__ import annotations

import contextlib
import os
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tchat.errors import ModelError, StorageError
from tchat.models.files import FileKey, HashProgress, cached_sha256, file_key
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


SAMPLE = 1 << 16  # bytes compared at either end before a file is read whole


@dataclass(frozen=True, slots=True)
class DuplicateFile:
    """One file of several alike; ``name`` is the model's, raw."""

    name: str
    path: Path
    owner: str
    can_relink: bool
    key: FileKey


@dataclass(frozen=True, slots=True)
class DuplicateSet:
    """Files of one content, that which would stay first.

    Attributes:
        sha256: Of the content.
        size: Bytes of each.
        files: At least two; no two of them are hard links of each other.
    """

    sha256: str
    size: int
    files: tuple[DuplicateFile, ...]

    @property
    def wasted(self) -> int:
        """Bytes that all copies but one take."""
        return self.size * (len(self.files) - 1)

    @property
    def replaceable(self) -> tuple[DuplicateFile, ...]:
        """Those that a hard link can stand in for: not another program's, on the same disk."""
        first = self.files[0]
        return tuple(
            copy
            for copy in self.files[1:]
            if copy.can_relink and copy.key.device == first.key.device
        )

    @property
    def saved(self) -> int:
        """Bytes that hard links would free."""
        return self.size * len(self.replaceable)


def find_duplicates(
    places: Iterable[LocalModel], store: MetadataCache
) -> Generator[HashProgress, None, list[DuplicateSet]]:
    """Find files of the same content, the largest first: by size, then by both ends, then by hash.

    Nothing is taken from a file's name: what is alike was read. A file that was read before and
    has not changed since is not read again.
    """
    found: list[DuplicateSet] = []
    for group in _alike(_distinct(places, store)):
        by_hash: dict[str, list[DuplicateFile]] = defaultdict(list)
        for copy in group:
            try:
                by_hash[(yield from cached_sha256(copy.path, store))].append(copy)
            except ModelError:
                continue
        found += [_copies(sha256, files) for sha256, files in by_hash.items() if len(files) > 1]
    return sorted(found, key=lambda copies: -copies.wasted)


def replace_with_links(copies: DuplicateSet) -> int:
    """Put hard links to the first file in the place of those that are `DuplicateSet.replaceable`.

    Returns:
        Bytes freed.

    Raises:
        StorageError: A file changed, or the disk or its permissions stand in the way; each file
            is still whole.
    """
    first = copies.files[0]
    for copy in copies.replaceable:
        for each in (first, copy):
            if file_key(each.path) != each.key:
                raise StorageError(f"{each.path} changed meanwhile", "look for copies again")
        fresh = copy.path.with_name(f".{copy.path.name}.{os.getpid()}.tmp")
        try:
            fresh.hardlink_to(first.path)
            fresh.replace(copy.path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise StorageError(
                f"cannot link {copy.path} to {first.path}: {error.strerror or error}",
                "both must be on one disk and yours",
            ) from error
    return copies.saved


def _distinct(places: Iterable[LocalModel], store: MetadataCache) -> Iterator[DuplicateFile]:
    """Each file once, however many names lead to it."""
    seen: set[tuple[int, int]] = set()
    for found in places:
        for path in _files(found, store):
            try:
                key = file_key(path)
            except ModelError:
                continue
            if (key.device, key.inode) not in seen:
                seen.add((key.device, key.inode))
                yield DuplicateFile(found.name, path, found.owner, found.can_relink, key)


def _files(found: LocalModel, store: MetadataCache) -> Iterator[Path]:
    """Where the content of a model lies, behind all links."""
    try:
        metadata = store.metadata(found.path)
    except ModelError:
        return
    yield from (Path(os.path.realpath(path)) for path in (metadata.path, *metadata.parts))


def _alike(copies: Iterable[DuplicateFile]) -> Iterator[list[DuplicateFile]]:
    """Those of one size whose ends are the same."""
    groups: dict[tuple[int, bytes], list[DuplicateFile]] = defaultdict(list)
    sizes: dict[int, list[DuplicateFile]] = defaultdict(list)
    for copy in copies:
        sizes[copy.key.size].append(copy)
    for size, group in sizes.items():
        for copy in group if len(group) > 1 else ():
            groups[size, _ends(copy.path, size)].append(copy)
    return (group for group in groups.values() if len(group) > 1)


def _ends(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(SAMPLE)
            file.seek(max(0, size - SAMPLE))
            return start + file.read(SAMPLE)
    except OSError:
        return str(path).encode("utf-8", "replace")  # like no other


def _copies(sha256: str, files: list[DuplicateFile]) -> DuplicateSet:
    """That stays which may not be changed."""
    kept_first = sorted(files, key=lambda copy: copy.can_relink)
    return DuplicateSet(sha256, files[0].key.size, tuple(kept_first))
