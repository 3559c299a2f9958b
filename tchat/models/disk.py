"""Model files on the disk: what they take, files of the same content, removal.

Only models that were pulled from the hub are removed. huggingface_hub can delete files of its cache
too (`HFCacheInfo.delete_files`), but takes no lock against a running download, follows links out of
the cache, hides a deletion that fails, and gives up on a repository with one broken link, such as
an interrupted removal leaves.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tchat.errors import ModelError, StorageError, UsageError
from tchat.models.files import FileKey, HashProgress, cached_sha256, file_key
from tchat.models.hub.cache import HubCache
from tchat.models.hub.repository import list_repo_models
from tchat.models.metadata import MetadataCache
from tchat.models.models_file import forget, registered
from tchat.models.sources.source import HUB, USER, LocalModel
from tchat.paths import Paths
from tchat.private_files import acquire_lock
from tchat.sanitize import single_line
from tchat.translation import tr

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
    models: Iterable[LocalModel], metadata_cache: MetadataCache, cache: HubCache
) -> list[DiskUsage]:
    """Bytes by owner, in the order of the listing."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    for found in models:
        counts[found.owner] += 1
        for _, key in _new_files(_files(found, metadata_cache) or [found.path], seen):
            sizes[found.owner] += key.size
    unfinished = cache.unfinished_bytes()
    if unfinished:
        counts[HUB] += 0
    return [
        DiskUsage(owner, count, sizes[owner], unfinished if owner == HUB else 0)
        for owner, count in counts.items()
    ]


def _files(found: LocalModel, metadata_cache: MetadataCache) -> list[Path]:
    """The real paths of a model's files, links resolved; empty for a damaged model."""
    try:
        metadata = metadata_cache.metadata(found.path)
    except ModelError:
        return []
    return [_target(path) for path in (metadata.path, *metadata.parts)]


def _new_files(paths: Iterable[Path], seen: set[tuple[int, int]]) -> Iterator[tuple[Path, FileKey]]:
    """Each file once, whatever number of names it has."""
    for path in paths:
        with contextlib.suppress(ModelError):
            key = file_key(path)
            if (key.device, key.inode) not in seen:
                seen.add((key.device, key.inode))
                yield path, key


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

    ``size`` is that of each. There are at least two, and no two are hard links of each other.
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
    models: Iterable[LocalModel], metadata_cache: MetadataCache
) -> Generator[HashProgress, None, list[DuplicateSet]]:
    """Find files with the same content: by size, then by both ends, then by SHA-256.

    File names are not trusted; cached hashes of unchanged files are. Returns the most wasted first.
    """
    found: list[DuplicateSet] = []
    for group in _alike(_distinct(models, metadata_cache)):
        by_hash: dict[str, list[DuplicateFile]] = defaultdict(list)
        for copy in group:
            try:
                by_hash[(yield from cached_sha256(copy.path, metadata_cache))].append(copy)
            except ModelError:
                continue
        found += [_copies(sha256, files) for sha256, files in by_hash.items() if len(files) > 1]
    return sorted(found, key=lambda copies: -copies.wasted)


def replace_with_links(copies: DuplicateSet) -> int:
    """Replace the files in `DuplicateSet.replaceable` by hard links; returns the bytes freed.

    Raises:
        StorageError: A file changed, or cannot be replaced; every file is still complete.
    """
    first = copies.files[0]
    for copy in copies.replaceable:
        for each in (first, copy):
            if file_key(each.path) != each.key:
                raise StorageError(
                    tr("{path} changed since the scan", path=each.path),
                    tr("run `tchat models dupes` again"),
                )
        fresh = copy.path.with_name(f".{copy.path.name}.{os.getpid()}.tmp")
        try:
            fresh.hardlink_to(first.path)
            fresh.replace(copy.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise StorageError(
                tr(
                    "cannot link {path} to {target}: {reason}",
                    path=copy.path,
                    target=first.path,
                    reason=error.strerror or error,
                ),
                tr("both must be on one disk and yours"),
            ) from error
    return copies.saved


def _distinct(
    models: Iterable[LocalModel], metadata_cache: MetadataCache
) -> Iterator[DuplicateFile]:
    seen: set[tuple[int, int]] = set()
    for found in models:
        for path, key in _new_files(_files(found, metadata_cache), seen):
            yield DuplicateFile(found.name, path, found.owner, found.can_relink, key)


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


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """What removing a model deletes.

    Attributes:
        name: Of the model; raw.
        links: Links in the snapshots of the Hugging Face cache to delete.
        blobs: Blobs to delete: no other link leads to them.
        shared: Blobs to keep: other links lead to them.
        freed: Bytes.
        registered: A registered file that is only unregistered.
    """

    name: str
    links: tuple[Path, ...] = ()
    blobs: tuple[Path, ...] = ()
    shared: tuple[Path, ...] = ()
    freed: int = 0
    registered: Path | None = None


def plan_removal(found: LocalModel, cache: HubCache, paths: Paths) -> RemovalPlan:
    """Plan the removal of a model; nothing is changed.

    Raises:
        UsageError: tchat may not remove it; says who can.
    """
    if found.owner == HUB:
        return _plan_hub(found, cache)
    if found.owner == USER and found.path.absolute() in registered(paths):
        return RemovalPlan(found.name, registered=found.path.absolute())
    why, hint = _reason_to_keep(found, paths)
    raise UsageError(
        tr("{name} is not removed: {why}", name=single_line(found.name, 100), why=why), hint
    )


def remove(removal: RemovalPlan, cache: HubCache, paths: Paths) -> None:
    """Carry out a plan.

    Raises:
        StorageError: A file cannot be deleted.
        UsageError: It is being downloaded at this moment.
    """
    if removal.registered is not None:
        forget(paths, [removal.registered])
        return
    with contextlib.ExitStack() as locks:
        for blob in removal.blobs:
            locks.enter_context(_locked(blob, cache))
        # Blobs first: an interruption leaves broken links, which a pull repairs.
        for path in (*removal.blobs, *removal.links):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise _unremovable(path, error) from error
        for folder in {_repository(link, cache) for link in removal.links}:
            _tidy(folder)


def _plan_hub(found: LocalModel, cache: HubCache) -> RemovalPlan:
    folder = _repository(found.path, cache)
    snapshot = _snapshot(found.path, folder)
    names = _names_of_model(found.path, snapshot, cache)
    content = {_target(snapshot / name) for name in names}
    links, others = [], set()
    for link in _links(folder):
        target = _target(link)
        if target in content and link.relative_to(_snapshot(link, folder)) in names:
            links.append(link)
        else:
            others.add(target)
    store = _target(folder / "blobs")
    own = {target for target in content if target.parent == store}
    blobs = tuple(sorted(own - others))
    freed = sum(map(_freed, {*blobs, *(link for link in links if not link.is_symlink())}))
    return RemovalPlan(found.name, tuple(links), blobs, tuple(sorted(own & others)), freed)


def _names_of_model(path: Path, snapshot: Path, cache: HubCache) -> set[Path]:
    """The paths in the snapshot of all files of the model whose first file is ``path``."""
    repo = snapshot.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
    for model in list_repo_models(cache.files(repo, snapshot.name)):
        if snapshot / model.first.name == path:
            return {Path(file.name) for file in model.files}
    return {path.relative_to(snapshot)}


def _repository(path: Path, cache: HubCache) -> Path:
    """The folder ``models--USER--REPO`` of a path in the cache."""
    return cache.root / path.relative_to(cache.root).parts[0]


def _snapshot(path: Path, folder: Path) -> Path:
    """The folder ``snapshots/COMMIT`` of a path in a repository."""
    return folder / "snapshots" / path.relative_to(folder / "snapshots").parts[0]


def _links(folder: Path) -> Iterator[Path]:
    """All links and files in all snapshots of a repository."""
    for path in sorted((folder / "snapshots").rglob("*")):
        if path.is_symlink() or path.is_file():
            yield path


def _target(link: Path) -> Path:
    return Path(os.path.realpath(link))


def _freed(path: Path) -> int:
    """Bytes freed by deleting a file: 0 when it has further hard links."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return status.st_size if status.st_nlink == 1 else 0


@contextlib.contextmanager
def _locked(blob: Path, cache: HubCache) -> Iterator[None]:
    """Lock a blob against downloads, those of huggingface_hub too."""
    lock = cache.root / ".locks" / blob.parent.parent.name / f"{blob.name}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file_lock = acquire_lock(lock, 0, mode=0o664)
    except OSError as error:
        raise _unremovable(lock, error) from error
    if file_lock is None:
        raise UsageError(tr("it is being downloaded"), tr("wait for it, or stop it"))
    try:
        yield
    finally:
        file_lock.release()


def _tidy(folder: Path) -> None:
    """Delete empty folders, and the whole repository when no file is left."""
    for path in sorted((folder / "snapshots").rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()
    if not any(_files_below(folder / "blobs")) and not any(_files_below(folder / "snapshots")):
        shutil.rmtree(folder, ignore_errors=True)


def _files_below(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _unremovable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        tr("cannot delete {path}: {reason}", path=path, reason=error.strerror or error),
        tr("check who may write there"),
    )


def _reason_to_keep(found: LocalModel, paths: Paths) -> tuple[str, str]:
    """Why the model is kept, and how to remove it."""
    if found.owner != USER:
        return tr("it belongs to {owner}", owner=found.owner), tr(found.removal_hint)
    folder = next((each for each in registered(paths) if found.path.is_relative_to(each)), None)
    if folder is not None:
        return tr("its folder is registered"), tr(
            "run: tchat models add --forget {folder}", folder=folder
        )
    return tr("it is a file of yours"), tr("delete it yourself: {path}", path=found.path)
