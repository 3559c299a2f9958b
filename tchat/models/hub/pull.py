"""Pulling a model: from its name on the hub to its files in the cache."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

from tchat.errors import ModelNotFound, StorageError
from tchat.humanize import size_text
from tchat.models.files import HashCache
from tchat.models.hub.api import HubApi
from tchat.models.hub.cache import HubCache
from tchat.models.hub.download import DownloadCancelled, Downloader, RetryPolicy
from tchat.models.hub.errors import HubError, RepositoryNotFound
from tchat.models.hub.names import HubName
from tchat.models.hub.pull_events import (
    DownloadMeter,
    HubUnavailable,
    ModelSelected,
    Pulled,
    PullEvent,
    ReadingHeader,
)
from tchat.models.hub.remote_model import HeaderCache, RemoteModel, inspect_listing
from tchat.models.hub.repo_files import RepoListing, RepoModel, choose_model, group_models
from tchat.models.memory import Machine

SPARE = 64 << 20  # bytes that stay free on the disk


def pull(
    name: HubName,
    hub: HubApi,
    cache: HubCache,
    *,
    hashes: HashCache,
    machine: Callable[[], Machine] | None = None,
    retry_policy: RetryPolicy | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[PullEvent]:
    """Have the model called ``name`` in ``cache``; ends with `Pulled` or `Stopped`.

    Everything happens in the thread that iterates. What came is kept, however it ends: calling it
    again goes on from there. A model appears under its names when all of its files are complete.

    Args:
        name: What to pull.
        hub: Where from.
        cache: Where to.
        hashes: Remembers the SHA-256 of what is in the cache, which is read once.
        machine: Tells what it is judged for, and a quantization is chosen for where none is
            named; asked only for what is not here yet. Without it nothing is judged, and the
            usual quantization is taken.
        retry_policy: With the hub.
        cancelled: Asked several times a second whether to stop; from any thread.

    Raises:
        ModelNotFound: The hub does not have it; with the nearest names.
        HubError: The hub cannot be asked, or refuses, or sends something else.
        StorageError: The disk stands in the way.
    """
    retry_policy = retry_policy or RetryPolicy()
    transfer = Downloader(
        hub, cache, DownloadMeter(), retry_policy, cancelled, HeaderCache(hub), hashes
    )
    try:
        try:
            listing = yield from transfer.with_retries(
                lambda: _ask(hub, name), limit=transfer.retry_policy.asking
            )
        except HubError as error:
            yield from _without_the_hub(name, transfer, error)
            return
        except RepositoryNotFound as error:
            raise _with_near_names(error, name, hub) from None
        yield from _fetch_all((yield from _chosen(listing, name, machine, transfer)), transfer)
    except DownloadCancelled:
        yield transfer.meter.stopped()


def _ask(hub: HubApi, name: HubName) -> Generator[PullEvent, None, RepoListing]:
    yield from ()
    return hub.listing(name.repo, name.revision)


def _chosen(
    listing: RepoListing, name: HubName, machine: Callable[[], Machine] | None, transfer: Downloader
) -> Generator[PullEvent, None, ModelSelected]:
    """Which model is meant; one that was begun or is here needs no second judgement."""
    begun = _begun(listing, name, transfer.cache)
    model = begun or choose_model(listing, name)
    remote_model = None
    if machine is not None and begun is None:
        yield ReadingHeader(model.first.name)
        here = machine()

        def attempt() -> Generator[PullEvent, None, RemoteModel]:
            yield from ()
            return inspect_listing(listing, name, transfer.header_cache.read_range, here)

        since = time.monotonic()
        remote_model = yield from transfer.with_retries(
            attempt, limit=transfer.retry_policy.attempts
        )
        transfer.meter.header_seconds = time.monotonic() - since
        model = remote_model.model
    missing = sum(file.size - transfer.cache.present_bytes(file) for file in model.files)
    return ModelSelected(listing, model, missing, remote_model)


def _begun(listing: RepoListing, name: HubName, cache: HubCache) -> RepoModel | None:
    """The model that ``name`` may mean and of which the most is here; None when nothing is."""
    if name.file or name.quantization:
        meant: Sequence[RepoModel] = (choose_model(listing, name),)
    else:
        meant = listing.models
    here = {model.name: sum(map(cache.present_bytes, model.files)) for model in meant}
    most = max(meant, key=lambda model: here[model.name], default=None)
    return most if most is not None and here[most.name] else None


def _fetch_all(found: ModelSelected, transfer: Downloader) -> Iterator[PullEvent]:
    cache, meter, model = transfer.cache, transfer.meter, found.model
    yield found
    _require_space(cache.root, found.missing)
    meter.begin(model.size)
    for file in model.files:
        yield from transfer.fetch(file)
    # The first part is what a model is found by, so it appears last.
    paths = [cache.link(file) for file in reversed(model.files)]
    cache.write_ref(model.first)
    yield Pulled(model, tuple(reversed(paths)), meter.fetched, meter.seconds)


def _without_the_hub(name: HubName, transfer: Downloader, error: HubError) -> Iterator[PullEvent]:
    """The model as it is in the cache, where the hub cannot be asked.

    Raises:
        HubError: It is not there, or damaged.
    """
    cache = transfer.cache
    models, companions = group_models(cache.files(name.repo, name.revision))
    commit = cache.commit(name.repo, name.revision)
    try:
        model = choose_model(RepoListing(name.repo, commit, "", False, 0, models, companions), name)
    except ModelNotFound:
        raise error from None
    for file in model.files:
        if not (yield from transfer.verified(file)):
            raise error
    yield HubUnavailable(error.message)
    yield Pulled(model, tuple(cache.snapshot(file) for file in model.files), 0, 0.0)


def _with_near_names(error: RepositoryNotFound, name: HubName, hub: HubApi) -> ModelNotFound:
    """``error`` with repositories of the hub that could have been meant."""
    from difflib import get_close_matches

    words = name.repo.partition("/")[2]
    try:
        found = [hit.repo for hit in hub.search(words.removesuffix("-GGUF"), limit=20)]
    except HubError:
        return error
    near = get_close_matches(name.repo, found, n=3, cutoff=0.4) or found[:3]
    return ModelNotFound(error.message, f"did you mean {' or '.join(near)}?") if near else error


def _require_space(folder: Path, missing: int) -> None:
    """Raise `StorageError` when ``missing`` more bytes do not fit on the disk."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if missing and free < missing + SPARE:
        raise StorageError(
            f"{size_text(missing)} are still to come, and {size_text(free)} are free in {folder}",
            "free some space, choose a smaller quantization, or set HF_HUB_CACHE to another disk",
        )
