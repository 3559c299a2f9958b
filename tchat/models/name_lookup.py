"""Lookups of names that need more than a look at the path, and of names of the hub.

`tchat.models.resolve` imports them only for a name that is neither the starter nor a path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tchat.errors import ModelError, ModelNotFound, UsageError
from tchat.models.catalogue import CatalogueLookup, find_entry, sizes_of
from tchat.models.files import has_gguf_ending
from tchat.models.hub.repository import HubName, ModelNotDownloaded, parse_hub_name
from tchat.models.models_file import aliases
from tchat.models.sources.hub_cache import HubCacheSource
from tchat.models.sources.registry import local_models
from tchat.models.sources.source import LocalModel
from tchat.models.sources.starter import STARTER
from tchat.paths import Paths
from tchat.sanitize import single_line

if TYPE_CHECKING:
    from tchat.models.metadata import MetadataCache

CATALOGUE = "`tchat models catalogue` tells which fit this machine"
LISTED = 5  # names in a message
ALIAS_NAME = re.compile(r"\w[\w.:-]{0,79}")


class NameLookup(Protocol):
    """One kind of model name, and the files that such names stand for."""

    def find(self, name: str) -> Path | None:
        """The file that ``name`` stands for; None when the name is not of this kind.

        Raises:
            ModelNotFound: The name is of this kind, and its file is not there.
        """

    def suggestions(self, near: str) -> Iterable[str]:
        """Names that the user may have meant by ``near``."""


class HubLookup:
    """Names on the hub; asked after everything on this disk.

    Args:
        environ: For ``HF_ENDPOINT``.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._endpoint = environ.get("HF_ENDPOINT", "")

    def find(self, name: str) -> Path | None:
        """Never a file.

        Raises:
            ModelNotDownloaded: It is a name on the hub.
        """
        remote = parse_hub_name(name, self._endpoint)
        if remote is not None:
            raise ModelNotDownloaded(name, remote)
        return None

    def suggestions(self, near: str) -> Iterable[str]:  # noqa: ARG002
        """None."""
        return ()


class AliasLookup:
    """The user's aliases, in models.toml.

    Args:
        paths: Where models.toml is.
        resolve: Finds what an alias stands for.
    """

    def __init__(self, paths: Paths, resolve: Callable[[str], Path]) -> None:
        self._paths = paths
        self._resolve = resolve

    def find(self, name: str) -> Path | None:
        """The file that the alias stands for."""
        target = aliases(self._paths).get(name)
        if target is None:
            return None
        try:
            return self._resolve(target)
        except ModelNotDownloaded as error:
            raise ModelNotDownloaded(name, error.remote) from error
        except ModelError as error:
            message = f"the alias {single_line(name, 40)} cannot be resolved: {error.message}"
            raise ModelNotFound(message, error.hint) from error

    def suggestions(self, near: str) -> Iterable[str]:  # noqa: ARG002
        """All aliases."""
        return aliases(self._paths)


class DiskLookup:
    """Every model on this disk, by its name in ``tchat models ls --all``."""

    def __init__(self, paths: Paths, environ: Mapping[str, str] = os.environ) -> None:
        self._paths = paths
        self._environ = environ

    def find(self, name: str) -> Path | None:
        """The file of exactly this name; as in Ollama, a missing tag means ``latest``."""
        for wanted in (name, f"{name}:latest"):
            for found in self.models:
                if found.name == wanted:
                    return found.path
        return None

    def suggestions(self, near: str) -> Iterable[str]:  # noqa: ARG002
        """All names."""
        for found in self.models:
            yield found.name

    @cached_property
    def models(self) -> list[LocalModel]:
        """Scanned once."""
        return local_models(self._paths, self._environ)


class SubstringLookup:
    """Any part of a name of `DiskLookup` that fits only one language model."""

    def __init__(self, disk: DiskLookup, paths: Paths) -> None:
        self._disk = disk
        self._paths = paths

    def find(self, name: str) -> Path | None:
        """The only file whose name contains ``name``; case is ignored.

        Raises:
            ModelNotFound: Several names contain it.
        """
        wanted = name.casefold()
        matches = [found for found in self._disk.models if _contains(found, wanted)]
        matches = self._language_models(matches) or matches
        if len({_identity(found.path) for found in matches}) > 1:
            shown = single_line(name, 80)
            raise ModelNotFound(f"{shown!r} could mean several models", _some(matches))
        return matches[0].path if matches else None

    def suggestions(self, near: str) -> Iterable[str]:  # noqa: ARG002
        """None: `DiskLookup` suggests the names."""
        return ()

    def _language_models(self, matches: list[LocalModel]) -> list[LocalModel]:
        """The language models among them: a projector beside its model is not ambiguous."""
        from tchat.models.metadata import MetadataCache

        if len(matches) < 2:
            return matches
        with MetadataCache(self._paths) as store:
            return [found for found in matches if _is_language_model(store, found.path)]


def _is_language_model(store: MetadataCache, path: Path) -> bool:
    try:
        return not store.metadata(path).refusal
    except ModelError:
        return False


def _contains(found: LocalModel, wanted: str) -> bool:
    """Whether the model's name or its file name contains ``wanted``."""
    file = found.path.name if has_gguf_ending(found.path.name) else ""
    return wanted in found.name.casefold() or wanted in file.casefold()


def _identity(path: Path) -> tuple[int, int] | str:
    try:
        status = path.stat()
    except OSError:
        return str(path)
    return status.st_dev, status.st_ino


def _some(matches: list[LocalModel]) -> str:
    names = [single_line(found.name, 100) for found in matches]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"name one: {', '.join(names[:LISTED])}{more}"


def other_lookups(paths: Paths, environ: Mapping[str, str]) -> tuple[NameLookup, ...]:
    """The lookups that come after aliases, in the order in which they are asked."""
    disk, hub_cache = DiskLookup(paths, environ), HubCacheSource(paths, environ)
    hub = HubLookup(environ)
    return (hub_cache, disk, hub, CatalogueLookup(hub_cache), SubstringLookup(disk, paths))


def require_alias(name: str) -> None:
    """Raise UsageError unless ``name`` can be an alias.

    Raises:
        UsageError: It means something else already, or is hard to type.
    """
    if not ALIAS_NAME.fullmatch(name) or name == STARTER or has_gguf_ending(name):
        raise UsageError(
            f"`{name}` cannot be an alias",
            "take letters, digits and . _ - : but no slash, and not the name of a file",
        )


def resolve_remote(name: str, paths: Paths, environ: Mapping[str, str] = os.environ) -> HubName:
    """Where the hub has ``name``: a name on the hub, in the catalogue, or an alias of one.

    Raises:
        ModelNotFound: It is none of these.
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
        f"{shown!r} is neither a name on the hub nor in the catalogue",
        "name a model as user/repo or user/repo:QUANT; `tchat models search WORDS` finds some, "
        + CATALOGUE,
    )
