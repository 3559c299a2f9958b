"""All model files within reach, each under a name of its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from tchat.errors import ModelError
from tchat.models.models_file import registered
from tchat.models.resolve import STARTER, StarterSource
from tchat.models.sources.scan import gguf_files
from tchat.models.sources.source import LocalModel, Owner, model_stem
from tchat.paths import Paths

REGISTERED_DEPTH = 3  # levels of a registered folder


def own_models(paths: Paths, environ: Mapping[str, str] = os.environ) -> list[LocalModel]:
    """The starter, what the user registered, and what is in the Hugging Face cache.

    Raises:
        UsageError: models.toml is broken.
        StorageError: It cannot be read.
    """
    from tchat.models.sources.hub_cache import HubCacheSource

    return _named([*_starter(), *_registered(paths), *HubCacheSource(environ).places()])


def all_models(paths: Paths, environ: Mapping[str, str] = os.environ) -> list[LocalModel]:
    """Those of `own_models`, then what other programs keep.

    Raises:
        UsageError: models.toml is broken.
        StorageError: It cannot be read.
    """
    from tchat.models.sources.other_programs import other_models

    return _named([*own_models(paths, environ), *other_models(environ)])


def _starter() -> Iterator[LocalModel]:
    with contextlib.suppress(ModelError):
        path = StarterSource().find(STARTER)
        if path is not None:
            yield LocalModel(STARTER, path, Owner.TCHAT)


def _registered(paths: Paths) -> Iterator[LocalModel]:
    for place in registered(paths):
        files: Iterable[Path] = (place,)
        if place.is_dir():
            files = gguf_files(place, REGISTERED_DEPTH)
        for path in files:
            yield LocalModel(model_stem(path), path, Owner.USER)


def _named(places: Iterable[LocalModel]) -> list[LocalModel]:
    """Each name once: of two alike the later one goes by its path."""
    named: dict[str, LocalModel] = {}
    for found in places:
        name = found.name if found.name not in named else str(found.path)
        named.setdefault(name, replace(found, name=name))
    return list(named.values())
