"""Which segments there are, what they depend on, and which sessions hold them (SQLite)."""

from __future__ import annotations

import hashlib
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tchat import __version__
from tchat.sqlite_cache import SqliteCache
from tchat.stored_text import shown_text, stored_text

if TYPE_CHECKING:
    import sqlite3

    from tchat.encryption.encryption import Encryption

T = TypeVar("T")

MAX_ID = 1 << 52  # of an id or a count, far from where SQLite has no more
MAX_SEGMENTS = 1 << 17  # segments, far more than the largest limit on disk holds
RECHECK_SECONDS = 86_400.0  # after which a model is checked again whose restoring was not exact
VERSION = 2
SCHEMA = """
CREATE TABLE models (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL, reading REAL,
    exact INTEGER, checked REAL, version TEXT, reason TEXT);
CREATE TABLE segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, model INTEGER NOT NULL, parent INTEGER,
    start INTEGER NOT NULL, stop INTEGER NOT NULL, tokens BLOB NOT NULL, lead BLOB NOT NULL,
    file TEXT NOT NULL, size INTEGER NOT NULL, used REAL NOT NULL);
CREATE INDEX segments_by_lead ON segments (model, lead);
CREATE INDEX segments_below ON segments (parent);
CREATE TABLE holders (
    segment INTEGER NOT NULL, session TEXT NOT NULL, PRIMARY KEY (segment, session)) WITHOUT ROWID;
CREATE INDEX holders_by_session ON holders (session);
CREATE TABLE counts (name TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID
"""
# Rows that `Index` would not write: wrong types, numbers out of range, names that lead elsewhere,
# parents that are no older (which a cycle needs). IS NOT TRUE, since NULL is none of it.
FOREIGN = f"""
SELECT 1 FROM segments s WHERE (
    id BETWEEN 1 AND {MAX_ID} AND typeof(model) = 'integer'
    AND typeof(start) = 'integer' AND typeof(stop) = 'integer'
    AND start >= 0 AND stop > start AND stop < 1 << 31
    AND typeof(tokens) = 'blob' AND length(tokens) = 4 * (stop - start)
    AND typeof(lead) = 'blob' AND length(lead) IN (0, 8)
    AND typeof(file) = 'text' AND file GLOB '{"[0-9a-f]" * 16}.kv'
    AND typeof(size) = 'integer' AND size BETWEEN 1 AND 1 << 45
    AND typeof(used) = 'real' AND used BETWEEN 0 AND 1e11
    AND (parent IS NULL AND start = 0 OR typeof(parent) = 'integer' AND EXISTS (
        SELECT 1 FROM segments p WHERE p.id = s.parent AND p.id < s.id AND p.model = s.model
        AND s.start > p.start AND s.start <= p.stop))
) IS NOT TRUE
UNION ALL SELECT 1 FROM (SELECT count(*) AS rows FROM segments) WHERE rows > {MAX_SEGMENTS}
UNION ALL SELECT 1 FROM models WHERE (
    typeof(key) = 'text' AND typeof(name) = 'text' AND length(name) < 1000
    AND (reading IS NULL OR typeof(reading) = 'real' AND reading BETWEEN 0 AND 1e9)
    AND (exact IS NULL OR typeof(exact) = 'integer' AND exact IN (0, 1))
    AND (checked IS NULL OR typeof(checked) = 'real' AND checked BETWEEN 0 AND 1e11)
    AND typeof(version) IN ('text', 'null') AND typeof(reason) IN ('text', 'null')
) IS NOT TRUE
UNION ALL SELECT 1 FROM holders WHERE (
    typeof(segment) = 'integer' AND typeof(session) = 'text' AND length(session) < 100
) IS NOT TRUE
UNION ALL SELECT 1 FROM counts WHERE (
    typeof(name) = 'text' AND typeof(count) = 'integer' AND count BETWEEN 0 AND {MAX_ID}
) IS NOT TRUE
UNION ALL SELECT 1 FROM sqlite_sequence WHERE (
    typeof(seq) = 'integer' AND seq BETWEEN 0 AND {MAX_ID}
) IS NOT TRUE
LIMIT 1
"""  # noqa: S608 - constants
# A row holds a chat's tokens: deleted, they are overwritten. A file that a power failure tears is
# replaced or refused, so nothing waits for the disk.
PRAGMAS = ("PRAGMA secure_delete = ON", "PRAGMA synchronous = OFF")
MAX_NAME = 200  # characters of a model's name
MODEL_COLUMNS = "name, reading, exact, checked, version, reason"
SEGMENT_COLUMNS = "s.id, s.parent, s.start, s.stop, s.tokens, s.file, s.size"
DESCENDANTS = """
WITH RECURSIVE below (id) AS (
    VALUES (?) UNION SELECT segments.id FROM segments JOIN below ON segments.parent = below.id)
SELECT id FROM below
"""


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What is known of a model with all that its states depend on.

    Attributes:
        prefill_rate: Tokens prefilled in a second; 0 when unknown.
        exact: Whether a restored state gave the same logits; None when never checked.
        checked: When that was checked, in seconds since the epoch.
        version: The version of tchat that checked it.
        reason: Why it is not exact.
    """

    name: str
    prefill_rate: float = 0.0
    exact: bool | None = None
    checked: float = 0.0
    version: str = ""
    reason: str = ""

    @property
    def restores(self) -> bool | None:
        """`exact` as far as it still counts; None where it must be checked (again).

        A failed check counts for a day, and for the version of tchat that made it.
        """
        if self.exact is False:
            old = self.version != __version__ or abs(time.time() - self.checked) > RECHECK_SECONDS
            return None if old else False
        return self.exact


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """The snapshots of one session and one model."""

    session: str
    model: str
    tokens: int
    size: int
    used: float


class Index:
    """The rows; the files are the caller's. Every method is one transaction."""

    def __init__(self, file: Path, encryption: Encryption | None = None) -> None:
        self._cache = SqliteCache(file, VERSION, SCHEMA, PRAGMAS, FOREIGN, encryption=encryption)

    @property
    def failure(self) -> str:
        """Why the rows are in memory only; empty where they are on disk."""
        return self._cache.failure

    @property
    def is_known(self) -> bool:
        """Whether the rows are those of the file, even if it cannot be written."""
        return not self._cache.failure or self._cache.is_copy

    def close(self) -> None:
        """Close the file."""
        self._cache.close()

    # Models

    def known(self, key: str) -> ModelRecord | None:
        """What is known of the model ``key``."""
        query = f"SELECT {MODEL_COLUMNS} FROM models WHERE key = ?"  # noqa: S608 - the names of columns
        return next(map(_model_record, self._rows(query, key)), None)

    def models(self) -> list[ModelRecord]:
        """What is known of each model, the one checked last first."""
        query = f"SELECT {MODEL_COLUMNS} FROM models ORDER BY checked DESC, id"  # noqa: S608 - as above
        return [_model_record(row) for row in self._rows(query)]

    def record_prefill_rate(self, key: str, name: str, rate: float = 0.0) -> None:
        """Store how many tokens the model ``key`` prefills in a second; 0 for unknown."""
        statement = """
            INSERT INTO models (key, name, reading) VALUES (?, ?, nullif(?, 0.0))
            ON CONFLICT (key) DO UPDATE SET
            name = excluded.name, reading = coalesce(excluded.reading, reading)
        """
        self._write(lambda database: database.execute(statement, (key, name[:MAX_NAME], rate)))

    def record_exactness(
        self, key: str, name: str, *, exact: bool | None, reason: str = ""
    ) -> None:
        """Store whether restored states of the model ``key`` are exact, and why not.

        None with a reason: it was not, and must be checked once more.
        """
        statement = """
            INSERT INTO models (key, name, exact, checked, version, reason)
            VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (key) DO UPDATE SET name = excluded.name, exact = excluded.exact,
            checked = excluded.checked, version = excluded.version, reason = excluded.reason
        """
        row = (key, name[:MAX_NAME], exact, time.time(), __version__, stored_text(reason))
        self._write(lambda database: database.execute(statement, row))

    # Segments

    def segments(self, key: str, lead: bytes, session: str) -> list[Segment]:
        """The segments of chats that begin with ``lead``, of short ones, and of ``session``."""
        query = f"""
            SELECT {SEGMENT_COLUMNS} FROM segments s JOIN models m ON m.id = s.model
            WHERE m.key = ? AND (s.lead IN (?, x'') OR s.lead IN (
                SELECT lead FROM segments JOIN holders ON segment = id WHERE session = ?))
            ORDER BY s.id
        """  # noqa: S608 - the names of columns
        return [Segment(*row) for row in self._rows(query, key, lead, session)]

    def session_segments(self, session: str) -> set[int]:
        """The segments that ``session`` holds."""
        query = "SELECT segment FROM holders WHERE session = ?"
        return {segment for (segment,) in self._rows(query, session)}

    def add(
        self, key: str, segment: Segment, lead: bytes, session: str, publish: Callable[[], str]
    ) -> Segment | None:
        """Store a segment that ``session`` holds; None when its parent or model is gone.

        Sets its id and file. ``publish`` names the file inside the transaction, since a file
        without a row is deleted.
        """

        def add(database: sqlite3.Connection) -> Segment | None:
            query = "SELECT 1 FROM segments WHERE id = ?"
            parent = segment.parent
            if parent is not None and not database.execute(query, (parent,)).fetchone():
                return None
            model = database.execute("SELECT id FROM models WHERE key = ?", (key,)).fetchone()
            if model is None:
                return None
            file = publish()
            row = (model[0], segment.parent, segment.start, segment.stop, segment.tokens)
            cursor = database.execute(
                "INSERT INTO segments (model, parent, start, stop, tokens, lead, file, size, used)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, lead, file, segment.size, time.time()),
            )
            added = replace(segment, id=cursor.lastrowid or 0, file=file)
            database.execute("INSERT INTO holders VALUES (?, ?)", (added.id, session))
            return added

        return self._write(add)

    def touch(self, segments: Iterable[int], session: str, holds: Iterable[int]) -> None:
        """Record that ``segments`` were used now, and that ``session`` holds ``holds``."""
        now = time.time()

        def touch(database: sqlite3.Connection) -> None:
            database.executemany(
                "UPDATE segments SET used = ? WHERE id = ?", [(now, each) for each in segments]
            )
            database.executemany(
                "INSERT OR IGNORE INTO holders SELECT id, ? FROM segments WHERE id = ?",
                [(session, each) for each in holds],
            )

        self._write(touch)

    def drop(self, segment: int) -> list[str]:
        """Delete a segment and all that continue it; returns their files."""
        return self._write(lambda database: _drop(database, segment))

    def forget(self, sessions: Sequence[str]) -> list[str]:
        """Delete what only these sessions hold; returns the files."""

        def forget(database: sqlite3.Connection) -> list[str]:
            database.executemany("DELETE FROM holders WHERE session = ?", [(s,) for s in sessions])
            return _drop_unheld(database)

        return self._write(forget)

    def shrink(self, limit: int, keep: Iterable[int] = ()) -> list[str]:
        """Delete the least recently used segments down to ``limit`` bytes; returns the files."""
        protected = set(keep)

        def shrink(database: sqlite3.Connection) -> list[str]:
            # A segment was used whenever one that continues it was.
            query = "SELECT id FROM segments ORDER BY used, id DESC"
            rows = [row[0] for row in database.execute(query) if row[0] not in protected]
            files: list[str] = []
            for segment in rows:
                if _size(database) <= limit:
                    break
                files += _drop(database, segment)
            return files

        return self._write(shrink)

    def clear(self) -> list[str]:
        """Delete all segments; returns the files."""

        def clear(database: sqlite3.Connection) -> list[str]:
            files = [row[0] for row in database.execute("SELECT file FROM segments")]
            database.execute("DELETE FROM segments")
            database.execute("DELETE FROM holders")
            return files

        return self._write(clear)

    def holders(self) -> list[str]:
        """The sessions that hold anything."""
        query = "SELECT DISTINCT session FROM holders"
        return [session for (session,) in self._rows(query)]

    def strays(self, names: Sequence[str]) -> list[str]:
        """Those of the files ``names`` that no segment is in."""

        def strays(database: sqlite3.Connection) -> list[str]:
            known = {row[0] for row in database.execute("SELECT file FROM segments")}
            return [name for name in names if name not in known]

        return self._write(strays)

    # All of it

    def sessions(self) -> list[SessionSnapshot]:
        """The snapshots by session and model, the one used last first."""
        query = """
            SELECT h.session, m.name, max(s.stop), sum(s.size), max(s.used)
            FROM holders h JOIN segments s ON s.id = h.segment JOIN models m ON m.id = s.model
            GROUP BY h.session, m.id ORDER BY max(s.used) DESC
        """
        return [SessionSnapshot(*row) for row in self._rows(query)]

    def size(self) -> int:
        """Bytes of all states."""
        return self._cache.run(_size)

    def count(self, name: str, by: int = 1) -> None:
        """Increase a counter."""
        statement = """
            INSERT INTO counts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET count = count + ?
        """
        self._write(lambda database: database.execute(statement, (name, by, by)))

    def counts(self) -> dict[str, int]:
        """All counters."""
        return dict(self._rows("SELECT name, count FROM counts ORDER BY name"))

    def _rows(self, query: str, *values: object) -> list[Any]:
        return self._cache.run(lambda database: database.execute(query, values).fetchall())

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def transaction(database: sqlite3.Connection) -> T:
            database.execute("BEGIN IMMEDIATE")
            with database:
                return work(database)

        return self._cache.run(transaction)


def _model_record(row: tuple[str, float | None, int | None, float | None, str, str]) -> ModelRecord:
    name, rate, exact, checked, version, reason = row
    verdict = None if exact is None else bool(exact)
    told = shown_text(reason) if reason else ""
    return ModelRecord(name, rate or 0.0, verdict, checked or 0.0, version or "", told)


def _size(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT coalesce(sum(size), 0) FROM segments").fetchone()[0])


def _drop(database: sqlite3.Connection, segment: int) -> list[str]:
    ids = database.execute(DESCENDANTS, (segment,)).fetchall()
    files = []
    for row in ids:
        files += database.execute("SELECT file FROM segments WHERE id = ?", row).fetchall()
        database.execute("DELETE FROM segments WHERE id = ?", row)
        database.execute("DELETE FROM holders WHERE segment = ?", row)
    return [file for (file,) in files]


def _drop_unheld(database: sqlite3.Connection) -> list[str]:
    query = "SELECT id FROM segments WHERE id NOT IN (SELECT segment FROM holders)"
    rows = database.execute(query).fetchall()
    return [file for row in rows for file in _drop(database, row[0])]


LEAD = 64  # tokens that two chats must share to be compared


@dataclass(frozen=True, slots=True)
class Segment:
    """The KV state of some tokens of a chat, ``size`` bytes in a file.

    ``tokens``, 4 bytes each, are those from ``start`` up to ``stop``. ``parent`` holds those
    before, and may be longer, in another branch; None at the beginning.
    """

    id: int
    parent: int | None
    start: int
    stop: int
    tokens: bytes
    file: str
    size: int


@dataclass(frozen=True, slots=True)
class Link:
    """A segment of a chain, used up to position ``stop``."""

    segment: Segment
    stop: int


Chain = tuple[Link, ...]


def pack_tokens(tokens: Sequence[int]) -> bytes:
    """Tokens as bytes, 4 each."""
    return array("i", tokens).tobytes()


def unpack_tokens(data: bytes) -> list[int]:
    """Bytes as tokens."""
    return list(array("i", data))


def fits_vocabulary(segment: Segment, vocabulary: int) -> bool:
    """Whether a vocabulary of this size has the tokens of a segment."""
    tokens = unpack_tokens(segment.tokens)
    return min(tokens) >= 0 and max(tokens) < vocabulary


def lead_of(tokens: Sequence[int]) -> bytes:
    """A key that is equal for chats with the same first tokens; empty for short chats."""
    if len(tokens) < LEAD:
        return b""
    return hashlib.blake2b(pack_tokens(tokens[:LEAD]), digest_size=8).digest()


def length(chain: Chain) -> int:
    """Number of tokens of a chain."""
    return chain[-1].stop if chain else 0


def tokens_of(chain: Chain) -> list[int]:
    """The tokens of a chain."""
    data = bytearray()
    for link in chain:
        segment = link.segment
        data += segment.tokens[: 4 * (link.stop - segment.start)]
    return unpack_tokens(bytes(data))


def cut(chain: Chain, stop: int) -> Chain:
    """The chain up to position ``stop``."""
    return tuple(
        Link(link.segment, min(link.stop, stop)) for link in chain if link.segment.start < stop
    )


def longest(segments: Sequence[Segment], prompt: Sequence[int]) -> Chain:
    """The chain with the longest prefix of ``prompt``."""
    packed = pack_tokens(prompt)
    best: Chain = ()
    for chain in _chains(segments, packed):
        if length(chain) > length(best):
            best = chain
    return best


def whole_chains(segments: Sequence[Segment]) -> Iterator[Chain]:
    """The chains of all segments that no other continues at their end."""
    by_id = {segment.id: segment for segment in segments}
    continued = {(segment.parent, segment.start) for segment in segments}
    for segment in segments:
        if (segment.id, segment.stop) in continued:
            continue
        links = [Link(segment, segment.stop)]
        while links[0].segment.parent is not None:
            above = by_id.get(links[0].segment.parent)
            if above is None or above.id >= links[0].segment.id:  # a parent is older: no circle
                break
            links.insert(0, Link(above, links[0].segment.start))
        if links[0].segment.parent is None:
            yield tuple(links)


def _chains(segments: Sequence[Segment], packed: bytes) -> Iterator[Chain]:
    """Chains that share a prefix with ``packed``, each cut to that."""
    below: dict[int | None, list[Segment]] = {}
    for segment in segments:
        below.setdefault(segment.parent, []).append(segment)
    waiting: list[Chain] = [()]
    while waiting:
        chain = waiting.pop()
        parent = chain[-1].segment.id if chain else None
        for segment in below.get(parent, ()):
            if segment.start > length(chain):
                continue
            start = cut(chain, segment.start)
            same = _in_common(segment.tokens, packed[4 * segment.start :])
            if same:
                longer = (*start, Link(segment, segment.start + same))
                yield longer
                waiting.append(longer)


def _in_common(tokens: bytes, packed: bytes) -> int:
    """Length of the common prefix, in tokens."""
    if packed.startswith(tokens):
        return len(tokens) // 4
    most = min(len(tokens), len(packed)) // 4
    return next(
        (at for at in range(most) if tokens[4 * at : 4 * at + 4] != packed[4 * at : 4 * at + 4]),
        most,
    )
