"""All model files within reach, each under a name of its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from tchat.errors import ModelError
from tchat.models.models_file import registered
from tchat.models.place import Found, Owner, stem
from tchat.models.resolve import STARTER, Starter
from tchat.models.walk import gguf_files
from tchat.paths import Paths

REGISTERED_DEPTH = 3  # levels of a registered folder


def own_places(paths: Paths, environ: Mapping[str, str] = os.environ) -> list[Found]:
    """The starter, what the user registered, and what is in the Hugging Face cache.

    Raises:
        UsageError: models.toml is broken.
        StorageError: It cannot be read.
    """
    from tchat.models.hub_shelf import HubShelf

    return _named([*_starter(), *_registered(paths), *HubShelf(environ).places()])


def all_places(paths: Paths, environ: Mapping[str, str] = os.environ) -> list[Found]:
    """Those of `own_places`, then what other programs keep.

    Raises:
        UsageError: models.toml is broken.
        StorageError: It cannot be read.
    """
    from tchat.models.other_programs import other_programs

    return _named([*own_places(paths, environ), *other_programs(environ)])


def _starter() -> Iterator[Found]:
    with contextlib.suppress(ModelError):
        path = Starter().find(STARTER)
        if path is not None:
            yield Found(STARTER, path, Owner.TCHAT)


def _registered(paths: Paths) -> Iterator[Found]:
    for place in registered(paths):
        files: Iterable[Path] = (place,)
        if place.is_dir():
            files = gguf_files(place, REGISTERED_DEPTH)
        for path in files:
            yield Found(stem(path), path, Owner.USER)


def _named(places: Iterable[Found]) -> list[Found]:
    """Each name once: of two alike the later one goes by its path."""
    named: dict[str, Found] = {}
    for found in places:
        name = found.name if found.name not in named else str(found.path)
        named.setdefault(name, replace(found, name=name))
    return list(named.values())
