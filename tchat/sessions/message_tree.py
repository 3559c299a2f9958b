"""The messages of a session as a tree, in SQL.

Each message points to its parent and to its active child, the session to its active first
message; following the active ones gives the path that is shown and sent to the model. Functions
that write expect to be inside a transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from tchat.errors import UsageError
from tchat.sessions.records import Message
from tchat.sessions.serialization import INSERT_MESSAGE, to_row
from tchat.translation import tr

_MARKS = ("pinned", "rating", "picked_at", "by_person", "scores")
_REPLY = (
    *("text", "reasoning", "status", "writer", "model", "model_sha256", "quantization"),
    *("template_hash", "sampling", "usage", "timings", "finish_reason", "unfinished"),
    *("tool_calls", "tool_outcome"),
)


# The ids of the active path, from the first message down; reads 10,000 messages in some 15 ms.
_PATH = """
    WITH RECURSIVE path (id, active_child, depth) AS (
        SELECT m.id, m.active_child, 0 FROM sessions s
        JOIN messages m ON m.id = s.active_root AND m.parent_id IS NULL
        WHERE s.id = ?
        UNION ALL
        SELECT m.id, m.active_child, path.depth + 1 FROM path
        JOIN messages m ON m.id = path.active_child AND m.parent_id = path.id
    )
"""


def row(connection: sqlite3.Connection, message_id: int) -> sqlite3.Row:
    """The row of one message; `UsageError` when there is none."""
    found: sqlite3.Row | None = connection.execute(
        "SELECT * FROM messages WHERE id = ?", (message_id,)
    ).fetchone()
    if found is None:
        raise UsageError(
            tr("no message {message_id}", message_id=message_id),
            tr("it was deleted, or belongs to another store"),
        )
    return found


def insert(connection: sqlite3.Connection, values: Mapping[str, Any]) -> int:
    """Insert one message, without changing pointers, and return its id."""
    return connection.execute(INSERT_MESSAGE, to_row(values)).lastrowid or 0


def free_id(connection: sqlite3.Connection, preferred: int) -> int | None:
    """``preferred`` when no message has that id; None lets SQLite choose."""
    exists = connection.execute("SELECT 1 FROM messages WHERE id = ?", (preferred,)).fetchone()
    return None if exists else preferred


def last_id(connection: sqlite3.Connection) -> int:
    """The highest id that a message ever had; 0 when there was none."""
    query = "SELECT max(seq) FROM sqlite_sequence WHERE name = 'messages'"
    return connection.execute(query).fetchone()[0] or 0


def set_last_id(connection: sqlite3.Connection, message_id: int) -> None:
    """Give the next message an id above ``message_id``."""
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'messages'")
    connection.execute("INSERT INTO sqlite_sequence VALUES ('messages', ?)", (message_id,))


def branch(
    connection: sqlite3.Connection, session_id: str, last: int | None = None
) -> list[sqlite3.Row]:
    """The active path from the first message to the last, or the ``last`` so many of it."""
    found = connection.execute(
        _PATH  # noqa: S608 - a constant
        + "SELECT messages.* FROM path JOIN messages USING (id) ORDER BY depth DESC LIMIT ?",
        (session_id, -1 if last is None else last),
    ).fetchall()
    return found[::-1]


def branch_ids(connection: sqlite3.Connection, session_id: str) -> list[int]:
    """The ids of the active path, from the first message to the last."""
    query = _PATH + "SELECT id FROM path ORDER BY depth"  # noqa: S608 - a constant
    return [number for (number,) in connection.execute(query, (session_id,))]


def branch_models(connection: sqlite3.Connection, session_id: str) -> list[str]:
    """The models that wrote the active path, in the order of their first message."""
    query = (
        _PATH  # noqa: S608 - a constant
        + "SELECT model FROM path JOIN messages USING (id) GROUP BY model ORDER BY min(depth)"
    )
    return [model for (model,) in connection.execute(query, (session_id,))]


def next_messages(
    connection: sqlite3.Connection, session_id: str, after: int, most: int
) -> list[sqlite3.Row]:
    """The next messages of a session by id; ``active`` tells the active one among siblings."""
    return connection.execute(
        """
        SELECT m.*, m.id IS iif(m.parent_id IS NULL, s.active_root, p.active_child) AS active
        FROM messages m JOIN sessions s ON s.id = m.session_id
        LEFT JOIN messages p ON p.id = m.parent_id
        WHERE m.session_id = ? AND m.id > ? ORDER BY m.id LIMIT ?
        """,
        (session_id, after, most),
    ).fetchall()


def last_model(connection: sqlite3.Connection, session_id: str, *, is_own: bool = False) -> str:
    """The model of the last message on the active path that names one; empty without any.

    With ``is_own`` of the replies that tchat wrote, which have their sampling.
    """
    found = connection.execute(
        _PATH  # noqa: S608 - a constant
        + """
        SELECT model FROM path JOIN messages USING (id)
        WHERE model != '' AND (? OR sampling != '{}') ORDER BY depth DESC LIMIT 1
        """,
        (session_id, not is_own),
    ).fetchone()
    return found[0] if found else ""


def active_reply(
    connection: sqlite3.Connection, session_id: str, message_id: int
) -> sqlite3.Row | None:
    """The message that follows another one on the active path."""
    found: sqlite3.Row | None = connection.execute(
        _PATH  # noqa: S608 - a constant
        + "SELECT messages.* FROM path JOIN messages USING (id) WHERE parent_id = ?",
        (session_id, message_id),
    ).fetchone()
    return found


def siblings(connection: sqlite3.Connection, message_id: int) -> list[sqlite3.Row]:
    """The message and those that answer the same parent, oldest first."""
    message = row(connection, message_id)
    return connection.execute(
        "SELECT * FROM messages WHERE session_id = ? AND parent_id IS ? ORDER BY id",
        (message["session_id"], message["parent_id"]),
    ).fetchall()


def positions(connection: sqlite3.Connection, session_id: str) -> dict[int, tuple[int, int]]:
    """Position and count among siblings, from 1, of messages that have any."""
    found = connection.execute(
        """
        SELECT id, position, count FROM (
            SELECT id, row_number() OVER siblings AS position,
                count(*) OVER (PARTITION BY parent_id) AS count
            FROM messages WHERE session_id = ?
            WINDOW siblings AS (PARTITION BY parent_id ORDER BY id)
        ) WHERE count > 1
        """,
        (session_id,),
    )
    return {number: (position, count) for number, position, count in found}


def active(connection: sqlite3.Connection, session_id: str) -> frozenset[int]:
    """The ids that are the active one among their siblings, on the active path or not."""
    found = connection.execute(
        """
        SELECT active_child FROM messages WHERE session_id = :session AND active_child NOTNULL
        UNION SELECT active_root FROM sessions WHERE id = :session AND active_root NOTNULL
        """,
        {"session": session_id},
    )
    return frozenset(number for (number,) in found)


def set_active(connection: sqlite3.Connection, message: Mapping[str, Any] | sqlite3.Row) -> None:
    """Make ``message`` the active one among its siblings."""
    if message["parent_id"] is None:
        statement = "UPDATE sessions SET active_root = ? WHERE id = ?"
        holder = message["session_id"]
    else:
        statement = "UPDATE messages SET active_child = ? WHERE id = ?"
        holder = message["parent_id"]
    connection.execute(statement, (message["id"], holder))


def ancestry(connection: sqlite3.Connection, message_id: int) -> list[sqlite3.Row]:
    """The message and its ancestors, the root first."""
    row(connection, message_id)
    return connection.execute(
        """
        WITH RECURSIVE up (id, parent_id, height) AS (
            SELECT id, parent_id, 0 FROM messages WHERE id = ?
            UNION ALL
            SELECT m.id, m.parent_id, up.height + 1 FROM up
            JOIN messages m ON m.id = up.parent_id AND m.id < up.id
        )
        SELECT messages.* FROM up JOIN messages ON messages.id = up.id ORDER BY height DESC
        """,
        (message_id,),
    ).fetchall()


def activate(connection: sqlite3.Connection, message_id: int) -> None:
    """Put ``message_id`` on the active path: it and its ancestors become the active ones."""
    for ancestor in ancestry(connection, message_id):
        set_active(connection, ancestor)


def remove(connection: sqlite3.Connection, message_id: int) -> list[sqlite3.Row]:
    """Delete a message and everything below it; returns the rows, parents first.

    The latest sibling becomes the active one.
    """
    top = row(connection, message_id)
    rows = connection.execute(
        """
        WITH RECURSIVE down (id) AS (
            SELECT ? UNION SELECT m.id FROM down JOIN messages m ON m.parent_id = down.id)
        SELECT * FROM messages WHERE id IN (SELECT id FROM down) ORDER BY id
        """,
        (message_id,),
    ).fetchall()
    # Children first: each row is then deleted without one that points to it.
    connection.executemany(
        "DELETE FROM messages WHERE id = ?", [(doomed["id"],) for doomed in reversed(rows)]
    )
    repair_pointers(connection, top["session_id"])
    return rows


def repair_pointers(connection: sqlite3.Connection, session_id: str) -> None:
    """Point every dangling pointer to the latest candidate, if there is one."""
    connection.execute(
        """
        UPDATE sessions SET active_root =
            (SELECT max(id) FROM messages WHERE session_id = sessions.id AND parent_id IS NULL)
        WHERE id = ? AND NOT EXISTS (
            SELECT 1 FROM messages m
            WHERE m.id = active_root AND m.session_id = sessions.id AND m.parent_id IS NULL)
        """,
        (session_id,),
    )
    connection.execute(
        """
        UPDATE messages SET active_child =
            (SELECT max(child.id) FROM messages child WHERE child.parent_id = messages.id)
        WHERE session_id = ? AND NOT EXISTS (
            SELECT 1 FROM messages child
            WHERE child.id = messages.active_child AND child.parent_id = messages.id)
        AND (active_child NOTNULL OR EXISTS (
            SELECT 1 FROM messages child WHERE child.parent_id = messages.id))
        """,
        (session_id,),
    )


def finish(
    connection: sqlite3.Connection, message_id: int, values: Mapping[str, Any]
) -> sqlite3.Row:
    """Set the fields of a reply that ``values`` names, and return the row.

    It belongs to no writer, and ends in no part of a character, unless ``values`` say so.
    """
    _update(connection, message_id, {"writer": "", "unfinished": "", **values}, _REPLY)
    return row(connection, message_id)


def rewrite(connection: sqlite3.Connection, before: Message, after: Message) -> None:
    """Store another text, reasoning and calls of a message, where they differ."""
    values = {
        "text": after.text,
        "reasoning": after.reasoning,
        "tool_calls": after.tool_calls,
        "unfinished": "",
    }
    if (before.text, before.reasoning, before.tool_calls) != (
        after.text,
        after.reasoning,
        after.tool_calls,
    ):
        _update(connection, before.id, values, _REPLY)


def mark(connection: sqlite3.Connection, message_id: int, values: Mapping[str, Any]) -> None:
    """Set the marks of a message that ``values`` names: pin, rating, pick, scores."""
    _update(connection, message_id, values, _MARKS)


def _update(
    connection: sqlite3.Connection,
    message_id: int,
    values: Mapping[str, Any],
    columns: Sequence[str],
) -> None:
    names = [name for name in columns if name in values]
    changes = ", ".join(f"{name} = :{name}" for name in names)
    connection.execute(
        f"UPDATE messages SET {changes} WHERE id = :id",  # noqa: S608 - names of columns
        to_row({name: values[name] for name in names} | {"id": message_id}),
    )


def pick(connection: sqlite3.Connection, message_id: int, now: float) -> None:
    """Mark a message as picked, and its siblings as not picked."""
    for sibling in siblings(connection, message_id):
        mark(connection, sibling["id"], {"picked_at": now if sibling["id"] == message_id else 0.0})


def with_feedback(connection: sqlite3.Connection) -> list[sqlite3.Row]:
    """Messages with feedback by the user, the oldest first."""
    return connection.execute(
        """
        SELECT * FROM messages
        WHERE (rating <> 0 OR picked_at <> 0 OR by_person <> 0) AND status <> 'streaming'
        ORDER BY id
        """
    ).fetchall()


def touch(connection: sqlite3.Connection, session_id: str, now: float) -> None:
    """Mark the session as the last used, even if the clock went back."""
    connection.execute(
        """
        UPDATE sessions SET updated_at = max(updated_at, ?),
            used = (SELECT coalesce(max(used), 0) + 1 FROM sessions)
        WHERE id = ?
        """,
        (now, session_id),
    )
