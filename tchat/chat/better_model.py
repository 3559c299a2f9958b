"""A better model than the starter: the best one of the catalogue for this machine, in words."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tchat.chat.machine import known_machine, measured_machine
from tchat.humanize import rate_text, size_text
from tchat.models.hub.repository import quantization_in
from tchat.models.metadata import MetadataCache
from tchat.models.recommendation import best_to_pull
from tchat.models.sources.starter import STARTER, STARTER_TITLE
from tchat.paths import Paths
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.models.recommendation import Recommendation


@dataclass(frozen=True, slots=True)
class BetterModel:
    """The best model of the catalogue for this machine.

    Attributes:
        name: Its short name: ``qwen3.5:4b``.
        quantization: The one that is best here.
        size: Bytes of its file.
        speed: Expected decode speed in tokens per second; 0 when unknown.
    """

    name: str
    quantization: str
    size: int
    speed: float

    @property
    def full_name(self) -> str:
        """What is pulled: ``qwen3.5:4b:Q4_K_M``."""
        return f"{self.name}:{self.quantization}"

    @property
    def words(self) -> str:
        """For example ``qwen3.5:4b Q4_K_M, 2.7 GB, about 9 tok/s``."""
        text = N_("{name} {quantization}, {size}")
        if self.speed:
            text = N_("{name} {quantization}, {size}, about {speed}")
        return tr(
            text,
            name=self.name,
            quantization=self.quantization,
            size=size_text(self.size),
            speed=rate_text(self.speed),
        )

    @property
    def suggestion(self) -> str:
        """What is said beside the starter model."""
        return tr(
            "{starter} is a demonstration model. Best here: {model}.",
            starter=STARTER_TITLE.replace(" ", "-"),
            model=self.words,
        )


def better_model(
    paths: Paths,
    environ: Mapping[str, str] = os.environ,
    purpose: str = "chat",
    *,
    measure: bool = True,
) -> BetterModel | None:
    """The best model for a purpose, of `tchat.models.recommendation.PURPOSES`; None where none is.

    With ``measure`` the machine is measured where that was not done lately, for some tenths of a
    second; without it there is none as long as the speed of the machine is not known.
    """
    with MetadataCache(paths) as cache:
        machine = measured_machine(paths) if measure else known_machine(cache)
        if not machine.speed and not machine.gpus:
            return None
        best = best_to_pull(machine, cache, paths, purpose, environ)
    return None if best is None or best.entry.starter else _described(best)


def has_only_starter(paths: Paths, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the starter is the only model that the user has."""
    from tchat.models.sources.registry import local_models

    return all(each.name == STARTER for each in local_models(paths, environ, own_only=True))


def _described(best: Recommendation) -> BetterModel:
    quantization = best.file.quantization
    if best.path is not None:  # as the hub names it
        quantization = quantization_in(best.path.name) or quantization
    return BetterModel(best.entry.name, quantization, best.file.size, best.speed)
