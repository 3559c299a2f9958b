"""Pulling a model: from its name on the hub to its files in the cache."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

from tchat.errors import ModelNotFound, StorageError
from tchat.models.beginnings import Beginnings
from tchat.models.fit import Machine
from tchat.models.hashing import HashMemory
from tchat.models.hub import Hub
from tchat.models.hub_answers import HubError, RepositoryNotFound
from tchat.models.hub_cache import HubCache
from tchat.models.hub_files import Listing, RemoteModel, choose, group
from tchat.models.hub_name import HubName
from tchat.models.prospect import Prospect, look
from tchat.models.pull_events import Found, Looking, Meter, Pulled, PullEvent, Unasked
from tchat.models.transfer import Cancelled, Patience, Transfer
from tchat.models.words import size_text

SPARE = 64 << 20  # bytes that stay free on the disk


def pull(
    name: HubName,
    hub: Hub,
    cache: HubCache,
    *,
    hashes: HashMemory,
    machine: Callable[[], Machine] | None = None,
    patience: Patience | None = None,
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
        patience: With the hub.
        cancelled: Asked several times a second whether to stop; from any thread.

    Raises:
        ModelNotFound: The hub does not have it; with the nearest names.
        HubError: The hub cannot be asked, or refuses, or sends something else.
        StorageError: The disk stands in the way.
    """
    patience = patience or Patience()
    transfer = Transfer(hub, cache, Meter(), patience, cancelled, Beginnings(hub), hashes)
    try:
        try:
            listing = yield from transfer.retried(
                lambda: _ask(hub, name), limit=transfer.patience.asking
            )
        except HubError as error:
            yield from _without_the_hub(name, transfer, error)
            return
        except RepositoryNotFound as error:
            raise _with_near_names(error, name, hub) from None
        yield from _fetch_all((yield from _chosen(listing, name, machine, transfer)), transfer)
    except Cancelled:
        yield transfer.meter.stopped()


def _ask(hub: Hub, name: HubName) -> Generator[PullEvent, None, Listing]:
    yield from ()
    return hub.listing(name.repo, name.revision)


def _chosen(
    listing: Listing, name: HubName, machine: Callable[[], Machine] | None, transfer: Transfer
) -> Generator[PullEvent, None, Found]:
    """Which model is meant; one that was begun or is here needs no second judgement."""
    begun = _begun(listing, name, transfer.cache)
    model = begun or choose(listing, name)
    prospect = None
    if machine is not None and begun is None:
        yield Looking(model.first.name)
        here = machine()

        def attempt() -> Generator[PullEvent, None, Prospect]:
            yield from ()
            return look(listing, name, transfer.beginnings.read_range, here)

        since = time.monotonic()
        prospect = yield from transfer.retried(attempt, limit=transfer.patience.attempts)
        transfer.meter.looking = time.monotonic() - since
        model = prospect.model
    missing = sum(file.size - transfer.cache.present(file) for file in model.files)
    return Found(listing, model, missing, prospect)


def _begun(listing: Listing, name: HubName, cache: HubCache) -> RemoteModel | None:
    """The model that ``name`` may mean and of which the most is here; None when nothing is."""
    if name.file or name.quantization:
        meant: Sequence[RemoteModel] = (choose(listing, name),)
    else:
        meant = listing.models
    here = {model.name: sum(map(cache.present, model.files)) for model in meant}
    most = max(meant, key=lambda model: here[model.name], default=None)
    return most if most is not None and here[most.name] else None


def _fetch_all(found: Found, transfer: Transfer) -> Iterator[PullEvent]:
    cache, meter, model = transfer.cache, transfer.meter, found.model
    yield found
    _require_space(cache.root, found.missing)
    meter.begin(model.size)
    for file in model.files:
        yield from transfer.fetch(file)
    # The first part is what a model is found by, so it appears last.
    paths = [cache.link(file) for file in reversed(model.files)]
    cache.refer(model.first)
    yield Pulled(model, tuple(reversed(paths)), meter.fetched, meter.seconds)


def _without_the_hub(name: HubName, transfer: Transfer, error: HubError) -> Iterator[PullEvent]:
    """The model as it is in the cache, where the hub cannot be asked.

    Raises:
        HubError: It is not there, or damaged.
    """
    cache = transfer.cache
    models, companions = group(cache.files(name.repo, name.revision))
    commit = cache.commit(name.repo, name.revision)
    try:
        model = choose(Listing(name.repo, commit, "", False, 0, models, companions), name)
    except ModelNotFound:
        raise error from None
    for file in model.files:
        if not (yield from transfer.verified(file)):
            raise error
    yield Unasked(error.message)
    yield Pulled(model, tuple(cache.snapshot(file) for file in model.files), 0, 0.0)


def _with_near_names(error: RepositoryNotFound, name: HubName, hub: Hub) -> ModelNotFound:
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
