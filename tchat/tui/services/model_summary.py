"""A model in a few words: its name, size and kind, and how fast it is on this machine."""

from __future__ import annotations

import re

from tchat.chat.machine import estimated_speed, known_machine, measured_machine
from tchat.humanize import rate_text, size_text
from tchat.models.metadata import MetadataCache, ModelMetadata
from tchat.paths import Paths
from tchat.translation import N_, tr
from tchat.tui.services.model_rows import model_label

KINDS = (  # by the number of weights, up to which each reaches
    (0.25e9, N_("demonstration model")),
    (1e9, N_("very small model")),
    (5e9, N_("small model")),
    (15e9, N_("medium-sized model")),
    (float("inf"), N_("large model")),
)
PACES = (  # by tokens per second, from which each begins
    (15.0, N_("fast here: {speed}")),
    (5.0, N_("reading speed here: {speed}")),
    (0.0, N_("slow here: {speed}")),
)
_TUNED = re.compile(r"[-_ ](?:instruct|chat|it)$", re.IGNORECASE)


def model_summary(metadata: ModelMetadata, paths: Paths, *, measure: bool = False) -> list[str]:
    """Facts about a model that is loaded, raw.

    For example ``SmolLM2 135M``, ``98 MB``, ``demonstration model``, ``fast here: ~54 tok/s``.

    Of a model on a server, its name. Without a reply of the model, its speed is estimated (``~``)
    from the memory bandwidth of the machine. With ``measure`` that is measured where it is not
    known, for some tenths of a second.
    """
    if not metadata.size:
        return [display_name(metadata), tr("on a server")]
    kind = next(kind for most, kind in KINDS if metadata.parameters < most)
    speed, mark = _speed(metadata, paths, measure)
    pace = tr("fits this machine")
    if speed:
        words = next(words for least, words in PACES if speed >= least)
        pace = tr(words, speed=f"{mark}{rate_text(speed)}")
    return [display_name(metadata), size_text(metadata.size), tr(kind), pace]


def display_name(metadata: ModelMetadata) -> str:
    """The name of the model without its quantization and tuning: ``SmolLM2 135M``. Raw."""
    if metadata.is_starter:
        return metadata.name
    return re.sub(r"[-_]", " ", _TUNED.sub("", model_label(metadata)))


def _speed(metadata: ModelMetadata, paths: Paths, measure: bool) -> tuple[float, str]:
    """Tokens per second, 0 if unknown, and a mark of what is estimated."""
    with MetadataCache(paths) as cache:
        if known := cache.speed(metadata):
            return known, ""
        machine = known_machine(cache)
    if not machine.speed:
        if not measure:
            return 0, ""
        machine = measured_machine(paths)
    return estimated_speed(metadata, machine), "~"
