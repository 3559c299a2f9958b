"""The tables, as ordered migrations. The file's ``user_version`` counts those applied."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tchat.errors import StorageError
from tchat.paths import private_file
from tchat.sessions.database import Database, connect

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
    "ALTER TABLE messages ADD COLUMN scores TEXT NOT NULL DEFAULT '{}'",  # JSON, by judge
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

MIGRATIONS = (_TABLES, _SEARCH, _PINS, _JUDGED, _UNFINISHED, _PLAIN + _USED)
CURRENT = len(MIGRATIONS)


def statements(version: int, target: int) -> Iterator[str]:
    """What brings the tables from one version to another."""
    # What a new file would make and drop again is left out.
    passing = (*_SEARCH, *_PLAIN) if version == 0 and target >= 6 else ()
    for migration in MIGRATIONS[version:target]:
        yield from (each for each in migration if each not in passing)


def migrate(database: Database, target: int = CURRENT) -> Path | None:
    """Bring the tables to version ``target`` in one transaction.

    Returns:
        The copy of the file that was made before, when there was anything to copy.

    Raises:
        StorageError: The file is of a newer tchat, or of another program.
    """
    with database.reading() as connection:
        if version_of(connection, database.path) == target:
            return None
    with database.writing() as connection:
        version = version_of(connection, database.path)  # again: now nobody else can write
        backup = _back_up(database.path, version) if version and database.path else None
        for statement in statements(version, target):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {target}")
    return backup


def version_of(connection: sqlite3.Connection, path: Path | None) -> int:
    """The version of the tables; 0 for a new file.

    Raises:
        StorageError: The file is of a newer tchat, or of another program.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if owner != APPLICATION_ID and not (empty and version == 0):
        raise StorageError(
            f"{path} is the database of another program",
            "move it away, or set TCHAT_HOME to another folder",
        )
    if version > CURRENT:
        raise StorageError(
            f"{path} was written by a newer tchat (schema {version}, this one knows {CURRENT})",
            "upgrade tchat, or set TCHAT_HOME to another folder",
        )
    return version


def _back_up(path: Path, version: int) -> Path:
    """Copy the database as it was before the migration; an older copy is replaced."""
    backup = path.with_name(f"{path.name}.backup-v{version}")
    backup.unlink(missing_ok=True)
    # A second connection: SQLite does not copy from the one that holds the write lock.
    with (
        closing(connect(path)) as source,
        closing(sqlite3.connect(private_file(backup))) as target,
    ):
        source.backup(target)
    return backup
