"""The registry of model sources, and all models on this disk with unique names.

Sources that are folders of GGUF files are declared here; another kind is a module beside this one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from tchat.models.files import has_gguf_ending
from tchat.models.hub.repository import RepoFile, list_repo_models
from tchat.models.models_file import registered
from tchat.models.sources.hub_cache import HubCacheSource
from tchat.models.sources.ollama import OllamaSource
from tchat.models.sources.source import (
    USER,
    LocalModel,
    ModelSource,
    files_below,
    gguf_files,
    model_stem,
)
from tchat.models.sources.starter import StarterSource
from tchat.paths import Paths, expanded

REGISTERED_DEPTH = 3  # levels of a registered folder
LM_STUDIO_FOLDERS = ("~/.lmstudio/models", "~/.cache/lm-studio/models")


class RegisteredSource:
    """Files and folders that the user added by ``tchat models add``."""

    is_own = True

    def __init__(self, paths: Paths, environ: Mapping[str, str]) -> None:  # noqa: ARG002
        self._paths = paths

    def models(self) -> Iterator[LocalModel]:
        """The registered files, and the GGUF files below registered folders."""
        for entry in registered(self._paths):
            deep = entry.is_dir()
            files: Iterable[Path] = gguf_files(entry, REGISTERED_DEPTH) if deep else (entry,)
            for path in files:
                yield LocalModel(model_stem(path), path, USER, can_relink=True)


class FolderSource:
    """The GGUF files in a folder of another program, called ``owner``."""

    is_own = False

    def __init__(self, owner: str, folder: Path) -> None:
        self._owner = owner
        self._folder = folder

    def models(self) -> Iterator[LocalModel]:
        """The files of the folder."""
        for path in gguf_files(self._folder):
            yield LocalModel(model_stem(path), path, self._owner)


def llama_cpp_source(paths: Paths, environ: Mapping[str, str]) -> FolderSource:  # noqa: ARG001
    """llama.cpp's downloads: ``$LLAMA_CACHE``, else ``llama.cpp`` in the user's cache."""
    import platformdirs

    named = environ.get("LLAMA_CACHE")
    folder = expanded(named) if named else platformdirs.user_cache_path() / "llama.cpp"
    return FolderSource("llama.cpp", folder)


def gpt4all_source(paths: Paths, environ: Mapping[str, str]) -> FolderSource:  # noqa: ARG001
    """GPT4All's data folder."""
    import platformdirs

    return FolderSource("GPT4All", platformdirs.user_data_path() / "nomic.ai" / "GPT4All")


class LmStudioSource:
    """LM Studio's models, as ``PUBLISHER/REPOSITORY/FILE``; named as on the hub."""

    is_own = False

    def __init__(self, paths: Paths, environ: Mapping[str, str]) -> None:  # noqa: ARG002
        self._folders = [expanded(folder) for folder in LM_STUDIO_FOLDERS]

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


# In the order of listings: where two models share a name, the first keeps it.
SOURCES: tuple[Callable[[Paths, Mapping[str, str]], ModelSource], ...] = (
    StarterSource,
    RegisteredSource,
    HubCacheSource,
    llama_cpp_source,
    OllamaSource,
    LmStudioSource,
    gpt4all_source,
)


def local_models(
    paths: Paths, environ: Mapping[str, str] = os.environ, *, own_only: bool = False
) -> list[LocalModel]:
    """The models of all sources; a model whose name is taken is called by its path.

    With ``own_only``, those that other programs keep are left out.

    Raises:
        UsageError: models.toml is broken.
        StorageError: It cannot be read.
    """
    named: dict[str, LocalModel] = {}
    for make in SOURCES:
        source = make(paths, environ)
        for model in source.models() if source.is_own or not own_only else ():
            name = model.name if model.name not in named else str(model.path)
            named.setdefault(name, replace(model, name=name))
    return list(named.values())
