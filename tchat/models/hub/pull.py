"""Pull a model: from its name on the hub to its files in the cache."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tchat.errors import ModelNotFound, StorageError
from tchat.humanize import size_text
from tchat.models.files import HashCache
from tchat.models.hub.api import HubApi
from tchat.models.hub.cache import HubCache
from tchat.models.hub.client import HubError, RepositoryNotFound
from tchat.models.hub.download import (
    DownloadCancelled,
    Downloader,
    DownloadEvent,
    DownloadMeter,
    RetryPolicy,
)
from tchat.models.hub.remote_model import HeaderCache, RemoteModel, inspect_listing
from tchat.models.hub.repository import HubName, RepoListing, RepoModel, choose_model, group_models
from tchat.models.memory import Machine
from tchat.translation import tr

SPARE = 64 << 20  # bytes that stay free on the disk


@dataclass(frozen=True, slots=True)
class ModelSelected:
    """The model was chosen; ``missing`` bytes of it are not downloaded yet.

    ``remote_model`` says how it would run here; None where its pull was begun earlier, or no
    machine was given. A caller that does not want it stops here: nothing was downloaded yet.
    """

    listing: RepoListing
    model: RepoModel
    missing: int
    remote_model: RemoteModel | None = None


@dataclass(frozen=True, slots=True)
class ReadingHeader:
    """The header of ``file`` is being read, to check how the model would run here."""

    file: str


@dataclass(frozen=True, slots=True)
class HubUnavailable:
    """The hub cannot be reached for ``reason``, but the cached model is complete."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pulled:
    """The pull is complete.

    Attributes:
        model: The model.
        paths: Its files in the snapshot, the first part first.
        fetched: Bytes downloaded; 0 when everything was cached.
        seconds: Duration.
    """

    model: RepoModel
    paths: tuple[Path, ...]
    fetched: int
    seconds: float


PullEvent: TypeAlias = ReadingHeader | ModelSelected | HubUnavailable | Pulled | DownloadEvent


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
    """Download the model called ``name`` into ``cache``; ends with `Pulled` or `PullStopped`.

    The work is done in the thread that iterates. However it ends, what was downloaded is kept, and
    the next call resumes. The model appears in the cache when all its files are complete.

    ``machine`` is called only for a model that is not cached, to choose a quantization; without it
    the default is taken, and the fit is not checked. ``hashes`` keeps that each cached file is
    hashed once. ``cancelled`` is polled several times a second.

    Raises:
        ModelNotFound: The hub does not have it; suggests similar names.
        HubError: A request failed, or the content is wrong.
        StorageError: It cannot be written.
    """
    retry_policy = retry_policy or RetryPolicy()
    downloader = Downloader(
        hub, cache, DownloadMeter(), retry_policy, cancelled, HeaderCache(hub), hashes
    )
    try:
        try:
            listing = yield from downloader.retried(
                lambda: hub.listing(name.repo, name.revision), limit=retry_policy.asking
            )
        except HubError as error:
            yield from _use_cached(name, downloader, error)
            return
        except RepositoryNotFound as error:
            raise _with_suggestions(error, name, hub) from None
        yield from _download((yield from _choose(listing, name, machine, downloader)), downloader)
    except DownloadCancelled:
        yield downloader.meter.stopped()


def _choose(
    listing: RepoListing,
    name: HubName,
    machine: Callable[[], Machine] | None,
    downloader: Downloader,
) -> Generator[PullEvent, None, ModelSelected]:
    """Choose the model; one that is here, or whose download was begun, needs no fit check."""
    cached = _most_cached(listing, name, downloader.cache)
    model = cached or choose_model(listing, name)
    remote_model = None
    if machine is not None and cached is None:
        yield ReadingHeader(model.first.name)
        here, read_range = machine(), downloader.header_cache.read_range
        since = time.monotonic()
        remote_model = yield from downloader.retried(
            lambda: inspect_listing(listing, name, read_range, here),
            limit=downloader.retry_policy.attempts,
        )
        downloader.meter.header_seconds = time.monotonic() - since
        model = remote_model.model
    missing = sum(file.size - downloader.cache.present_bytes(file) for file in model.files)
    return ModelSelected(listing, model, missing, remote_model)


def _most_cached(listing: RepoListing, name: HubName, cache: HubCache) -> RepoModel | None:
    """The model that ``name`` may mean with the most bytes cached; None when none has any."""
    if name.file or name.quantization:
        meant: Sequence[RepoModel] = (choose_model(listing, name),)
    else:
        meant = listing.models
    here = {model.name: sum(map(cache.present_bytes, model.files)) for model in meant}
    most = max(meant, key=lambda model: here[model.name], default=None)
    return most if most is not None and here[most.name] else None


def _download(found: ModelSelected, downloader: Downloader) -> Iterator[PullEvent]:
    cache, meter, model = downloader.cache, downloader.meter, found.model
    yield found
    _require_space(cache.root, found.missing)
    meter.begin(model.size)
    for file in model.files:
        yield from downloader.fetch(file)
    # A model is found by its first part, so that is linked last.
    paths = [cache.link(file) for file in reversed(model.files)]
    cache.write_ref(model.first)
    yield Pulled(model, tuple(reversed(paths)), meter.fetched, meter.seconds)


def _use_cached(name: HubName, downloader: Downloader, error: HubError) -> Iterator[PullEvent]:
    """Use the cached model, when the hub cannot be reached.

    Raises:
        HubError: It is not cached, or damaged.
    """
    cache = downloader.cache
    models, companions = group_models(cache.files(name.repo, name.revision))
    commit = cache.commit(name.repo, name.revision)
    try:
        model = choose_model(RepoListing(name.repo, commit, "", False, 0, models, companions), name)
    except ModelNotFound:
        raise error from None
    for file in model.files:
        if not (yield from downloader.verified(file)):
            raise error
    yield HubUnavailable(error.message)
    yield Pulled(model, tuple(cache.snapshot(file) for file in model.files), 0, 0.0)


def _with_suggestions(error: RepositoryNotFound, name: HubName, hub: HubApi) -> ModelNotFound:
    """``error`` with similar repositories in its hint."""
    from difflib import get_close_matches

    words = name.repo.partition("/")[2]
    try:
        found = [hit.repo for hit in hub.search(words.removesuffix("-GGUF"), limit=20)]
    except HubError:
        return error
    near = get_close_matches(name.repo, found, n=3, cutoff=0.4) or found[:3]
    return (
        ModelNotFound(error.message, tr("did you mean {near}?", near=" or ".join(near)))
        if near
        else error
    )


def _require_space(folder: Path, missing: int) -> None:
    """Raise `StorageError` when the disk has not enough space for ``missing`` more bytes."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if missing and free < missing + SPARE:
        raise StorageError(
            tr(
                "{missing} are missing, but only {free} are free in {folder}",
                missing=size_text(missing),
                free=size_text(free) or "0 B",
                folder=folder,
            ),
            tr(
                "free some space, choose a smaller quantization, or set HF_HUB_CACHE to "
                "another disk"
            ),
        )
