"""Check that tchat wrote a file: its tables, its pages, the values in its rows."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

from tchat.sessions.database import Database, DatabaseDamaged, connect
from tchat.sessions.schema import statements, version_of

LAST_SECOND = 253_402_300_799  # of the year 9999: what can be shown as a date
LAST_ID = 2**53  # what JSON can carry; SQLite itself stops at 2**63
_STATISTICS = ("sqlite_stat1", "sqlite_stat4")  # what ANALYZE makes
_TEXTS = (
    *("session_id", "role", "text", "reasoning", "status", "model", "model_sha256"),
    *("quantization", "template_hash", "finish_reason", "unfinished", "writer"),
)
_STRANGERS = """
    SELECT m.id FROM messages m JOIN messages p ON p.id = m.parent_id
    WHERE m.session_id <> p.session_id
    UNION ALL
    SELECT m.id FROM sessions s JOIN messages m ON m.id = s.active_root
    WHERE m.session_id <> s.id OR m.parent_id NOTNULL
    LIMIT 1
"""
_COMMENT = re.compile(r"--[^\n]*")
_OBJECTS = ("sampling", "usage", "timings", "scores")


def check(database: Database, *, rows: bool) -> None:
    """Look for damage and for what tchat did not make; about 1 ms for each 2 MB in the page cache.

    The tables are compared first, before any statement runs that could call on a foreign view,
    trigger or constraint.

    Args:
        database: To check.
        rows: Look at the value of every column too, which takes about as long again.

    Raises:
        DatabaseDamaged: It is not a sound database, or not tchat's.
        StorageError: It is another program's or of a newer tchat, or cannot be read at all.
    """
    with database.reading() as connection:
        version = version_of(connection, database.path)
        if _tables(connection) != _expected(version):
            raise _damaged(database, "it holds tables, views or triggers that tchat did not make")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _damaged(database, verdict)
        if rows and version and (problem := _wrong_row(connection)):
            raise _damaged(database, problem)


def _damaged(database: Database, reason: str) -> DatabaseDamaged:
    return DatabaseDamaged(f"the session database {database.path} is damaged: {reason}")


def _tables(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    """The definitions in the file, sorted; without the SQL of FTS5's own tables.

    Without comments, which SQLite keeps: a word in one makes no other table.
    """
    return sorted(
        (kind, name, table, "" if table.startswith("search_index_") else _COMMENT.sub("", str(sql)))
        for kind, name, table, sql in connection.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master"
        )
        if kind != "table" or name not in _STATISTICS
    )


def _expected(version: int) -> list[tuple[str, ...]]:
    with closing(connect(None)) as own:
        for statement in statements(0, version):
            own.execute(statement)
        return _tables(own)


def _wrong_row(connection: sqlite3.Connection) -> str:
    """Why a row was not written by tchat; empty if all were."""
    names = {row[1] for row in connection.execute("PRAGMA table_info(messages)")}
    queries = {
        "sessions": _session_faults(),
        "messages": _message_faults(names),
        "sqlite_sequence": [f"typeof(seq) <> 'integer' OR seq > {LAST_ID}"],
    }
    for table, faults in queries.items():
        query = f"SELECT rowid FROM {table} WHERE {' OR '.join(faults)} LIMIT 1"  # noqa: S608
        if row := connection.execute(query).fetchone():
            return f"row {row[0]} of {table} is not one that tchat wrote"
    if row := connection.execute("PRAGMA foreign_key_check").fetchone():
        return f"row {row[1]} of {row[0]} belongs to nothing"
    if row := connection.execute(_STRANGERS).fetchone():
        return f"message {row[0]} belongs to another session than what leads to it"
    return "" if _is_utf8(connection, names) else "a text in it is not UTF-8"


def _is_utf8(connection: sqlite3.Connection, names: set[str]) -> bool:
    """Whether every text is UTF-8: SQL checks only its type."""
    columns = {
        "sessions": "id, title, system, settings",
        "messages": ", ".join(name for name in (*_TEXTS, *_OBJECTS) if name in names),
    }
    for table, texts in columns.items():
        try:
            for _ in connection.execute(f"SELECT {texts} FROM {table}"):  # noqa: S608 - names
                pass
        except sqlite3.OperationalError as error:
            if "decode to UTF-8" in str(error):
                return False
            raise
    return True


def _session_faults() -> list[str]:
    return [
        *(f"typeof({name}) <> 'text'" for name in ("id", "title", "system")),
        *(_no_time(name) for name in ("created_at", "updated_at")),
        _no_object("settings"),
        "typeof(active_root) NOT IN ('null', 'integer')",
    ]


def _message_faults(names: set[str]) -> list[str]:
    numbers = names & {"pinned", "rating", "by_person"}
    return [
        *(f"typeof({name}) <> 'text'" for name in _TEXTS if name in names),
        *(_no_object(name) for name in _OBJECTS if name in names),
        *(f"typeof({name}) <> 'integer'" for name in sorted(numbers)),
        *(_no_time(name) for name in ("created_at", "picked_at") if name in names),
        f"id NOT BETWEEN 1 AND {LAST_ID}",
        # Parents are older than their children, so there is no circle of them.
        "typeof(parent_id) NOT IN ('null', 'integer') OR parent_id >= id",
        "typeof(active_child) NOT IN ('null', 'integer')",
    ]


def _no_time(name: str) -> str:
    return f"typeof({name}) <> 'real' OR {name} NOT BETWEEN 0 AND {LAST_SECOND}"


def _no_object(name: str) -> str:
    return (
        f"typeof({name}) <> 'text' OR "
        f"{name} <> '{{}}' AND (NOT json_valid({name}) OR json_type({name}) <> 'object')"
    )
