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

SAMPLE = 1 << 16  # bytes compared at both ends before a file is hashed


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Disk space that the models of one owner take.

    Attributes:
        owner: Who keeps them.
        models: Number of models.
        size: Bytes; a file with several names counts once, for its first owner in the listing.
        unfinished: Bytes of interrupted downloads; `tchat models pull` resumes them.
    """

    owner: str
    models: int
    size: int
    unfinished: int = 0


def disk_usage(
    places: Iterable[LocalModel], store: MetadataCache, cache: HubCache
) -> list[DiskUsage]:
    """Bytes by owner, in the order of the listing."""
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


@dataclass(frozen=True, slots=True)
class DuplicateFile:
    """One of several files with the same content; ``name`` is the model's, raw."""

    name: str
    path: Path
    owner: str
    can_relink: bool
    key: FileKey


@dataclass(frozen=True, slots=True)
class DuplicateSet:
    """Files with the same content; the first one would be kept.

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
        """Bytes taken by all copies but one."""
        return self.size * (len(self.files) - 1)

    @property
    def replaceable(self) -> tuple[DuplicateFile, ...]:
        """Files that a hard link can replace: not another program's, and on the same disk."""
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
    """Find files with the same content: by size, then by both ends, then by SHA-256.

    File names are not trusted; cached hashes of unchanged files are.

    Returns:
        The sets of duplicates, the most wasted bytes first.
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
    """Replace the files in `DuplicateSet.replaceable` by hard links to the first file.

    Returns:
        Bytes freed.

    Raises:
        StorageError: A file changed, or cannot be replaced; every file is still complete.
    """
    first = copies.files[0]
    for copy in copies.replaceable:
        for each in (first, copy):
            if file_key(each.path) != each.key:
                raise StorageError(
                    f"{each.path} changed since the scan", "run `tchat models dupes` again"
                )
        fresh = copy.path.with_name(f".{copy.path.name}.{os.getpid()}.tmp")
        try:
            fresh.hardlink_to(first.path)
            fresh.replace(copy.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise StorageError(
                f"cannot link {copy.path} to {first.path}: {error.strerror or error}",
                "both must be on one disk and yours",
            ) from error
    return copies.saved


def _distinct(places: Iterable[LocalModel], store: MetadataCache) -> Iterator[DuplicateFile]:
    """Each file once, whatever number of names it has."""
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
    """The real paths of a model's files, links resolved."""
    try:
        metadata = store.metadata(found.path)
    except ModelError:
        return
    yield from (Path(os.path.realpath(path)) for path in (metadata.path, *metadata.parts))


def _alike(copies: Iterable[DuplicateFile]) -> Iterator[list[DuplicateFile]]:
    """Groups of files with the same size and the same bytes at both ends."""
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
        return str(path).encode("utf-8", "replace")  # equal to no other file


def _copies(sha256: str, files: list[DuplicateFile]) -> DuplicateSet:
    """The set, with a file that may not be replaced in front."""
    kept_first = sorted(files, key=lambda copy: copy.can_relink)
    return DuplicateSet(sha256, files[0].key.size, tuple(kept_first))
