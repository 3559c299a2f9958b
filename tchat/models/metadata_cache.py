"""What was found out about files, remembered: a known one costs a ``stat`` and a ``SELECT``."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tchat.errors import ModelError
from tchat.models.files import FileKey, file_key
from tchat.models.gguf.compatibility import ModelKind
from tchat.models.memory import ModelDimensions
from tchat.models.metadata import NAMED_BY_HASH, ModelMetadata, read_metadata
from tchat.paths import Paths
from tchat.sqlite_cache import SqliteCache

if TYPE_CHECKING:
    import sqlite3

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
LAST_SECOND = 253_402_300_799  # of the year 9999: what can be shown as a date
FASTEST = 1e18  # tokens or bytes in a second; above is no measurement
_TEXTS = ("title", "refusal", "architecture", "quantization", "chat_template", "sha256")
_COUNTS = ("parameters", "context_length", "size")
_MOST = 2**63


@dataclass(frozen=True, slots=True)
class ProbeVerdict:
    """What a probe found out.

    Attributes:
        problem: To be read after the file's name; empty when well.
        template: What is to be known about the chat template: topic, state (``ok``, ``note``,
            ``problem``) and text. Not remembered.
    """

    problem: str = ""
    template: tuple[tuple[str, str, str], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the file can be loaded in-process."""
        return not self.problem


class MetadataCache:
    """Facts, verdicts, last uses, speeds and hashes, by file.

    Facts, verdicts and hashes follow the whole `FileKey`; uses and speeds its `identity`.

    A value that cannot have been stored here counts as unknown.

    Safe to use from several processes, and from one thread at a time.
    """

    def __init__(self, paths: Paths) -> None:
        self._cache = SqliteCache(paths.models_db, SCHEMA_VERSION, SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._cache.close()

    def metadata(self, path: Path) -> ModelMetadata:
        """The facts of a model file, from the cache or from its header.

        Raises:
            ModelNotFound: The file, or a part of it, is not there.
            ModelInvalid: It is no GGUF file, a damaged one, or not the first of its parts.
        """
        key = file_key(path)
        known = self._cache.run(lambda database: _select_facts(database, path, key))
        if known is not None:
            return known
        facts = read_metadata(path)
        self._cache.run(lambda database: _insert_facts(database, facts))
        return facts

    def verdict(self, facts: ModelMetadata, build: str) -> ProbeVerdict | None:
        """What a probe by this build of llama.cpp said about the file; None when none was made."""
        query = "SELECT problem FROM verdicts WHERE file = ? AND build = ?"
        key = (_fingerprint(facts.key, facts.parts), build)
        row = self._cache.run(lambda database: database.execute(query, key).fetchone())
        return ProbeVerdict(row[0]) if row and isinstance(row[0], str) else None

    def store_verdict(self, facts: ModelMetadata, build: str, verdict: ProbeVerdict) -> None:
        """Store what a probe said."""
        row = (_fingerprint(facts.key, facts.parts), build, verdict.problem)
        self._cache.run(
            lambda database: database.execute("REPLACE INTO verdicts VALUES (?, ?, ?)", row)
        )

    def record_use(self, facts: ModelMetadata) -> None:
        """Remember that the model is being loaded now."""
        row = (facts.key.identity, time.time())
        self._cache.run(lambda database: database.execute("REPLACE INTO uses VALUES (?, ?)", row))

    def last_use(self, facts: ModelMetadata) -> float | None:
        """When the model was loaded last, in seconds since the epoch; None when it never was."""
        query = "SELECT at FROM uses WHERE file = ?"
        key = (facts.key.identity,)
        row = self._cache.run(lambda database: database.execute(query, key).fetchone())
        return _number(row[0], LAST_SECOND) if row else None

    def speed(self, facts: ModelMetadata) -> float:
        """Tokens a second that the model wrote here, the last replies most; 0 when unknown."""
        query = "SELECT rate FROM speeds WHERE file = ?"
        key = (facts.key.identity,)
        row = self._cache.run(lambda database: database.execute(query, key).fetchone())
        return (_number(row[0], FASTEST) or 0.0) if row else 0.0

    def record_speed(self, facts: ModelMetadata, rate: float) -> None:
        """Remember that the model wrote ``rate`` tokens a second."""
        before = self.speed(facts)
        row = (facts.key.identity, before + NEWEST * (rate - before) if before else rate)
        self._cache.run(lambda database: database.execute("REPLACE INTO speeds VALUES (?, ?)", row))

    def machine_rate(self, machine: str) -> tuple[float, float]:
        """What `record_machine_rate` was told last, and when; zeros when nothing."""
        query = "SELECT rate, at FROM machines WHERE name = ?"
        row = self._cache.run(lambda database: database.execute(query, (machine,)).fetchone())
        rate, at = (_number(row[0], FASTEST), _number(row[1], LAST_SECOND)) if row else (0.0, 0.0)
        return (0.0, 0.0) if rate is None or at is None else (rate, at)

    def record_machine_rate(self, machine: str, rate: float, at: float) -> None:
        """Remember how many bytes of weights a machine gets through in a second."""
        row = (machine, rate, at)
        self._cache.run(
            lambda database: database.execute("REPLACE INTO machines VALUES (?, ?, ?)", row)
        )

    def sha256(self, key: FileKey) -> str:
        """The SHA-256 of a file's content as `store_sha256` was told; empty when unknown."""
        query = "SELECT sha256 FROM hashes WHERE file = ?"
        row = self._cache.run(lambda database: database.execute(query, (str(key),)).fetchone())
        found = row[0] if row and isinstance(row[0], str) else ""
        return found if NAMED_BY_HASH.fullmatch(found) else ""

    def store_sha256(self, key: FileKey, sha256: str) -> None:
        """Store the SHA-256 of a file's content."""
        row = (str(key), sha256)
        self._cache.run(lambda database: database.execute("REPLACE INTO hashes VALUES (?, ?)", row))


def _fingerprint(key: FileKey, parts: tuple[Path, ...]) -> str:
    """The key of a model in one or several files; asks the disk for the further ones."""
    return " ".join(map(str, (key, *map(file_key, parts))))


def _insert_facts(database: sqlite3.Connection, facts: ModelMetadata) -> None:
    stored = asdict(facts)
    del stored["path"], stored["key"]
    stored["parts"] = [part.name for part in facts.parts]
    row = (str(facts.key), _fingerprint(facts.key, facts.parts), json.dumps(stored))
    database.execute("REPLACE INTO facts VALUES (?, ?, ?)", row)


def _select_facts(database: sqlite3.Connection, path: Path, key: FileKey) -> ModelMetadata | None:
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
        stored["shape"] = _shape(stored["shape"])
        if not all(_is_text(stored[name]) for name in _TEXTS):
            return None
        if not all(_is_count(stored[name]) for name in _COUNTS):
            return None
        return ModelMetadata(path=path, key=key, parts=parts, **stored)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ModelError):
        return None  # a damaged row, or a part that is gone: the header tells


def _shape(stored: dict[str, Any]) -> ModelDimensions:
    """The shape in a row.

    Raises:
        TypeError: It cannot have been stored here.
    """
    shape = ModelDimensions(**stored)
    names = [field.name for field in fields(shape) if field.name != "expert_share"]
    if (
        not all(_is_count(getattr(shape, name)) for name in names)
        or _number(shape.expert_share, 1) is None
    ):
        raise TypeError("sizes")
    return shape


def _is_text(value: object) -> bool:
    """Whether it is a text that UTF-8 can hold: a header's was decoded."""
    return isinstance(value, str) and value == value.encode("utf-8", "replace").decode()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _number(value: object, most: float) -> float | None:
    """The number in a row; None where it cannot have been stored here."""
    return float(value) if isinstance(value, (int, float)) and 0 <= value <= most else None
