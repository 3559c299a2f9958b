"""The registry of model sources, and all models on this disk with unique names."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace

from tchat.models.sources.gpt4all import Gpt4AllSource
from tchat.models.sources.hub_cache import HubCacheSource
from tchat.models.sources.llama_cpp import LlamaCppSource
from tchat.models.sources.lm_studio import LmStudioSource
from tchat.models.sources.ollama import OllamaSource
from tchat.models.sources.registered import RegisteredSource
from tchat.models.sources.source import LocalModel, ModelSource
from tchat.models.sources.starter import StarterSource
from tchat.paths import Paths

# In the order of listings: where two models share a name, the first keeps it.
SOURCES: tuple[Callable[[Paths, Mapping[str, str]], ModelSource], ...] = (
    StarterSource,
    RegisteredSource,
    HubCacheSource,
    LlamaCppSource,
    OllamaSource,
    LmStudioSource,
    Gpt4AllSource,
)


def local_models(
    paths: Paths, environ: Mapping[str, str] = os.environ, *, own_only: bool = False
) -> list[LocalModel]:
    """The models of all sources; a model whose name is taken is called by its path.

    Args:
        paths: The user's folders.
        environ: The environment; tells where other programs keep their files.
        own_only: Leave out what other programs keep.

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
