"""Resolve the name of a model to its file; every model name goes through here.

The starter and paths cost a ``stat``; only other names import `tchat.models.name_lookup`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tchat.errors import MODELS, ErrorHint, ModelError, ModelNotFound, UsageError
from tchat.models.files import file_key, has_gguf_ending
from tchat.models.sources.starter import STARTER, STARTER_TITLE, starter_file
from tchat.paths import Paths, expanded
from tchat.sanitize import single_line
from tchat.settings import Settings, load
from tchat.translation import N_, tr

OTHER_DEFAULT = N_("it is the default model, choose another: tchat models default {starter}")


def resolve(name: str, paths: Paths, environ: Mapping[str, str] = os.environ) -> Path:
    """The file of the model called ``name``.

    It is the starter, a path, an alias, or what `NameLookup.find` finds.

    Raises:
        ModelNotFound: Nothing has the name, several have, or the file is not there.
        ModelInvalid: The name leads to a folder, a FIFO, or anything else than a file.
        UsageError: models.toml is broken.
    """
    if (path := _starter_or_path(name)) is not None:
        return path
    from tchat.models.hub.repository import ModelNotDownloaded
    from tchat.models.models_file import aliases
    from tchat.models.name_lookup import NameLookup

    def find(wanted: str, others: Iterable[str] = ()) -> Path:
        found = lookup.find(wanted)
        known = (name for names in (_suggestions(wanted), others, lookup.names()) for name in names)
        if found is None:
            raise _unknown(wanted, known, paths)
        return _existing(found, wanted, known)

    lookup, known_aliases = NameLookup(paths, environ), aliases(paths)
    target = known_aliases.get(name)
    if target is None:
        return find(name, known_aliases)
    try:
        return _starter_or_path(target) or find(target)
    except ModelNotDownloaded as error:
        raise ModelNotDownloaded(name, error.remote) from error
    except ModelError as error:
        message = tr(
            "the alias {name} cannot be resolved: {reason}",
            name=single_line(name, 40),
            reason=error.message,
        )
        raise ModelNotFound(message, error.hint) from error


def resolve_chosen(
    settings: Settings, paths: Paths, environ: Mapping[str, str] = os.environ
) -> Path:
    """The file of the model of ``settings``; see `resolve`.

    Raises:
        ModelNotFound: As `resolve`; for the configured default, says how to choose another.
        ModelInvalid, UsageError: As `resolve`.
        UsageError: The model is on a server.
    """
    if settings.server:
        raise UsageError(
            tr("{name} is on a server and has no file here", name=single_line(settings.model, 80)),
            tr("name a model in this process: -m MODEL"),
        )
    try:
        return resolve(settings.model, paths, environ)
    except ModelNotFound as error:
        if "model" not in settings.fixed and settings.model == load(paths, {}).settings.model:
            error.hint = "; ".join(filter(None, (error.hint, tr(OTHER_DEFAULT, starter=STARTER))))
        raise


def _starter_or_path(name: str) -> Path | None:
    """The file of the starter, or at a path; None when ``name`` is neither."""
    if not name or "\0" in name:
        raise _unknown(name, (), None)
    path = starter_file() if name in (STARTER, STARTER_TITLE) else expanded(name)
    # A folder may happen to have the name of a model.
    is_there = os.path.lexists(path) and not os.path.isdir(path)  # noqa: PTH112
    return _existing(path, name, _suggestions(name)) if is_there or _is_path(name) else None


def _suggestions(name: str) -> Iterator[str]:
    """The starter, and the GGUF files in the folder of a path."""
    yield STARTER
    prefix = name[: len(name) - len(os.path.basename(name))]  # noqa: PTH119
    try:
        for file in expanded(name).parent.iterdir():
            if has_gguf_ending(file.name) and file.is_file():
                yield prefix + file.name
    except OSError:
        return


def _existing(path: Path, name: str, known: Iterable[str]) -> Path:
    try:
        file_key(path)
    except ModelNotFound as error:
        near = [] if os.path.islink(path) else _nearest(name, known)  # noqa: PTH114
        raise ModelNotFound(error.message, _did_you_mean(near) if near else error.hint) from error
    return path


def _unknown(name: str, known: Iterable[str], paths: Paths | None) -> ModelNotFound:
    from tchat.models.catalogue import similar_in_catalogue, sizes_of
    from tchat.models.hub.repository import pull_hint

    hint: str = ErrorHint(
        tr("`tchat models ls --all` lists what there is, `tchat models catalogue` what to pull"),
        tr("{models} lists what there is and what to pull", models=MODELS),
    )
    if near := [] if sizes_of(name, paths) else _nearest(name, known):
        hint = _did_you_mean(near)
    elif remote := similar_in_catalogue(name, paths):
        hint = pull_hint(*remote)
    return ModelNotFound(tr("no model is called {name!r}", name=name[:80]), hint)


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    from difflib import get_close_matches

    folded = {each.casefold(): each for each in known}
    near = get_close_matches(name.casefold(), list(folded), n=3, cutoff=0.6)
    return [single_line(folded[each], 100) for each in near]


def _did_you_mean(names: list[str]) -> str:
    return tr("did you mean {names}?", names=tr(" or ").join(names))


def _is_path(name: str) -> bool:
    """Whether it is written as a path, whether there is a file or not."""
    if name.startswith((".", "~", "/")) or (os.sep != "/" and os.sep in name):
        return True
    return has_gguf_ending(name) and ":" not in name
