"""The judge of one model on disk: its folder, and its trained heads with their provenance.

A head is an npz file of arrays and JSON metadata, written atomically. numpy reads and writes it,
without pickles; arrays are not compressed, so a file never unpacks to more than its own size.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import tokenize
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from tchat.encryption.stored_file import StoredFile
from tchat.errors import UsageError
from tchat.judge.features import SCALAR_FEATURES
from tchat.judge.linear_head import HeldOutQuality, LinearHead, LinearModel, PlattScaling
from tchat.models.metadata import ModelMetadata
from tchat.paths import Paths
from tchat.private_files import private_file, require_clear, writing
from tchat.sanitize import single_line
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption

PURPOSE = "judge"  # of encrypted files in its folder
FORMAT = 1
LATEST = 1e11  # seconds since the epoch: the year 5138, before which every calendar works
HUMAN, READING, PREFERENCE = "human", "reading", "preference"
_ARRAYS = ("center", "spread", "weights")


@dataclass(frozen=True, slots=True)
class TrainingProvenance:
    """How a head was trained."""

    model: str  # file name of the generator
    fingerprint: str  # hash of the model; a head fits no other model
    data: str  # SHA-256 of the examples
    examples: tuple[int, int]  # of each class
    quality: HeldOutQuality | None  # None with too few examples
    layers: dict[int, float]  # held-out AUC of each
    created_at: float  # seconds since the epoch
    # Of the preference model: share of held-out choices that it gets right; None with too few.
    accuracy: float | None = None
    # `HUMAN`, for replies as they are generated; `READING`, of the layer that tells best, for given
    # texts; or `PREFERENCE`.
    kind: str = HUMAN


@dataclass(frozen=True, slots=True)
class Discriminator:
    """A head and its provenance."""

    head: LinearHead
    provenance: TrainingProvenance


def save(discriminator: Discriminator, path: Path, encryption: Encryption | None = None) -> None:
    """Write the file atomically, with mode 0600."""
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
    write_arrays(path, facts, arrays, encryption)


def load(path: Path, encryption: Encryption | None = None) -> Discriminator | None:
    """Read a file written by `save`; None if there is none.

    Raises:
        UsageError: The file is damaged, or was not written by `save`.
        StorageError: It cannot be decrypted.
    """
    try:
        return _discriminator(*read_arrays(path, encryption))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise UsageError(
            tr("{name} is not a discriminator of tchat, or damaged", name=single_line(path.name)),
            tr("train it again: tchat judge train"),
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
    """The folder of one model in the configuration directory; it is created by writing into it."""

    path: Path
    fingerprint: str  # hash of the model
    encryption: Encryption | None = None  # of its files that hold words, or what was made of them

    @property
    def human(self) -> Path:
        """The discriminator for replies as they are generated."""
        return self.path / "human.npz"

    @property
    def reading(self) -> Path:
        """The discriminator for given texts: of the best layer."""
        return self.path / "reading.npz"

    @property
    def preference(self) -> Path:
        """The preference model."""
        return self.path / "preference.npz"

    @property
    def generations(self) -> Path:
        """The model's own replies for training."""
        return self.path / "generations.jsonl"

    def game(self, name: str) -> Path:
        """The folder of a game.

        Raises:
            UsageError: The name is not allowed.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                tr("a game cannot be called {name!r}", name=name[:40]),
                tr("use up to 64 letters, digits, dots, dashes and underscores"),
            )
        return self.path / "games" / name

    def vector(self, name: str) -> Path:
        """The control vector of a game."""
        return self.game(name) / f"{name}.gguf"

    def games(self) -> list[str]:
        """Names of the games that were started; ignores other files."""
        folder = self.path / "games"
        found = folder.iterdir() if folder.is_dir() else ()
        return sorted(each.name for each in found if _NAME.fullmatch(each.name) and each.is_dir())


def judge_folder(metadata: ModelMetadata, paths: Paths) -> JudgeFolder:
    """The folder of a model, by a hash of its file.

    A copy of the file has the same folder, unless only one of the two is named by its hash.
    """
    fingerprint = metadata.sha256 or _sampled((metadata.path, *metadata.parts))
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", metadata.path.stem).strip(".-")[:48] or "model"
    folder = paths.judge / f"{stem}-{fingerprint[:12]}"
    return JudgeFolder(folder, fingerprint, paths.encryption)


def _sampled(files: tuple[Path, ...]) -> str:
    """Hash the sizes and 64 blocks of the files: 4 MB of a file of any size."""
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(str(size).encode())
        with path.open("rb") as file:
            for index in range(_SAMPLES):
                file.seek(max(0, size - _SAMPLE) * index // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


_FACTS = "facts"
# What the readers of archives, of arrays and of JSON raise for damaged ones.
_FAILURES = (
    zipfile.BadZipFile,
    tokenize.TokenError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    RuntimeError,  # as well as NotImplementedError and RecursionError
    MemoryError,  # an array that says it is larger than the machine
)


def write_arrays(
    path: Path,
    facts: Mapping[str, Any],
    arrays: Mapping[str, Any],
    encryption: Encryption | None = None,
) -> None:
    """Write a file with mode 0600 in a private folder; ``facts`` become JSON.

    Raises:
        StorageError: It cannot be written; an existing file is unchanged.
    """
    encoded = numpy.frombuffer(json.dumps(facts).encode(), dtype=numpy.uint8)
    if encryption is not None:
        memory = io.BytesIO()
        numpy.savez(memory, allow_pickle=False, **arrays, **{_FACTS: encoded})
        StoredFile(path, encryption, PURPOSE).write(memory.getvalue())
        return
    require_clear(path)
    with whole(path) as partial, private_file(partial).open("wb") as file:
        numpy.savez(file, allow_pickle=False, **arrays, **{_FACTS: encoded})
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path that replaces ``path`` at the end of the block.

    Raises:
        StorageError: It cannot be written; an existing file is unchanged.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with writing(path):
            yield partial
            partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def read_arrays(path: Path, encryption: Encryption | None = None) -> tuple[Any, dict[str, Any]]:
    """Read the metadata, unchecked JSON, and the arrays of a file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not what `write_arrays` wrote.
        StorageError: It cannot be decrypted.
    """
    source: Path | io.BytesIO = path
    if encryption is not None:
        source = io.BytesIO(StoredFile(path, encryption, PURPOSE).read())
    try:
        with zipfile.ZipFile(source) as archive:
            if any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist()):
                raise ValueError("compressed")
        if isinstance(source, io.BytesIO):
            source.seek(0)
        with numpy.load(source, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(bytes(arrays.pop(_FACTS)))
    except FileNotFoundError:
        raise
    except _FAILURES as error:
        raise ValueError(str(error)) from error
    return facts, arrays
