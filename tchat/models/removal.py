"""Remove models that were pulled from the hub; files of other owners are never deleted.

huggingface_hub can delete files of its cache too (`HFCacheInfo.delete_files`), but takes no lock
against a running download, follows links out of the cache, hides a deletion that fails, and gives
up on a repository with one broken link, such as an interrupted removal leaves.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tchat.errors import StorageError, UsageError
from tchat.models.hub.cache import HubCache
from tchat.models.hub.repo_files import list_repo_models
from tchat.models.models_file import forget, registered
from tchat.models.sources.source import HUB, USER, LocalModel
from tchat.paths import Paths
from tchat.sanitize import single_line


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """What removing a model deletes.

    Attributes:
        name: Of the model; raw.
        links: Links in the snapshots of the Hugging Face cache to delete.
        blobs: Blobs to delete: no other link leads to them.
        shared: Blobs to keep: other links lead to them.
        freed: Bytes freed on the disk.
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
    raise UsageError(f"{single_line(found.name, 100)} is not removed: {why}", hint)


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
            _delete(path)
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
    """Lock a blob against downloads, those of huggingface_hub too.

    Raises:
        UsageError: It is being downloaded.
    """
    from filelock import FileLock, Timeout

    lock = cache.root / ".locks" / blob.parent.parent.name / f"{blob.name}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(lock, timeout=0)
        held.acquire()
    except Timeout:
        raise UsageError("it is being downloaded", "wait for it, or stop it") from None
    except OSError as error:
        raise _unremovable(lock, error) from error
    try:
        yield
    finally:
        held.release()


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _unremovable(path, error) from error


def _tidy(folder: Path) -> None:
    """Delete empty folders, and the whole repository when no file is left."""
    for path in sorted((folder / "snapshots").rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            _remove_empty(path)
    if not any(_files(folder / "blobs")) and not any(_files(folder / "snapshots")):
        shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not empty
        folder.rmdir()


def _unremovable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot delete {path}: {error.strerror or error}", "check who may write there"
    )


def _reason_to_keep(found: LocalModel, paths: Paths) -> tuple[str, str]:
    """Why the model is kept, and how to remove it."""
    if found.owner != USER:
        return f"it belongs to {found.owner}", found.removal_hint
    folder = next((each for each in registered(paths) if found.path.is_relative_to(each)), None)
    if folder is not None:
        return "its folder is registered", f"run: tchat models add --forget {folder}"
    return "it is a file of yours", f"delete it yourself: {found.path}"
