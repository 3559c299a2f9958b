"""The models of the catalogue on a machine: which quantization, how it fits, how fast."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tchat.errors import ModelError
from tchat.models.catalogue import CatalogueEntry, QuantizedFile, load_catalogue
from tchat.models.fit_report import (
    FitVerdict,
    assess_fit,
    choose_quantization,
    default_plan,
    expected_speed,
)
from tchat.models.memory import Machine, ModelDimensions
from tchat.models.metadata_cache import MetadataCache
from tchat.models.name_lookup import CatalogueLookup
from tchat.models.sources.hub_cache import HubCacheSource
from tchat.paths import Paths


@dataclass(frozen=True, slots=True)
class Recommendation:
    """How a model of the catalogue runs on a machine.

    Attributes:
        entry: The model.
        file: The quantization on this disk, else the best for the machine, with its size.
        fit: Whether it fits.
        speed: Decode speed with a short context in tokens per second; 0 when unknown.
        known: Whether the speed was measured in use.
        path: Its file; None when it is not on this disk.
    """

    entry: CatalogueEntry
    file: QuantizedFile
    fit: FitVerdict
    speed: float
    known: bool = False
    path: Path | None = None


def recommend(
    machine: Machine,
    store: MetadataCache,
    paths: Paths,
    environ: Mapping[str, str] = os.environ,
) -> list[Recommendation]:
    """All models of the catalogue, the smallest first.

    Args:
        machine: The machine.
        store: Knows the files on this disk.
        paths: The user's folders.
        environ: Tells where the hub's cache is.
    """
    source = CatalogueLookup(HubCacheSource(paths, environ))
    return [
        _downloaded(entry, source, machine, store) or _not_downloaded(entry, machine)
        for entry in load_catalogue().values()
    ]


def _downloaded(
    entry: CatalogueEntry, source: CatalogueLookup, machine: Machine, store: MetadataCache
) -> Recommendation | None:
    try:
        path = source.find(entry.name)
        metadata = store.metadata(path) if path else None
    except ModelError:
        return None
    if metadata is None:
        return None
    fit, speed = _judged(metadata.dimensions, metadata.context_length, machine)
    known = store.speed(metadata)
    file = QuantizedFile(metadata.quantization, metadata.size)
    return Recommendation(entry, file, fit, known or speed, known > 0, path)


def _not_downloaded(entry: CatalogueEntry, machine: Machine) -> Recommendation:
    files = entry.files
    dimensions = entry.dimensions(files[0].quantization)
    best, _ = choose_quantization(files, dimensions, files[0], entry.context, machine)
    return Recommendation(
        entry, best, *_judged(entry.dimensions(best.quantization), entry.context, machine)
    )


def _judged(
    dimensions: ModelDimensions, context: int, machine: Machine
) -> tuple[FitVerdict, float]:
    plan = default_plan(dimensions, context, machine)
    return assess_fit(dimensions, context, machine), expected_speed(dimensions, plan, machine)
