"""Which segments there are, what they depend on, and which sessions hold them (SQLite)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tchat.cache import Cache
from tchat.engine.snapshots.chain import Segment

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

VERSION = 1
SCHEMA = """
CREATE TABLE models (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    exact INTEGER, reading REAL);
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
# A row holds a chat's tokens: deleted, they are overwritten. A file that a power failure tears is
# replaced or refused, so nothing waits for the disk.
PRAGMAS = ("PRAGMA secure_delete = ON", "PRAGMA synchronous = OFF")
COLUMNS = "s.id, s.parent, s.start, s.stop, s.tokens, s.file, s.size"
BELOW = """
WITH RECURSIVE below (id) AS (
    VALUES (?) UNION SELECT segments.id FROM segments JOIN below ON segments.parent = below.id)
SELECT id FROM below
"""


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of a model with all that its states depend on.

    Attributes:
        exact: Whether a restored state gives the logits of a read one; None when never tried.
        reading: Tokens read in a second; 0 when never measured.
    """

    exact: bool | None
    reading: float


@dataclass(frozen=True, slots=True)
class Held:
    """What there is on disk of one session and one model."""

    session: str
    model: str
    tokens: int
    size: int
    used: float


class Index:
    """The rows; the files are the caller's. Every method is one transaction.

    Several processes may use it. Opened at the first use.
    """

    def __init__(self, file: Path) -> None:
        self._cache = Cache(file, VERSION, SCHEMA, PRAGMAS)

    def close(self) -> None:
        """Let go of the file."""
        self._cache.close()

    # Models

    def known(self, key: str) -> Known | None:
        """What is remembered of the model ``key``."""
        query = "SELECT exact, reading FROM models WHERE key = ?"
        row = self._cache.run(lambda database: database.execute(query, (key,)).fetchone())
        if row is None:
            return None
        return Known(None if row[0] is None else bool(row[0]), row[1] or 0.0)

    def remember(
        self, key: str, name: str, *, exact: bool | None = None, reading: float = 0.0
    ) -> None:
        """Remember what was found out about the model ``key``; nothing is taken back."""
        statement = """
            INSERT INTO models (key, name, exact, reading) VALUES (?, ?, ?, nullif(?, 0))
            ON CONFLICT (key) DO UPDATE SET name = excluded.name,
            exact = coalesce(excluded.exact, exact), reading = coalesce(excluded.reading, reading)
        """
        self._write(lambda database: database.execute(statement, (key, name, exact, reading)))

    # Segments

    def segments(self, key: str, lead: bytes, session: str) -> list[Segment]:
        """The segments of chats that begin with ``lead``, of short ones, and of ``session``."""
        query = f"""
            SELECT {COLUMNS} FROM segments s JOIN models m ON m.id = s.model
            WHERE m.key = ? AND (s.lead IN (?, x'') OR s.lead IN (
                SELECT lead FROM segments JOIN holders ON segment = id WHERE session = ?))
            ORDER BY s.id
        """  # noqa: S608 - the names of columns
        rows = self._cache.run(
            lambda database: database.execute(query, (key, lead, session)).fetchall()
        )
        return [Segment(*row) for row in rows]

    def held(self, session: str) -> set[int]:
        """The segments that ``session`` holds."""
        query = "SELECT segment FROM holders WHERE session = ?"
        rows = self._cache.run(lambda database: database.execute(query, (session,)).fetchall())
        return {row[0] for row in rows}

    def add(
        self, key: str, segment: Segment, lead: bytes, session: str, publish: Callable[[], str]
    ) -> Segment | None:
        """Store a segment that ``session`` holds; None when its parent is gone.

        Its id and file are found here.
        ``publish`` names the file, inside of the transaction: a file without a row is nobody's.
        """

        def add(database: sqlite3.Connection) -> Segment | None:
            if segment.parent is not None and not _is_there(database, segment.parent):
                return None
            model = database.execute("SELECT id FROM models WHERE key = ?", (key,)).fetchone()
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

    def touch(self, segments: Iterable[int], session: str, held: Iterable[int]) -> None:
        """Note that ``segments`` were used just now, and that ``session`` consists of ``held``."""
        now = time.time()

        def touch(database: sqlite3.Connection) -> None:
            database.executemany(
                "UPDATE segments SET used = ? WHERE id = ?", [(now, each) for each in segments]
            )
            database.executemany(
                "INSERT OR IGNORE INTO holders SELECT id, ? FROM segments WHERE id = ?",
                [(session, each) for each in held],
            )

        self._write(touch)

    def drop(self, segment: int) -> list[str]:
        """Forget a segment and all that go on from it; returns their files."""
        return self._write(lambda database: _drop(database, segment))

    def forget(self, sessions: Sequence[str]) -> list[str]:
        """Forget what only these sessions hold; returns the files."""

        def forget(database: sqlite3.Connection) -> list[str]:
            database.executemany("DELETE FROM holders WHERE session = ?", [(s,) for s in sessions])
            return _drop_unheld(database)

        return self._write(forget)

    def shrink(self, limit: int, keep: Iterable[int] = ()) -> list[str]:
        """Forget what was used longest ago until ``limit`` bytes are left; returns the files."""
        kept = set(keep)

        def shrink(database: sqlite3.Connection) -> list[str]:
            # A segment was used whenever one that goes on from it was.
            query = "SELECT id FROM segments ORDER BY used, id DESC"
            rows = [row[0] for row in database.execute(query) if row[0] not in kept]
            files: list[str] = []
            for segment in rows:
                if _size(database) <= limit:
                    break
                files += _drop(database, segment)
            return files

        return self._write(shrink)

    def clear(self) -> list[str]:
        """Forget all segments; returns the files."""

        def clear(database: sqlite3.Connection) -> list[str]:
            files = [row[0] for row in database.execute("SELECT file FROM segments")]
            database.execute("DELETE FROM segments")
            database.execute("DELETE FROM holders")
            return files

        return self._write(clear)

    def holders(self) -> list[str]:
        """The sessions that hold anything."""
        query = "SELECT DISTINCT session FROM holders"
        rows = self._cache.run(lambda database: database.execute(query).fetchall())
        return [row[0] for row in rows]

    def strays(self, names: Sequence[str]) -> list[str]:
        """Those of the files ``names`` that no segment is in."""

        def strays(database: sqlite3.Connection) -> list[str]:
            known = {row[0] for row in database.execute("SELECT file FROM segments")}
            return [name for name in names if name not in known]

        return self._write(strays)

    # All of it

    def sessions(self) -> list[Held]:
        """What there is, by session and model, the one used last first."""
        query = """
            SELECT h.session, m.name, max(s.stop), sum(s.size), max(s.used)
            FROM holders h JOIN segments s ON s.id = h.segment JOIN models m ON m.id = s.model
            GROUP BY h.session, m.id ORDER BY max(s.used) DESC
        """
        return [
            Held(*row)
            for row in self._cache.run(lambda database: database.execute(query).fetchall())
        ]

    def size(self) -> int:
        """Bytes of all states."""
        return self._cache.run(_size)

    def count(self, name: str, by: int = 1) -> None:
        """Count something that happened."""
        statement = """
            INSERT INTO counts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET count = count + ?
        """
        self._write(lambda database: database.execute(statement, (name, by, by)))

    def counts(self) -> dict[str, int]:
        """What was counted."""
        query = "SELECT name, count FROM counts ORDER BY name"
        return dict(self._cache.run(lambda database: database.execute(query).fetchall()))

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def transaction(database: sqlite3.Connection) -> T:
            database.execute("BEGIN IMMEDIATE")
            with database:
                return work(database)

        return self._cache.run(transaction)


def _is_there(database: sqlite3.Connection, segment: int) -> bool:
    query = "SELECT 1 FROM segments WHERE id = ?"
    return database.execute(query, (segment,)).fetchone() is not None


def _size(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT coalesce(sum(size), 0) FROM segments").fetchone()[0])


def _drop(database: sqlite3.Connection, segment: int) -> list[str]:
    ids = database.execute(BELOW, (segment,)).fetchall()
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
