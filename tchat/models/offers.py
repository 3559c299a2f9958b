"""How the models of the catalogue would do on a machine, or do on this one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tchat.errors import ModelError
from tchat.models.absent import Catalogued
from tchat.models.catalogue import Entry, Quantized, catalogue
from tchat.models.fit import Machine
from tchat.models.fit_report import Fit, expected_speed, judge, usual_plan
from tchat.models.hub_shelf import HubShelf
from tchat.models.quantization import choose_quantization
from tchat.models.shape import Shape
from tchat.models.store import ModelStore


@dataclass(frozen=True, slots=True)
class Offer:
    """A model of the catalogue on a machine.

    Attributes:
        entry: The model.
        file: The quantization that is here, else the best for the machine, and its bytes.
        fit: How well it fits.
        speed: Tokens a second, with a short context; 0 when not known.
        known: Whether the speed was measured while the model was in use.
        path: Its file; None when it is not on this disk.
    """

    entry: Entry
    file: Quantized
    fit: Fit
    speed: float
    known: bool = False
    path: Path | None = None


def offers(
    machine: Machine, store: ModelStore, environ: Mapping[str, str] = os.environ
) -> list[Offer]:
    """All models of the catalogue, the smallest first.

    Args:
        machine: That they are judged for.
        store: Knows the files that are here.
        environ: Tells where the hub's cache is.
    """
    source = Catalogued(HubShelf(environ))
    return [
        _here(entry, source, machine, store) or _elsewhere(entry, machine)
        for entry in catalogue().values()
    ]


def _here(entry: Entry, source: Catalogued, machine: Machine, store: ModelStore) -> Offer | None:
    try:
        path = source.find(entry.name)
        facts = store.facts(path) if path else None
    except ModelError:
        return None
    if facts is None:
        return None
    fit, speed = _judged(facts.shape, facts.context_length, machine)
    known = store.speed(facts)
    file = Quantized(facts.quantization, facts.size)
    return Offer(entry, file, fit, known or speed, known > 0, path)


def _elsewhere(entry: Entry, machine: Machine) -> Offer:
    files = entry.files
    shape = entry.shape(files[0].quantization)
    best, _ = choose_quantization(files, shape, files[0], entry.context, machine)
    return Offer(entry, best, *_judged(entry.shape(best.quantization), entry.context, machine))


def _judged(shape: Shape, context: int, machine: Machine) -> tuple[Fit, float]:
    plan = usual_plan(shape, context, machine)
    return judge(shape, context, machine), expected_speed(shape, plan, machine)
