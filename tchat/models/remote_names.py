"""Names of models that are not on this disk, but can be had."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.errors import ModelError, ModelNotFound
from tchat.models.catalogue import find_entry, load_catalogue, sizes_of
from tchat.models.hub.names import HubName, parse_hub_name
from tchat.models.models_file import aliases
from tchat.models.resolve import STARTER, StarterSource
from tchat.sanitize import single_line

if TYPE_CHECKING:
    from tchat.models.sources.hub_cache import HubCacheSource
    from tchat.paths import Paths

CATALOGUE = "`tchat models catalogue` tells which fit this machine"


class ModelNotDownloaded(ModelNotFound):
    """A model that can be pulled.

    Args:
        name: As it was called.
        remote: Where the hub has it.
    """

    def __init__(self, name: str, remote: HubName) -> None:
        shown = single_line(name)
        super().__init__(f"{shown} is not on this disk", f"get it: tchat models pull {shown}")
        self.remote = remote


class CatalogueLookup:
    """The models of the catalogue, as a source of names."""

    def __init__(self, shelf: HubCacheSource) -> None:
        self._shelf = shelf

    def find(self, name: str) -> Path | None:
        """The file that the hub's cache has of it; of the starter, also the one of its package.

        Raises:
            NotOnDisk: Neither does.
        """
        found = find_entry(name)
        if found is None:
            return None
        entry, remote = found
        path = self._shelf.find(str(remote))
        if path is None and entry.starter and not remote.quantization:
            path = _starter()
        if path is None:
            raise ModelNotDownloaded(name, remote)
        return path

    def suggestions(self, near: str) -> Iterable[str]:  # noqa: ARG002
        """None: what is on this disk comes first; see `similar_in_catalogue`."""
        return ()


class HubLookup:
    """Names of the hub that nothing on this disk answers to.

    Args:
        environ: For ``HF_ENDPOINT``.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._endpoint = environ.get("HF_ENDPOINT", "")

    def find(self, name: str) -> Path | None:
        """Never a file.

        Raises:
            NotOnDisk: It is a name of the hub.
        """
        remote = parse_hub_name(name, self._endpoint)
        if remote is not None:
            raise ModelNotDownloaded(name, remote)
        return None

    def suggestions(self, near: str) -> Iterable[str]:  # noqa: ARG002
        """None."""
        return ()


def similar_in_catalogue(name: str) -> list[str]:
    """Names of the catalogue that could have been meant: those of a family, or alike."""
    from difflib import get_close_matches

    return sizes_of(name)[:3] or get_close_matches(name.lower(), list(load_catalogue()), cutoff=0.7)


def resolve_remote(name: str, paths: Paths, environ: Mapping[str, str] = os.environ) -> HubName:
    """Where the hub has the model called ``name``: in its own words, the catalogue's, or an alias.

    Raises:
        ModelNotFound: It is no such name.
        UsageError: models.toml is broken.
    """
    for each in (name, aliases(paths).get(name, "")):
        remote = parse_hub_name(each, environ.get("HF_ENDPOINT", ""))
        if remote is not None:
            return remote
        if found := find_entry(each):
            return found[1]
    shown = single_line(name, 80)
    if sizes := sizes_of(name):
        raise ModelNotFound(f"{shown} comes in several sizes: {', '.join(sizes)}", CATALOGUE)
    raise ModelNotFound(
        f"{shown!r} is no name on the hub, nor in the catalogue",
        "name a model as user/repo or user/repo:QUANT; `tchat models search WORDS` finds some, "
        + CATALOGUE,
    )


def _starter() -> Path | None:
    try:
        return StarterSource().find(STARTER)
    except ModelError:
        return None
