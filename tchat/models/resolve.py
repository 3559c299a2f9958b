"""Resolve the name of a model to its file; every model name goes through here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.errors import ModelNotFound
from tchat.models.files import file_key, has_gguf_ending
from tchat.models.sources.starter import STARTER, starter_file
from tchat.paths import Paths, expanded
from tchat.sanitize import single_line
from tchat.settings import Settings, load

if TYPE_CHECKING:
    from tchat.models.name_lookup import NameLookup

OTHER_DEFAULT = f"it is the default model, choose another: tchat models default {STARTER}"


class StarterLookup:
    """The name of the starter model."""

    def find(self, name: str) -> Path | None:
        """The package's file.

        Raises:
            ModelNotFound: The package is not installed.
        """
        return starter_file() if name == STARTER else None

    def suggestions(self, near: str) -> Iterable[str]:  # noqa: ARG002
        """Its one name."""
        return (STARTER,)


class PathLookup:
    """Paths; ``~`` is the home folder."""

    def find(self, name: str) -> Path | None:
        """The path, when a file is there or the name is written as a path."""
        path = expanded(name)
        if _is_written_as_path(name):
            return path
        # A folder may happen to have the name of a model.
        return path if os.path.lexists(path) and not os.path.isdir(path) else None  # noqa: PTH112

    def suggestions(self, near: str) -> Iterable[str]:
        """GGUF files in the folder of the path."""
        folder = expanded(near).parent
        prefix = near[: len(near) - len(os.path.basename(near))]  # noqa: PTH119
        try:
            return [
                prefix + file.name
                for file in folder.iterdir()
                if has_gguf_ending(file.name) and file.is_file()
            ]
        except OSError:
            return ()


def resolve(name: str, paths: Paths, environ: Mapping[str, str] = os.environ) -> Path:
    """The file of the model called ``name``, in the order of `name_lookups`.

    Raises:
        ModelNotFound: Nothing has the name, several have, or the file is not there.
        ModelInvalid: The name leads to a folder, a FIFO, or anything else than a file.
        UsageError: models.toml is broken.
    """
    return find_first(name, name_lookups(paths, environ))


def resolve_chosen(
    settings: Settings, paths: Paths, environ: Mapping[str, str] = os.environ
) -> Path:
    """The file of the model of ``settings``; see `resolve`.

    Raises:
        ModelNotFound: As `resolve`; for the configured default, says how to choose another.
        ModelInvalid, UsageError: As `resolve`.
    """
    try:
        return resolve(settings.model, paths, environ)
    except ModelNotFound as error:
        if "model" not in settings.fixed and settings.model == load(paths, {}).settings.model:
            error.hint = "; ".join(filter(None, (error.hint, OTHER_DEFAULT)))
        raise


def name_lookups(paths: Paths, environ: Mapping[str, str] = os.environ) -> Iterator[NameLookup]:
    """The lookups in the order in which they are asked.

    The starter and paths cost a ``stat``; only other names import the rest.
    """
    light = (StarterLookup(), PathLookup())
    yield from light
    from tchat.models.name_lookup import AliasLookup, other_lookups

    others = other_lookups(paths, environ)
    yield AliasLookup(paths, lambda target: find_first(target, (*light, *others)))
    yield from others


def find_first(name: str, asked: Iterable[NameLookup]) -> Path:
    """The file of ``name`` by the first lookup that knows the name.

    Raises:
        ModelNotFound: No lookup knows the name, or its file is not there.
        ModelInvalid: The name leads to something that is not a file.
    """
    seen: list[NameLookup] = []
    for lookup in asked if name and "\0" not in name else ():
        seen.append(lookup)
        path = lookup.find(name)
        if path is not None:
            return _existing(path, name, seen)
    raise ModelNotFound(f"no model is called {name[:80]!r}", _suggestion(name, seen))


def _existing(path: Path, name: str, seen: Sequence[NameLookup]) -> Path:
    try:
        file_key(path)
    except ModelNotFound as error:
        near = [] if os.path.islink(path) else _nearest(name, seen)  # noqa: PTH114
        raise ModelNotFound(error.message, _did_you_mean(near) if near else error.hint) from error
    return path


def _suggestion(name: str, seen: Sequence[NameLookup]) -> str:
    from tchat.models.catalogue import similar_in_catalogue, sizes_of
    from tchat.models.hub.repository import pull_hint

    near = [] if sizes_of(name) else _nearest(name, seen)
    if near:
        return _did_you_mean(near)
    remote = similar_in_catalogue(name)
    if remote:
        return pull_hint(*remote)
    return "`tchat models ls --all` lists what there is, `tchat models catalogue` what to pull"


def _nearest(name: str, seen: Sequence[NameLookup]) -> list[str]:
    from difflib import get_close_matches

    known = {each.casefold(): each for lookup in seen for each in lookup.suggestions(name)}
    near = get_close_matches(name.casefold(), list(known), n=3, cutoff=0.6)
    return [single_line(known[each], 100) for each in near]


def _did_you_mean(names: list[str]) -> str:
    return f"did you mean {' or '.join(names)}?"


def _is_written_as_path(name: str) -> bool:
    if name.startswith((".", "~", "/")) or (os.sep != "/" and os.sep in name):
        return True
    return has_gguf_ending(name) and ":" not in name
