"""Open the database file: create, check, salvage and migrate it."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tchat.errors import StorageError
from tchat.paths import private_file
from tchat.sessions import integrity, salvage
from tchat.sessions.database import Database, DatabaseDamaged
from tchat.sessions.process_locks import ProcessLocks
from tchat.sessions.records import Message, Status
from tchat.sessions.schema import migrate
from tchat.sessions.serialization import to_message


@dataclass(frozen=True, slots=True)
class OpenedDatabase:
    """An open, checked and migrated database.

    ``notices`` are lines for the user, mostly none; ``recovered`` are the replies that were found
    unfinished, their processes dead.
    """

    database: Database
    locks: ProcessLocks
    notices: tuple[str, ...]
    recovered: tuple[Message, ...]


def open_database(path: Path, locks: ProcessLocks | None = None) -> OpenedDatabase:
    """Open ``path``, creating it if absent. Checks and migrations run one process at a time.

    Args:
        path: The file.
        locks: Of this process, where it had the file open before.

    Raises:
        StorageError: It cannot be used.
    """
    path = private_file(path.absolute()).resolve()
    locks = locks or ProcessLocks(path)
    try:
        with locks.gate():
            database, notices = _sound(path, locks)
            try:
                database.make_durable()
                if backup := migrate(database):
                    notices.append(
                        f"the session database was upgraded; a copy is {backup.name}, "
                        "which `tchat sessions rm --backups` deletes"
                    )
                    with suppress(StorageError):  # no room: the next upgrade does it
                        database.vacuum()
                locks.register()
                recovered = recover(database, locks)
            except BaseException:
                database.close()
                raise
    except BaseException:
        locks.close()
        raise
    return OpenedDatabase(database, locks, tuple(notices), tuple(recovered))


def _sound(path: Path, locks: ProcessLocks) -> tuple[Database, list[str]]:
    """Open and check the file; returns a notice if a damaged file was replaced."""
    database = Database(path)
    try:
        integrity.check(database, rows=not locks.is_file_known())
    except DatabaseDamaged as damage:
        database.close()
        if locks.live_tokens():
            raise StorageError(
                damage.message, "close every other tchat and start again: then it is salvaged"
            ) from damage
        notice = salvage.replace_damaged(path)
        return Database(path), [notice]
    except BaseException:
        database.close()
        raise
    return database, []


def recover(database: Database, locks: ProcessLocks) -> list[Message]:
    """Mark streaming replies of dead processes as interrupted. Call it inside the gate.

    Returns:
        Those replies, with the text that they had last.
    """
    living = locks.live_tokens() | {locks.token}
    with database.reading() as connection:
        streaming = connection.execute(
            "SELECT id, writer FROM messages WHERE status = ?", (Status.STREAMING,)
        ).fetchall()
    dead = [row for row in streaming if row["writer"] not in living]
    if not dead:
        return []
    with database.writing() as connection:
        rows = [_interrupt(connection, row["id"], row["writer"]) for row in dead]
    return [to_message(row) for row in rows if row is not None]


def _interrupt(connection: sqlite3.Connection, number: int, writer: str) -> sqlite3.Row | None:
    """Mark the row as interrupted; None if it was deleted or ended meanwhile."""
    row: sqlite3.Row | None = connection.execute(
        """
        UPDATE messages SET status = ?, writer = ''
        WHERE id = ? AND status = ? AND writer = ? RETURNING *
        """,
        (Status.INTERRUPTED, number, Status.STREAMING, writer),
    ).fetchone()
    return row
