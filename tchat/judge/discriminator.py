"""A trained head with its provenance, as a file: NumPy's npz without pickles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy

from tchat.errors import UsageError
from tchat.judge.features import SCALAR_FEATURES
from tchat.judge.linear_head import HeldOutQuality, LinearHead
from tchat.judge.logistic_regression import LinearModel, PlattScaling
from tchat.judge.npz import read_arrays, write_arrays
from tchat.sanitize import single_line

FORMAT = 1
LATEST = 1e11  # seconds since the epoch: the year 5138, before which every calendar works
HUMAN, READING, PREFERENCE = "human", "reading", "preference"
_ARRAYS = ("center", "spread", "weights")


@dataclass(frozen=True, slots=True)
class TrainingProvenance:
    """Where a head comes from.

    Args:
        model: File name of the generator.
        fingerprint: Of its content; a head fits no other model.
        data: SHA-256 of the examples.
        examples: Of the one kind and of the other.
        quality: On examples that training never saw; None when there were too few to tell.
        layers: The held-out AUC of each layer.
        created_at: Seconds since the epoch.
        accuracy: Of a head of the user's preferences: the share of held-out choices that it gets
            right; None when there were too few to tell.
        kind: `HUMAN`, whose layer comes with the writing of a reply; `READING`, the same of the
            layer that tells best, for texts that are read; or `PREFERENCE`.
    """

    model: str
    fingerprint: str
    data: str
    examples: tuple[int, int]
    quality: HeldOutQuality | None
    layers: dict[int, float]
    created_at: float
    accuracy: float | None = None
    kind: str = HUMAN


@dataclass(frozen=True, slots=True)
class Discriminator:
    """A head and its provenance."""

    head: LinearHead
    provenance: TrainingProvenance


def save(discriminator: Discriminator, path: Path) -> None:
    """Write the file whole or not at all, for the user's eyes only."""
    head = discriminator.head
    facts = {
        "format": FORMAT,
        "layer": head.layer,
        "bias": head.line.bias,
        "slope": head.calibration.slope,
        "offset": head.calibration.offset,
        **asdict(discriminator.provenance),
    }
    arrays = {"center": head.center, "spread": head.spread, "weights": head.line.weights}
    write_arrays(path, facts, arrays)


def load(path: Path) -> Discriminator | None:
    """Read a file of `save`; None when there is none.

    Raises:
        UsageError: The file is damaged, or not one of ours.
    """
    try:
        return _discriminator(*read_arrays(path))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise UsageError(
            f"{single_line(path.name)} is no discriminator of tchat, or damaged",
            "train it anew: tchat judge train",
        ) from error


def _discriminator(facts: dict[str, Any], arrays: Mapping[str, Any]) -> Discriminator:
    center, spread, weights = (numpy.asarray(arrays[name], numpy.float64) for name in _ARRAYS)
    if not (center.ndim == 1 and center.shape == spread.shape == weights.shape):
        raise ValueError("shapes differ")
    if len(center) <= len(SCALAR_FEATURES) or not all(
        numpy.isfinite(each).all() for each in (center, spread, weights)
    ):
        raise ValueError("no numbers")
    if not (spread > 0).all():
        raise ValueError("no spread")
    if facts["format"] != FORMAT or facts["kind"] not in (HUMAN, READING, PREFERENCE):
        raise ValueError("unknown format")
    head = LinearHead(
        int(facts["layer"]),
        center,
        spread,
        LinearModel(weights, _finite(facts["bias"])),
        PlattScaling(_finite(facts["slope"]), _finite(facts["offset"])),
    )
    return Discriminator(head, _provenance(facts))


def _provenance(facts: Mapping[str, Any]) -> TrainingProvenance:
    yes, no = facts["examples"]
    created_at = _finite(facts["created_at"])
    if not 0 <= created_at < LATEST:
        raise ValueError("no time")
    return TrainingProvenance(
        model=str(facts["model"]),
        fingerprint=str(facts["fingerprint"]),
        data=str(facts["data"]),
        examples=(int(yes), int(no)),
        quality=None if facts["quality"] is None else _quality(**facts["quality"]),
        layers={int(layer): _finite(value) for layer, value in facts["layers"].items()},
        created_at=created_at,
        accuracy=None if facts["accuracy"] is None else _finite(facts["accuracy"]),
        kind=str(facts["kind"]),
    )


def _quality(auc: Any, calibration_error: Any, positive: Any, negative: Any) -> HeldOutQuality:
    return HeldOutQuality(_finite(auc), _finite(calibration_error), int(positive), int(negative))


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("no number")
    return number
