"""The sampling that a model itself recommends, and what a user set for it.

Later places win::

    default < the GGUF file (general.sampling.*) < the catalogue < config.toml < models.toml
            < session < environment and flags

What a file says is untrusted: a value of the wrong type or out of bounds is left out, with a note.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from tchat.errors import UsageError
from tchat.models.models_file import model_settings
from tchat.models.sources.starter import STARTER
from tchat.sanitize import single_line
from tchat.settings import Settings, Value, keys
from tchat.settings.keys import FOREIGN_NAMES, check
from tchat.settings.schema import CATALOGUE, CONFIG_FILE, MODEL_FILE, MODELS_FILE
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.models.catalogue_entry import CatalogueEntry
    from tchat.models.metadata import ModelMetadata
    from tchat.paths import Paths

PREFIX = "general.sampling."
# llama.cpp's `common_init_sampler_from_model` reads these.
GGUF_NAMES = MappingProxyType(
    {
        "sequence": "samplers",
        "temp": "temp",
        "top_k": "top_k",
        "top_p": "top_p",
        "min_p": "min_p",
        "xtc_probability": "xtc_probability",
        "xtc_threshold": "xtc_threshold",
        "penalty_last_n": "repeat_last_n",
        "penalty_repeat": "repeat_penalty",
        "mirostat": "mirostat",
        "mirostat_tau": "mirostat_tau",
        "mirostat_eta": "mirostat_eta",
    }
)
DIGITS = 6  # of a 32-bit float that are right in decimal


class OwnSampling(NamedTuple):
    """Sampling that a model brings: values by the names of settings, and a note for each misfit."""

    values: Mapping[str, Value]
    notes: tuple[str, ...] = ()


def file_sampling(pairs: Iterable[tuple[str, bool | int | float | str]]) -> OwnSampling:
    """What a GGUF file recommends: ``general.sampling.*``, by the rest of the key."""
    values: dict[str, Value] = {}
    notes = []
    for written, value in pairs:
        if (name := GGUF_NAMES.get(written)) is None:
            continue
        try:
            values[name] = check(keys()[name], _of_type(name, value), "")
        except UsageError as error:
            notes.append(
                tr(
                    "the model file's `{key}` is not used: {reason}",
                    key=PREFIX + written,
                    reason=single_line(error.message, 160),
                )
            )
    return OwnSampling(values, tuple(notes))


def _of_type(name: str, value: Value) -> Value:
    """``value`` as tchat writes it: whole numbers, 0 for "all", floats without noise."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if name == "top_k" and value < 0:  # as 0 in llama.cpp
        return 0
    if keys()[name].kind is int:
        return int(value) if value == value // 1 else value  # NaN and infinity stay
    return float(f"{value:.{DIGITS}g}")


def catalogue_sampling(name: str, path: Path, paths: Paths | None = None) -> Mapping[str, Value]:
    """What the catalogue recommends for the model called ``name`` with the file ``path``.

    Raises:
        UsageError: The user's catalogue recommends what is no value.
    """
    entry = _entry(name, path, paths)
    if entry is None:
        return {}
    named = {FOREIGN_NAMES.get(key, key): value for key, value in entry.sampling.items()}
    known = {
        key: value for key, value in named.items() if key in keys() and keys()[key].is_sampling
    }
    return {key: check(keys()[key], value, entry.name) for key, value in known.items()}


def _entry(name: str, path: Path, paths: Paths | None) -> CatalogueEntry | None:
    """The entry by its name, or by the repository that the file is from or is named after.

    The starter has tchat's defaults.
    """
    if name == STARTER:
        return None
    from tchat.models.catalogue import entry_of_file, find_entry, load_catalogue
    from tchat.models.hub.repository import base_name

    if found := find_entry(name, paths):
        return found[0]
    if entry := entry_of_file(path, paths):
        return entry
    stem, known = base_name(path.name), load_catalogue(paths).values()
    return next((each for each in known if _model_of(each.repo) == stem), None)


def _model_of(repo: str) -> str:
    """The name of the model in a repository's name, in lower case."""
    return repo.rpartition("/")[2].lower().removesuffix("-gguf")


def own_sampling(
    pairs: Iterable[tuple[str, bool | int | float | str]],
    name: str,
    path: Path,
    paths: Paths | None = None,
) -> dict[str, tuple[Value, str]]:
    """What the model called ``name`` recommends: by setting, the value and where it is from."""
    layers = (
        (file_sampling(pairs).values, MODEL_FILE),
        (catalogue_sampling(name, path, paths), CATALOGUE),
    )
    return {key: (value, origin) for values, origin in layers for key, value in values.items()}


def with_model_sampling(settings: Settings, paths: Paths, metadata: ModelMetadata) -> Settings:
    """``settings`` with the sampling of a model where nothing that wins over it names another.

    ``origins`` of the result say where each value comes from.

    Raises:
        UsageError: ``models.toml`` holds what is no setting for models.
    """
    given = settings.origins
    own = own_sampling(metadata.sampling, settings.model, metadata.path, paths)
    found = {name: each for name, each in own.items() if name not in given}
    for name, value in model_settings(settings, paths, metadata.path).items():
        if keys()[name].is_sampling and given.get(name, CONFIG_FILE) == CONFIG_FILE:
            found[name] = value, MODELS_FILE
    if not found:
        return settings
    sampling = replace(settings.sampling, **{name: value for name, (value, _) in found.items()})  # type: ignore[arg-type]  # checked by their keys
    origins = {**given, **{name: origin for name, (_, origin) in found.items()}}
    return replace(settings, sampling=sampling, origins=origins)
