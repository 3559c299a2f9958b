"""Replies whose process died while it wrote them."""

from __future__ import annotations

import sqlite3

from tchat.sessions.database import Database
from tchat.sessions.process_locks import ProcessLocks
from tchat.sessions.records import Message, Status
from tchat.sessions.serialization import to_message


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
    """The row, interrupted; None when it was deleted or taken up by a writer meanwhile."""
    row: sqlite3.Row | None = connection.execute(
        """
        UPDATE messages SET status = ?, writer = ''
        WHERE id = ? AND status = ? AND writer = ? RETURNING *
        """,
        (Status.INTERRUPTED, number, Status.STREAMING, writer),
    ).fetchone()
    return row
