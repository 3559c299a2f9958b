"""The tables, as ordered migrations, and the check that tchat wrote a file.

The file's ``user_version`` counts the migrations that were applied.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tchat.errors import StorageError
from tchat.private_files import private_file
from tchat.sessions.database import Database, DatabaseDamaged, connect, schema_writable
from tchat.sessions.records import LAST_ID, LAST_SECOND
from tchat.translation import tr

APPLICATION_ID = 0x74636874  # "tcht": tells our file from another program's

_TABLES = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    """
    CREATE TABLE sessions (
        id          TEXT PRIMARY KEY NOT NULL,
        title       TEXT NOT NULL,
        system      TEXT NOT NULL,
        settings    TEXT NOT NULL,  -- JSON
        created_at  REAL NOT NULL,
        updated_at  REAL NOT NULL,
        active_root INTEGER         -- the first message of the active path
    )
    """,
    # AUTOINCREMENT: the id of a deleted message stays free for its undo. Pointers to active
    # children are kept by message_tree.py: a cascade ends at SQLite's trigger depth of 1000.
    """
    CREATE TABLE messages (
        id            INTEGER PRIMARY KEY AUTOINCREMENT,
        session_id    TEXT NOT NULL REFERENCES sessions (id),
        parent_id     INTEGER REFERENCES messages (id),
        active_child  INTEGER,
        role          TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
        text          TEXT NOT NULL,
        reasoning     TEXT NOT NULL,
        status        TEXT NOT NULL
                      CHECK (status IN ('streaming', 'done', 'stopped', 'interrupted')),
        created_at    REAL NOT NULL,
        model         TEXT NOT NULL,
        model_sha256  TEXT NOT NULL,
        quantization  TEXT NOT NULL,
        template_hash TEXT NOT NULL,
        sampling      TEXT NOT NULL,  -- JSON
        usage         TEXT NOT NULL,  -- JSON
        timings       TEXT NOT NULL,  -- JSON
        finish_reason TEXT NOT NULL,
        writer        TEXT NOT NULL   -- the process that streams it, see writers.py
    )
    """,
    "CREATE INDEX messages_of_session ON messages (session_id)",
    "CREATE INDEX messages_of_parent ON messages (parent_id)",
    "CREATE INDEX messages_streaming ON messages (writer) WHERE status = 'streaming'",
    "CREATE INDEX sessions_by_update ON sessions (updated_at)",
)

# A full-text index of trigrams; dropped by _PLAIN.
_SEARCH = (
    "CREATE VIEW searchable AS SELECT id, text FROM messages WHERE status <> 'streaming'",
    """
    CREATE VIRTUAL TABLE search_index USING fts5 (
        text, content = 'searchable', content_rowid = 'id',
        tokenize = 'trigram', detail = none, columnsize = 0
    )
    """,
    """
    CREATE TRIGGER index_added AFTER INSERT ON messages WHEN new.status <> 'streaming' BEGIN
        INSERT INTO search_index (rowid, text) VALUES (new.id, new.text);
    END
    """,
    """
    CREATE TRIGGER index_removed AFTER DELETE ON messages WHEN old.status <> 'streaming' BEGIN
        INSERT INTO search_index (search_index, rowid, text) VALUES ('delete', old.id, old.text);
    END
    """,
    """
    CREATE TRIGGER index_changed AFTER UPDATE OF text, status ON messages
    WHEN old.status <> 'streaming' OR new.status <> 'streaming' BEGIN
        INSERT INTO search_index (search_index, rowid, text)
            SELECT 'delete', old.id, old.text WHERE old.status <> 'streaming';
        INSERT INTO search_index (rowid, text)
            SELECT new.id, new.text WHERE new.status <> 'streaming';
    END
    """,
    "INSERT INTO search_index (search_index) VALUES ('rebuild')",
)

# A pinned message stays in the context window, whatever leaves it.
_PINS = ("ALTER TABLE messages ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",)

# What the user made of replies, for the judge to learn from. It stands in the messages, so that it
# goes, comes back, is exported and salvaged with them.
_JUDGED = (
    "ALTER TABLE messages ADD COLUMN rating INTEGER NOT NULL DEFAULT 0",  # 1 good, -1 bad
    "ALTER TABLE messages ADD COLUMN picked_at REAL NOT NULL DEFAULT 0",  # of its siblings then
    "ALTER TABLE messages ADD COLUMN by_person INTEGER NOT NULL DEFAULT 0",  # a reply by hand
    "ALTER TABLE messages ADD COLUMN scores TEXT NOT NULL DEFAULT '{}'",  # JSON, by ranker
    """
    CREATE INDEX messages_judged ON messages (id)
    WHERE rating <> 0 OR picked_at <> 0 OR by_person <> 0
    """,
)

# The first bytes, in hexadecimal, of a character that a reply was cut in: a reply that is continued
# goes on behind them.
_UNFINISHED = ("ALTER TABLE messages ADD COLUMN unfinished TEXT NOT NULL DEFAULT ''",)

# Texts are searched as they are: folding and comparing takes 2 to 12 ms for each MB, and the index
# held pieces of deleted texts.
_PLAIN = (
    "DROP TRIGGER index_added",
    "DROP TRIGGER index_removed",
    "DROP TRIGGER index_changed",
    "DROP TABLE search_index",
    "DROP VIEW searchable",
)

# Which session was used last, whatever the clock said: the highest number.
_USED = (
    "ALTER TABLE sessions ADD COLUMN used INTEGER NOT NULL DEFAULT 0",
    """
    UPDATE sessions SET used = placed.place FROM (
        SELECT id, row_number() OVER (ORDER BY updated_at, id) AS place FROM sessions
    ) AS placed WHERE placed.id = sessions.id
    """,
    "DROP INDEX sessions_by_update",
    "CREATE INDEX sessions_by_use ON sessions (used, updated_at)",
)

# What replies called, and what became of it. The constraint on roles is widened where it stands, as
# SQLite documents it: the table stays on its pages, which a salvage knows, and nothing is copied.
_TOOLS = (
    "PRAGMA writable_schema = ON",
    """
    UPDATE sqlite_master SET sql = replace(sql, 'assistant'')', 'assistant'', ''tool'')')
    WHERE type = 'table' AND name = 'messages'
    """,
    "PRAGMA writable_schema = RESET",
    "ALTER TABLE messages ADD COLUMN tool_calls TEXT NOT NULL DEFAULT '[]'",  # JSON
    "ALTER TABLE messages ADD COLUMN tool_outcome TEXT NOT NULL DEFAULT ''",  # JSON, of a result
)

# What stands for personal data in texts of a session that leave this machine.
_PLACEHOLDERS = ("ALTER TABLE sessions ADD COLUMN placeholders TEXT NOT NULL DEFAULT '{}'",)  # JSON

MIGRATIONS = (_TABLES, _SEARCH, _PINS, _JUDGED, _UNFINISHED, _PLAIN + _USED, _TOOLS, _PLACEHOLDERS)
CURRENT = len(MIGRATIONS)


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
_TOOL_COLUMNS = ("tool_calls", "tool_outcome")


def statements(version: int, target: int) -> Iterator[str]:
    """What brings the tables from one version to another."""
    # What a new file would make and drop again is left out.
    passing = (*_SEARCH, *_PLAIN) if version == 0 and target >= 6 else ()
    for migration in MIGRATIONS[version:target]:
        yield from (each for each in migration if each not in passing)


def migrate(database: Database, target: int = CURRENT) -> Path | None:
    """Bring the tables to version ``target`` in one transaction; returns the backup, if any.

    Raises:
        StorageError: The file is of a newer tchat, or of another program.
    """
    with database.reading() as connection:
        if version_of(connection, database.path) == target:
            return None
    with database.writing() as connection:
        version = version_of(connection, database.path)  # again: now nobody else can write
        backup = _back_up(database, version) if version else None
        with schema_writable(connection):
            for statement in statements(version, target):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {target}")
    return backup


def version_of(connection: sqlite3.Connection, path: Path | None) -> int:
    """The version of the tables; 0 for a new file."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if owner != APPLICATION_ID and not (empty and version == 0):
        raise StorageError(
            tr("{path} is the database of another program", path=path),
            tr("move it away, or set TCHAT_HOME to another folder"),
        )
    if version > CURRENT:
        raise StorageError(
            tr(
                "{path} was written by a newer tchat (schema {version}, this one knows {current})",
                path=path,
                version=version,
                current=CURRENT,
            ),
            tr("upgrade tchat, or set TCHAT_HOME to another folder"),
        )
    return version


def _back_up(database: Database, version: int) -> Path | None:
    """Copy the database as it was before the migration; an older copy is replaced."""
    path, key = database.path, database.key()
    if path is None:  # in memory
        return None
    backup = path.with_name(f"{path.name}.backup-v{version}")
    backup.unlink(missing_ok=True)
    # A second connection: SQLite does not copy from the one that holds the write lock.
    with (
        closing(connect(path, key)) as source,
        closing(connect(private_file(backup), key)) as target,
    ):
        source.backup(target)
    return backup


def check(database: Database, *, rows: bool, pages: bool = True) -> None:
    """Look for damage and for what tchat did not make; about 1 ms for each 2 MB in the page cache.

    The tables are compared first, before any statement runs that could call on a foreign view,
    trigger or constraint. With ``pages`` the structure of each is checked, with ``rows`` the value
    of every column, which takes as long again.

    Raises:
        DatabaseDamaged: It is not a sound database, or not tchat's.
        StorageError: It is another program's or of a newer tchat, or cannot be read at all.
    """
    with database.reading() as connection:
        version = version_of(connection, database.path)
        if _tables(connection) != _expected(version):
            raise _damaged(
                database, tr("it holds tables, views or triggers that tchat did not make")
            )
        if pages:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise _damaged(database, verdict)
        if rows and version and (problem := _wrong_row(connection)):
            raise _damaged(database, problem)


def _damaged(database: Database, reason: str) -> DatabaseDamaged:
    return DatabaseDamaged(
        tr("the session database {path} is damaged: {reason}", path=database.path, reason=reason)
    )


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
    with closing(connect(None, defensive=False)) as own:
        for statement in statements(0, version):
            own.execute(statement)
        return _tables(own)


def _wrong_row(connection: sqlite3.Connection) -> str:
    """Why a row was not written by tchat; empty if all were."""
    names = {row[1] for row in connection.execute("PRAGMA table_info(messages)")}
    queries = {
        "sessions": _session_faults(has_placeholders=_has_placeholders(connection)),
        "messages": _message_faults(names),
        "sqlite_sequence": [f"typeof(seq) <> 'integer' OR seq > {LAST_ID}"],
    }
    for table, faults in queries.items():
        query = f"SELECT rowid FROM {table} WHERE {' OR '.join(faults)} LIMIT 1"  # noqa: S608
        if row := connection.execute(query).fetchone():
            return tr("row {row} of {table} is not one that tchat wrote", row=row[0], table=table)
    if row := connection.execute("PRAGMA foreign_key_check").fetchone():
        return tr("row {row} of {table} belongs to nothing", row=row[1], table=row[0])
    if row := connection.execute(_STRANGERS).fetchone():
        return tr("message {row} belongs to another session than what leads to it", row=row[0])
    return "" if _is_utf8(connection, names) else tr("a text in it is not UTF-8")


def _is_utf8(connection: sqlite3.Connection, names: set[str]) -> bool:
    """Whether every text is UTF-8: SQL checks only its type."""
    has_placeholders = _has_placeholders(connection)
    columns = {
        "sessions": "id, title, system, settings" + ", placeholders" * has_placeholders,
        "messages": ", ".join(
            name for name in (*_TEXTS, *_OBJECTS, *_TOOL_COLUMNS) if name in names
        ),
    }
    for table, texts in columns.items():
        try:
            for _ in connection.execute(f"SELECT {texts} FROM {table}"):  # noqa: S608 - names
                pass
        except connection.OperationalError as error:
            if "decode to UTF-8" in str(error):
                return False
            raise
    return True


def _has_placeholders(connection: sqlite3.Connection) -> bool:
    return any(
        row[1] == "placeholders" for row in connection.execute("PRAGMA table_info(sessions)")
    )


def _session_faults(*, has_placeholders: bool) -> list[str]:
    return [
        *(f"typeof({name}) <> 'text'" for name in ("id", "title", "system")),
        *(_no_time(name) for name in ("created_at", "updated_at")),
        *(_no_object(name) for name in ("settings", *("placeholders",) * has_placeholders)),
        "typeof(active_root) NOT IN ('null', 'integer')",
    ]


def _message_faults(names: set[str]) -> list[str]:
    numbers = names & {"pinned", "rating", "by_person"}
    return [
        *(f"typeof({name}) <> 'text'" for name in _TEXTS if name in names),
        *(_no_object(name) for name in _OBJECTS if name in names),
        *((_no_array("tool_calls"), _no_outcome("tool_outcome")) if "tool_calls" in names else ()),
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


def _no_array(name: str) -> str:
    return (
        f"typeof({name}) <> 'text' OR "
        f"{name} <> '[]' AND (NOT json_valid({name}) OR json_type({name}) <> 'array')"
    )


def _no_outcome(name: str) -> str:
    return f"{name} <> '' AND ({_no_object(name)})"
