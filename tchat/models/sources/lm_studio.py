"""LM Studio's models: ``models/PUBLISHER/REPOSITORY/FILE`` in its folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from tchat.models.files import has_gguf_ending
from tchat.models.hub.repo_files import RepoFile, list_repo_models
from tchat.models.sources.scan import files_below
from tchat.models.sources.source import LocalModel
from tchat.paths import Paths, expanded

FOLDERS = ("~/.lmstudio/models", "~/.cache/lm-studio/models")


class LmStudioSource:
    """Models that LM Studio downloaded.

    Most come from the hub, so they are named as there.
    """

    is_own = False

    def __init__(self, paths: Paths, environ: Mapping[str, str] = os.environ) -> None:  # noqa: ARG002
        self._folders = [expanded(folder) for folder in FOLDERS]

    def models(self) -> Iterator[LocalModel]:
        """The models of each repository."""
        for folder in self._folders:
            repositories: dict[str, list[RepoFile]] = {}
            for path in files_below(folder, depth=4):
                publisher, *below = path.relative_to(folder).parts
                if has_gguf_ending(path.name) and len(below) >= 2:
                    repo, name = f"{publisher}/{below[0]}", "/".join(below[1:])
                    file = RepoFile(repo, "", "", name, 0, "", "")
                    repositories.setdefault(repo, []).append(file)
            for repo, files in repositories.items():
                for model in list_repo_models(files):
                    yield LocalModel(model.name, folder / repo / model.first.name, "LM Studio")
