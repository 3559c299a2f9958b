"""Metadata of model files, read from GGUF headers, and the cache of all that is known of files.

A known file costs a ``stat`` and a ``SELECT``.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tchat.errors import ModelError
from tchat.models.files import FileKey, file_key
from tchat.models.gguf.compatibility import ModelKind, detect_kind
from tchat.models.memory import ModelDimensions
from tchat.models.sources.starter import STARTER_PACKAGE, STARTER_TITLE
from tchat.paths import Paths
from tchat.sqlite_cache import SqliteCache
from tchat.stored_text import shown_text, stored_text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from tchat.models.gguf.header import Value

# The hub's cache and Ollama name a file by the SHA-256 of its content.
NAMED_BY_HASH = re.compile(r"(?:sha256-)?([0-9a-f]{64})")


SCHEMA_VERSION = 5
SCHEMA = """
CREATE TABLE facts (file TEXT PRIMARY KEY, parts TEXT NOT NULL, facts TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE verdicts (file TEXT, build TEXT, problem TEXT NOT NULL, PRIMARY KEY (file, build))
    WITHOUT ROWID;
CREATE TABLE uses (file TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE hashes (file TEXT PRIMARY KEY, sha256 TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE speeds (file TEXT PRIMARY KEY, rate REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE machines (name TEXT PRIMARY KEY, rate REAL NOT NULL, at REAL NOT NULL) WITHOUT ROWID
"""
NEWEST = 0.3  # weight of the newest speed
LAST_SECOND = 253_402_300_799  # of the year 9999, the last that can be shown as a date
FASTEST = 1e18  # tokens or bytes per second; more is not a measurement
_TEXTS = ("title", "refusal", "architecture", "quantization", "chat_template", "sha256")
_COUNTS = ("parameters", "context_length", "size")
_MOST = 2**63
_SAMPLING = "general.sampling."
_LONGEST = 512  # characters of a text about sampling, as in llama.cpp


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """Metadata of a model file. Texts are raw: sanitize them before printing.

    Attributes:
        path: The file; of a split model, the first part.
        key: Identity of the file; verdicts are cached by it.
        parts: Further files of a split model.
        title: ``general.name``; may be empty.
        refusal: Why it cannot chat, to be read after its name; empty when it can.
        parameters: Number of weights, all parts together.
        context_length: Tokens that it was trained for; 0 when the header gives none.
        chat_template: Jinja source; empty when it has none.
        size: Bytes, all parts together.
        sha256: Where the file's name tells it, else empty.
        sampling: What ``general.sampling.*`` says, by the rest of the key; not checked.
    """

    path: Path
    key: FileKey
    parts: tuple[Path, ...]
    title: str
    kind: ModelKind
    refusal: str
    architecture: str
    quantization: str
    parameters: int
    context_length: int
    chat_template: str
    size: int
    sha256: str
    dimensions: ModelDimensions
    sampling: tuple[tuple[str, bool | int | float | str], ...]

    @property
    def name(self) -> str:
        """``general.name``, else the file's name without its ending; the starter has its own."""
        return STARTER_TITLE if self.is_starter else self.title or self.path.stem

    @property
    def is_starter(self) -> bool:
        """Whether it is the model that comes with tchat."""
        return self.path.parent.name == STARTER_PACKAGE


def read_metadata(path: Path) -> ModelMetadata:
    """Read the metadata from the headers of ``path`` and its further parts.

    Raises:
        ModelNotFound: The file, or a part of it, is not there.
        ModelInvalid: It is not a GGUF file, is damaged, or is not the first part.
    """
    # Not needed for a cached file, which saves 9 ms at start-up.
    from tchat.models.gguf.compatibility import refusal
    from tchat.models.gguf.dimensions import read_dimensions
    from tchat.models.gguf.header_parser import read_model_header

    key = file_key(path)
    header, parts = read_model_header(path)
    return ModelMetadata(
        path=path,
        key=key,
        parts=parts,
        title=header.name,
        kind=detect_kind(header),
        refusal=refusal(header),
        architecture=header.architecture,
        quantization=header.quantization,
        parameters=header.parameters,
        context_length=header.context_length,
        chat_template=header.chat_template,
        size=header.file_size,
        sha256="" if parts else hash_in_name(path),
        dimensions=read_dimensions(header),
        sampling=tuple(sampling_pairs(header.metadata)),
    )


def sampling_pairs(
    metadata: Mapping[str, Value],
) -> Iterator[tuple[str, bool | int | float | str]]:
    """What a header says of sampling, by the rest of the key; texts shortened, lists left out."""
    for key, value in metadata.items():
        if key.startswith(_SAMPLING):
            plain = value if isinstance(value, bool | int | float | str) else "[…]"
            short = plain[:_LONGEST] if isinstance(plain, str) else plain
            yield key.removeprefix(_SAMPLING), short


def hash_in_name(path: Path) -> str:
    """The SHA-256 in the name of the file, links resolved; empty when there is none."""
    match = NAMED_BY_HASH.fullmatch(path.resolve().name)
    return match[1] if match else ""


@dataclass(frozen=True, slots=True)
class ProbeVerdict:
    """The verdict of a probe.

    Attributes:
        problem: A sentence whose subject is the file's name; empty when it loads.
        template: Findings about the chat template: topic, state (``ok``, ``note``, ``problem``)
            and text. Not stored.
    """

    problem: str = ""
    template: tuple[tuple[str, str, str], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the file can be loaded in-process."""
        return not self.problem


class MetadataCache:
    """Metadata, verdicts, last uses, speeds and hashes of model files.

    Metadata, verdicts and hashes are stored by the whole `FileKey`, uses and speeds by its
    `identity`. A value that cannot have been stored here counts as unknown.

    Safe to use from several processes, and from one thread at a time.
    """

    def __init__(self, paths: Paths) -> None:
        self._cache = SqliteCache(paths.models_db, SCHEMA_VERSION, SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._cache.close()

    def metadata(self, path: Path) -> ModelMetadata:
        """The metadata of a model file, cached or read by `read_metadata`."""
        key = file_key(path)
        known = self._cache.run(lambda database: _select_metadata(database, path, key))
        if known is not None and not known.refusal:  # which is in the language of its time
            return known
        metadata = read_metadata(path)
        self._cache.run(lambda database: _insert_metadata(database, metadata))
        return metadata

    def verdict(self, metadata: ModelMetadata, build: str) -> ProbeVerdict | None:
        """The verdict of a probe by this build of llama.cpp; None when there was none."""
        query = "SELECT problem FROM verdicts WHERE file = ? AND build = ?"
        row = self._select(query, _fingerprint(metadata.key, metadata.parts), build)
        if row is None or not isinstance(row[0], str):
            return None
        return ProbeVerdict(row[0] and shown_text(row[0]))

    def store_verdict(self, metadata: ModelMetadata, build: str, verdict: ProbeVerdict) -> None:
        """Store the verdict of a probe."""
        file = _fingerprint(metadata.key, metadata.parts)
        problem = stored_text(verdict.problem)
        self._store("REPLACE INTO verdicts VALUES (?, ?, ?)", file, build, problem)

    def record_use(self, metadata: ModelMetadata) -> None:
        """Store that the model is loaded now."""
        self._store("REPLACE INTO uses VALUES (?, ?)", metadata.key.identity, time.time())

    def last_use(self, metadata: ModelMetadata) -> float | None:
        """When the model was loaded last, in seconds since the epoch; None for never."""
        row = self._select("SELECT at FROM uses WHERE file = ?", metadata.key.identity)
        return _number(row[0], LAST_SECOND) if row else None

    def speed(self, metadata: ModelMetadata) -> float:
        """Decode speed in tokens per second, recent replies weighing most; 0 when unknown."""
        row = self._select("SELECT rate FROM speeds WHERE file = ?", metadata.key.identity)
        return (_number(row[0], FASTEST) or 0.0) if row else 0.0

    def record_speed(self, metadata: ModelMetadata, rate: float) -> None:
        """Store that the model decoded ``rate`` tokens per second."""
        before = self.speed(metadata)
        rate = before + NEWEST * (rate - before) if before else rate
        self._store("REPLACE INTO speeds VALUES (?, ?)", metadata.key.identity, rate)

    def machine_rate(self, machine: str) -> tuple[float, float]:
        """The rate stored by `record_machine_rate`, and when it was measured; zeros for none."""
        row = self._select("SELECT rate, at FROM machines WHERE name = ?", machine)
        rate, at = (_number(row[0], FASTEST), _number(row[1], LAST_SECOND)) if row else (0.0, 0.0)
        return (0.0, 0.0) if rate is None or at is None else (rate, at)

    def record_machine_rate(self, machine: str, rate: float, at: float) -> None:
        """Store how many bytes of weights a machine processes per second."""
        self._store("REPLACE INTO machines VALUES (?, ?, ?)", machine, rate, at)

    def sha256(self, key: FileKey) -> str:
        """The stored SHA-256 of a file; empty when unknown."""
        row = self._select("SELECT sha256 FROM hashes WHERE file = ?", str(key))
        found = row[0] if row and isinstance(row[0], str) else ""
        return found if NAMED_BY_HASH.fullmatch(found) else ""

    def store_sha256(self, key: FileKey, sha256: str) -> None:
        """Store the SHA-256 of a file."""
        self._store("REPLACE INTO hashes VALUES (?, ?)", str(key), sha256)

    def _select(self, query: str, *key: str) -> tuple[object, ...] | None:
        row: tuple[object, ...] | None = self._cache.run(
            lambda database: database.execute(query, key).fetchone()
        )
        return row

    def _store(self, statement: str, *values: str | float) -> None:
        self._cache.run(lambda database: database.execute(statement, values))


def _fingerprint(key: FileKey, parts: tuple[Path, ...]) -> str:
    """The key of a model in one or several files; calls ``stat`` on further parts."""
    return " ".join(map(str, (key, *map(file_key, parts))))


def _insert_metadata(database: sqlite3.Connection, metadata: ModelMetadata) -> None:
    stored = asdict(metadata)
    del stored["path"], stored["key"]
    stored["shape"] = stored.pop("dimensions")  # the name that is stored
    stored["parts"] = [part.name for part in metadata.parts]
    row = (str(metadata.key), _fingerprint(metadata.key, metadata.parts), json.dumps(stored))
    database.execute("REPLACE INTO facts VALUES (?, ?, ?)", row)


def _select_metadata(
    database: sqlite3.Connection, path: Path, key: FileKey
) -> ModelMetadata | None:
    query = "SELECT parts, facts FROM facts WHERE file = ?"
    row = database.execute(query, (str(key),)).fetchone()
    if row is None:
        return None
    try:
        stored = json.loads(row[1])
        parts = tuple(path.with_name(name) for name in stored.pop("parts"))
        if parts and _fingerprint(key, parts) != row[0]:
            return None
        stored["kind"] = ModelKind(stored["kind"])
        stored["dimensions"] = _dimensions(stored.pop("shape"))
        stored["sampling"] = _pairs(stored["sampling"])
        if not all(_is_text(stored[name]) for name in _TEXTS):
            return None
        if not all(_is_count(stored[name]) for name in _COUNTS):
            return None
        return ModelMetadata(path=path, key=key, parts=parts, **stored)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ModelError):
        return None  # a damaged row, or a part that is gone: read the header


def _dimensions(stored: dict[str, Any]) -> ModelDimensions:
    """The dimensions in a row; raises TypeError for what cannot have been stored here."""
    dimensions = ModelDimensions(**stored)
    names = [field.name for field in fields(dimensions) if field.name != "expert_share"]
    if (
        not all(_is_count(getattr(dimensions, name)) for name in names)
        or _number(dimensions.expert_share, 1) is None
    ):
        raise TypeError("sizes")
    return dimensions


def _pairs(stored: Any) -> tuple[tuple[str, bool | int | float | str], ...]:
    """The sampling in a row; raises for what cannot have been stored here."""
    pairs = tuple((name, value) for name, value in stored)
    if not all(_is_text(name) for name, _ in pairs):
        raise TypeError("names")
    if not all(_is_text(value) or isinstance(value, int | float) for _, value in pairs):
        raise TypeError("values")
    return pairs


def _is_text(value: object) -> bool:
    """Whether it is a text that UTF-8 can encode, as all texts of a header are."""
    return isinstance(value, str) and value == value.encode("utf-8", "replace").decode()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _number(value: object, most: float) -> float | None:
    """The number in a row; None when it cannot have been stored here."""
    return float(value) if isinstance(value, (int, float)) and 0 <= value <= most else None
