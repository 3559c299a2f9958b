"""A trained head with its provenance, as a file: NumPy's npz without pickles."""

from __future__ import annotations

import hashlib
import math
import re
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
from tchat.models.metadata import ModelMetadata
from tchat.paths import Paths
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


_SAMPLES, _SAMPLE = 64, 64 << 10  # blocks of a file that are hashed, and their size in bytes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class JudgeFolder:
    """The folder of one model in the configuration directory; nothing is made by asking.

    Args:
        path: Where it is.
        fingerprint: Of the model.
    """

    path: Path
    fingerprint: str

    @property
    def human(self) -> Path:
        """The head that tells people's replies from the model's."""
        return self.path / "human.npz"

    @property
    def reading(self) -> Path:
        """The same for texts that are read: of the layer that tells best."""
        return self.path / "reading.npz"

    @property
    def preference(self) -> Path:
        """The head of what the user prefers."""
        return self.path / "preference.npz"

    @property
    def generations(self) -> Path:
        """Replies of the model that the head was trained on."""
        return self.path / "generations.jsonl"

    def game(self, name: str) -> Path:
        """The folder of a game.

        Raises:
            UsageError: That is no name.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"a game cannot be called {name[:40]!r}",
                "use up to 64 letters, digits, dots, dashes and underscores",
            )
        return self.path / "games" / name

    def vector(self, name: str) -> Path:
        """The control vector that a game came to."""
        return self.game(name) / f"{name}.gguf"

    def games(self) -> list[str]:
        """Names of the games that were begun; what else lies there is passed over."""
        folder = self.path / "games"
        found = folder.iterdir() if folder.is_dir() else ()
        return sorted(each.name for each in found if _NAME.fullmatch(each.name) and each.is_dir())


def judge_folder(facts: ModelMetadata, paths: Paths) -> JudgeFolder:
    """The folder of a model, by the content of its file.

    A copy elsewhere has the same, unless only one of both is named by its hash.
    """
    fingerprint = facts.sha256 or _sampled((facts.path, *facts.parts))
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", facts.path.stem).strip(".-")[:48] or "model"
    return JudgeFolder(paths.judge / f"{stem}-{fingerprint[:12]}", fingerprint)


def _sampled(files: tuple[Path, ...]) -> str:
    """A hash of the sizes and of blocks spread over the files: 4 MB of a file of any size."""
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(str(size).encode())
        with path.open("rb") as file:
            for index in range(_SAMPLES):
                file.seek(max(0, size - _SAMPLE) * index // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()
