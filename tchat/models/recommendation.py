"""How the models of the catalogue run on this machine, and which is the best for a purpose."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tchat.errors import ModelError
from tchat.models.catalogue import downloaded, load_catalogue
from tchat.models.catalogue_entry import CatalogueEntry, QuantizedFile
from tchat.models.fit_report import FitVerdict, assess_fit, default_plan, expected_speed
from tchat.models.memory import Machine, ModelDimensions
from tchat.models.quantization_choice import COMFORTABLE, choose_quantization, is_rough
from tchat.models.sources.hub_cache import HubCacheSource
from tchat.models.sources.starter import STARTER, is_starter
from tchat.paths import Paths

if TYPE_CHECKING:
    from tchat.models.metadata import MetadataCache

READABLE = 5.0  # tokens per second: a slower model is not recommended
PURPOSES = ("chat", "code", "vision", "reasoning", "tools")  # what a best model can be asked for
FIRST_YEAR = 2024
EACH_YEAR = 2.0  # times as many weights would do what those of the next year do
MOST_BEST = 4  # models that are recommended at once


@dataclass(frozen=True, slots=True)
class Recommendation:
    """How a model of the catalogue runs on a machine.

    Attributes:
        file: The quantization on this disk, else the best for the machine, with its size.
        speed: Decode speed with a short context in tokens per second; 0 when unknown.
        is_measured: Whether the speed was measured in use.
        path: Its file; None when it is not on this disk.
    """

    entry: CatalogueEntry
    file: QuantizedFile
    fit: FitVerdict
    speed: float
    is_measured: bool = False
    path: Path | None = None

    @property
    def name(self) -> str:
        """Its short name; that of the starter model where this is its file."""
        return STARTER if self.path is not None and is_starter(self.path) else self.entry.name


class BestModel(NamedTuple):
    """A model that is the best on a machine, and for which of `PURPOSES`."""

    offer: Recommendation
    purposes: tuple[str, ...]


def recommend(
    machine: Machine,
    metadata_cache: MetadataCache,
    paths: Paths,
    environ: Mapping[str, str] = os.environ,
    max_size: int = 0,
) -> list[Recommendation]:
    """All models of the catalogue, the smallest first.

    With ``max_size``, those with a file of at most so many bytes, and the best of these files.

    Raises:
        UsageError, StorageError: The user's catalogue is broken, or cannot be read.
    """
    hub_cache = HubCacheSource(paths, environ)
    found = (
        _downloaded(entry, hub_cache, machine, metadata_cache, paths)
        or _not_downloaded(entry, machine, max_size)
        for entry in load_catalogue(paths).values()
    )
    return [each for each in found if each and (not max_size or each.file.size <= max_size)]


def best_for(models: Iterable[Recommendation], purpose: str = "chat") -> Recommendation | None:
    """The best model for ``purpose`` that fits well and can be read along; None where none is.

    Newer models and larger ones are better; below the comfortable speed, a slower model is worse by
    the square of its speed. Where no speed is known, the fit decides. Of two that are alike, one on
    this disk is better, then the first.
    """
    able = [each for each in models if each.fit.good and purpose in each.entry.abilities]
    readable = [each for each in able if not each.speed or each.speed >= READABLE]
    return max(readable, key=_rank, default=None)


def _rank(offer: Recommendation) -> tuple[float, bool]:
    haste = min(1.0, offer.speed / COMFORTABLE) ** 2 if offer.speed else 1.0
    return _merit(offer.entry) * haste, offer.path is not None


def best_to_pull(
    machine: Machine,
    metadata_cache: MetadataCache,
    paths: Paths,
    purpose: str = "chat",
    environ: Mapping[str, str] = os.environ,
) -> Recommendation | None:
    """As `best_by_purpose`, of the whole catalogue for one purpose.

    Raises:
        UsageError, StorageError: The user's catalogue is broken, or cannot be read.
    """
    models = recommend(machine, metadata_cache, paths, environ)
    return best_for(_not_rough(models), purpose)


def best_by_purpose(models: Sequence[Recommendation]) -> list[BestModel]:
    """The best models for `PURPOSES`, at most `MOST_BEST`; none is named twice.

    A rough quantization is recommended only where it is on this disk.
    """
    choices = _not_rough(models)
    purposes: dict[str, list[str]] = {}
    found: dict[str, Recommendation] = {}
    for purpose in PURPOSES:
        best = best_for(choices, purpose)
        if best is not None and (best.entry.name in found or len(found) < MOST_BEST):
            found[best.entry.name] = best
            purposes.setdefault(best.entry.name, []).append(purpose)
    return [BestModel(best, tuple(purposes[name])) for name, best in found.items()]


def _not_rough(models: Iterable[Recommendation]) -> list[Recommendation]:
    return [each for each in models if each.path or not is_rough(each.file.quantization)]


def _merit(entry: CatalogueEntry) -> float:
    """How good its replies are likely to be, as a number of weights of the first year.

    A mixture of experts counts as the geometric mean of all its weights and the active ones; tables
    that are only looked up count nothing.
    """
    table = entry.hparams.lookup
    weights = math.sqrt((entry.parameters - table) * (entry.active - table))
    return weights * EACH_YEAR ** max(entry.year - FIRST_YEAR, 0)


def _downloaded(
    entry: CatalogueEntry,
    hub_cache: HubCacheSource,
    machine: Machine,
    metadata_cache: MetadataCache,
    paths: Paths,
) -> Recommendation | None:
    try:
        path = downloaded(entry.name, hub_cache, paths)
        metadata = metadata_cache.metadata(path) if path else None
    except ModelError:
        return None
    if metadata is None:
        return None
    fit, speed = _assess(metadata.dimensions, metadata.context_length, machine)
    measured = metadata_cache.speed(metadata)
    file = QuantizedFile(metadata.quantization, metadata.size)
    return Recommendation(entry, file, fit, measured or speed, measured > 0, path)


def _not_downloaded(
    entry: CatalogueEntry, machine: Machine, max_size: int
) -> Recommendation | None:
    files = [file for file in entry.files if not max_size or file.size <= max_size]
    if not files:
        return None
    dimensions = entry.dimensions(files[0].quantization)
    best, _ = choose_quantization(files, dimensions, files[0], entry.context, machine)
    return Recommendation(
        entry, best, *_assess(entry.dimensions(best.quantization), entry.context, machine)
    )


def _assess(
    dimensions: ModelDimensions, context: int, machine: Machine
) -> tuple[FitVerdict, float]:
    plan = default_plan(dimensions, context, machine)
    return assess_fit(dimensions, context, machine), expected_speed(dimensions, plan, machine)
