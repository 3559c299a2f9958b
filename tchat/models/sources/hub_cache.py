"""The Hugging Face cache: models that were pulled, under their names on the hub."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from tchat.errors import ModelNotFound
from tchat.models.hub.cache import HubCache, cache_folder
from tchat.models.hub.repository import (
    DEFAULT_REVISION,
    HubName,
    RepoFile,
    RepoModel,
    default_model,
    list_repo_models,
    parse_hub_name,
)
from tchat.models.sources.source import HUB, LocalModel
from tchat.paths import Paths
from tchat.sanitize import single_line
from tchat.translation import tr


class HubCacheSource:
    """The cache as a source of models, and as a lookup of the hub's names."""

    is_own = True

    def __init__(self, paths: Paths, environ: Mapping[str, str] = os.environ) -> None:  # noqa: ARG002
        self.cache = HubCache(cache_folder(environ))
        self._endpoint = environ.get("HF_ENDPOINT", "")

    def models(self) -> Iterator[LocalModel]:
        """All models, those of ``main`` before other revisions."""
        for repo in self._repositories.values():
            seen: set[str] = set()
            for files in self._revisions(repo):
                fresh = [file for file in files if file.blob not in seen]
                seen.update(file.blob for file in fresh)
                for model in list_repo_models(fresh):
                    path = self.cache.snapshot(model.first)
                    yield LocalModel(model.name, path, HUB, can_relink=True)

    def find(self, name: str) -> Path | None:
        """The cached file that a name on the hub means; None when it is not cached.

        Raises:
            ModelNotFound: The name means several cached models.
        """
        hub_name = parse_hub_name(name, self._endpoint)
        repo = self._repositories.get(hub_name.repo.casefold()) if hub_name else None
        if hub_name is None or repo is None:
            return None
        model = _chosen(list_repo_models(self._files(repo, hub_name.revision)), hub_name)
        return self.cache.snapshot(model.first) if model else None

    @cached_property
    def _repositories(self) -> dict[str, str]:
        """By their names in lower case: the hub ignores case."""
        return {repo.casefold(): repo for repo in self.cache.repositories()}

    def _files(self, repo: str, revision: str) -> list[RepoFile]:
        files = self.cache.files(repo, revision)
        if not files and revision == DEFAULT_REVISION:  # only a tag or a commit was pulled
            return next(iter(self._revisions(repo)), [])
        return files

    def _revisions(self, repo: str) -> Iterator[list[RepoFile]]:
        """The files of each cached commit, that of ``main`` first."""
        main = self.cache.commit(repo)
        try:
            commits = sorted(
                each.name for each in (self.cache.folder(repo) / "snapshots").iterdir()
            )
        except OSError:
            commits = []
        for commit in sorted(commits, key=lambda each: each != main):
            if files := self.cache.files(repo, commit):
                yield files


def _chosen(models: list[RepoModel], hub_name: HubName) -> RepoModel | None:
    """The cached model that ``hub_name`` names, if any; `ModelNotFound` for several."""
    if hub_name.file:
        named = (m for m in models if any(file.name == hub_name.file for file in m.files))
        return next(named, None)
    if not hub_name.quantization:
        whole = [model for model in models if model.quantization] or models
        return default_model(whole) if whole else None
    found = [model for model in models if model.quantization == hub_name.quantization.upper()]
    if len(found) > 1:
        names = ", ".join(single_line(model.name) for model in found[:5])
        raise ModelNotFound(
            tr("{hub_name} could mean several models", hub_name=single_line(str(hub_name))),
            tr("name one: {names}", names=names),
        )
    return found[0] if found else None
