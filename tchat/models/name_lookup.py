"""Look up models by names other than the starter and paths; names of the hub, and of aliases."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from tchat.errors import MODELS, ErrorHint, ModelError, ModelNotFound, UsageError
from tchat.humanize import listed
from tchat.models.catalogue import downloaded, find_entry, similar_in_catalogue, sizes_of
from tchat.models.files import has_gguf_ending
from tchat.models.hub.repository import HubName, ModelNotDownloaded, parse_hub_name
from tchat.models.models_file import aliases
from tchat.models.sources.hub_cache import HubCacheSource
from tchat.models.sources.registry import local_models
from tchat.models.sources.source import LocalModel
from tchat.models.sources.starter import STARTER
from tchat.paths import Paths
from tchat.sanitize import single_line
from tchat.translation import tr

LISTED = 5  # names in a message
ALIAS_NAME = re.compile(r"\w[\w.:-]{0,79}")


class NameLookup:
    """The models of this disk by their names; each place is looked at once."""

    def __init__(self, paths: Paths, environ: Mapping[str, str]) -> None:
        self._paths = paths
        self._environ = environ
        self._hub_cache = HubCacheSource(paths, environ)

    def find(self, name: str) -> Path | None:
        """The file that ``name`` stands for; None when nothing has the name.

        In this order: a name on the hub that is cached, a name in ``tchat models ls --all``, a name
        in the catalogue, part of a name that fits only one language model.

        Raises:
            ModelNotDownloaded: It is on the hub, and not on this disk.
            ModelNotFound: It may mean several.
        """
        found = self._hub_cache.find(name) or self._by_name(name)
        if found is not None:
            return found
        remote = parse_hub_name(name, self._environ.get("HF_ENDPOINT", ""))
        if remote is not None:
            raise ModelNotDownloaded(name, remote)
        return downloaded(name, self._hub_cache, self._paths) or self._by_part(name)

    def names(self) -> Iterator[str]:
        """The names of all models on this disk."""
        for found in self._models:  # not a generator expression, which would look at once
            yield found.name

    @cached_property
    def _models(self) -> list[LocalModel]:
        return local_models(self._paths, self._environ)

    def _by_name(self, name: str) -> Path | None:
        """The model of exactly this name; as in Ollama, a missing tag means ``latest``."""
        for wanted in (name, f"{name}:latest"):
            for found in self._models:
                if found.name == wanted:
                    return found.path
        return None

    def _by_part(self, name: str) -> Path | None:
        wanted = name.casefold()
        matches = [found for found in self._models if _contains(found, wanted)]
        matches = self._language_models(matches) or matches
        if len({_identity(found.path) for found in matches}) > 1:
            names = listed([single_line(found.name, 100) for found in matches], LISTED)
            shown = single_line(name, 80)
            raise ModelNotFound(
                tr("{shown!r} could mean several models", shown=shown),
                tr("name one: {names}", names=names),
            )
        return matches[0].path if matches else None

    def _language_models(self, matches: list[LocalModel]) -> list[LocalModel]:
        """The language models among them: a projector beside its model is not ambiguous."""
        from tchat.models.metadata import MetadataCache

        def can_chat(path: Path) -> bool:
            try:
                return not metadata_cache.metadata(path).refusal
            except ModelError:
                return False

        if len(matches) < 2:
            return matches
        with MetadataCache(self._paths) as metadata_cache:
            return [found for found in matches if can_chat(found.path)]


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


def require_alias(name: str) -> None:
    """Raise UsageError unless ``name`` can be an alias.

    Raises:
        UsageError: It means something else already, or is hard to type.
    """
    if not ALIAS_NAME.fullmatch(name) or name == STARTER or has_gguf_ending(name):
        raise UsageError(
            tr("`{name}` cannot be an alias", name=name),
            tr("take letters, digits and . _ - : but no slash, and not the name of a file"),
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
        if found := find_entry(each, paths):
            return found[1]
    shown = single_line(name, 80)
    if sizes := sizes_of(name, paths):
        raise ModelNotFound(
            tr("{shown} comes in several sizes: {sizes}", shown=shown, sizes=", ".join(sizes)),
            _catalogue(),
        )
    near = similar_in_catalogue(name, paths)
    raise ModelNotFound(
        tr("{shown!r} is neither a name on the hub nor in the catalogue", shown=shown),
        tr("did you mean {names}?", names=tr(" or ").join(near))
        if near
        else tr(
            "name a model as user/repo or user/repo:QUANT; `tchat models search WORDS` finds some, "
            "`tchat models catalogue` tells which fit this machine"
        ),
    )


def _catalogue() -> ErrorHint:
    return ErrorHint(
        tr("`tchat models catalogue` tells which fit this machine"),
        tr("{models} tells which fit this machine", models=MODELS),
    )
