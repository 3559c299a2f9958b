"""Newer revisions of downloaded models: what the hub has, pulled beside what is here.

A pull links a file into the snapshot of the new commit once its content is verified. So the old
file stays complete until then, and is removed afterwards.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tchat.errors import TchatError
from tchat.models.files import file_key
from tchat.models.hub.api import HubApi
from tchat.models.hub.cache import HubCache
from tchat.models.hub.repository import (
    HubName,
    RepoFile,
    RepoListing,
    RepoModel,
    list_repo_models,
)


@dataclass(frozen=True, slots=True)
class ModelRevision:
    """A downloaded model beside the one of its name on the hub. Texts are raw.

    Attributes:
        name: Of the model, as for a pull.
        here: The downloaded one, in the snapshot of its commit.
        there: The one on the hub; None where it is gone, or the hub did not answer.
        missing: Bytes to download.
        problem: Why the hub told nothing; None where it did.
    """

    name: str
    here: RepoModel
    there: RepoModel | None = None
    missing: int = 0
    problem: TchatError | None = None

    @property
    def is_newer(self) -> bool:
        """Whether the hub has other content."""
        if self.there is None:
            return False
        return [file.blob for file in self.here.files] != [file.blob for file in self.there.files]

    @property
    def hub_name(self) -> HubName:
        """What pulls it."""
        first = self.here.first
        return HubName(first.repo, file=first.name)


def find_revisions(paths: Iterable[Path], hub: HubApi, cache: HubCache) -> Iterator[ModelRevision]:
    """Compare each model, by the path of its first file, with the hub.

    Each repository is asked once. A model that was pulled by a tag or a commit is to stay: it is
    compared with itself.
    """

    @functools.cache
    def listing(repo: str) -> RepoListing | TchatError:
        try:
            return hub.listing(repo)
        except TchatError as error:
            return error

    seen: set[tuple[str, str]] = set()
    for path in paths:
        here = _model_at(path, cache)
        if here is None or (here.first.repo, here.first.name) in seen:
            continue
        seen.add((here.first.repo, here.first.name))
        if not cache.commit(here.first.repo):
            yield ModelRevision(here.name, here, here)
            continue
        found = listing(here.first.repo)
        if isinstance(found, TchatError):
            yield ModelRevision(here.name, here, problem=found)
            continue
        there = _same_model(found, here)
        files: tuple[RepoFile, ...] = there.files if there else ()
        missing = sum(file.size - cache.present_bytes(file) for file in files)
        yield ModelRevision(here.name, here, there, missing)


def _model_at(path: Path, cache: HubCache) -> RepoModel | None:
    """The cached model whose first file is ``path``."""
    try:
        folder, snapshots, commit, *_ = path.relative_to(cache.root).parts
        file_key(path)
    except (ValueError, TchatError):
        return None
    if snapshots != "snapshots":
        return None
    repo = folder.removeprefix("models--").replace("--", "/", 1)
    models = list_repo_models(cache.files(repo, commit))
    return next((each for each in models if cache.snapshot(each.first) == path), None)


def _same_model(listing: RepoListing, here: RepoModel) -> RepoModel | None:
    """The model on the hub with the name of the first file of ``here``."""
    models = [*listing.models, *list_repo_models(listing.companions)]
    return next((each for each in models if each.first.name == here.first.name), None)
