"""Whole sessions in SQL: find, read, store, merge, delete and restore them; their ids.

Functions that write expect to be inside a transaction. An id is short, unique, and sorts by the
time at which the session was made.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

from tchat.errors import UsageError
from tchat.humanize import listed
from tchat.sanitize import single_line
from tchat.sessions import message_tree
from tchat.sessions.records import Deletion, ImportedSession, Message, Session, SessionTree, Status
from tchat.sessions.serialization import (
    EMPTY_MESSAGE,
    INSERT_MESSAGE,
    INSERT_SESSION,
    record_values,
    storable,
    to_message,
    to_row,
    to_session,
)
from tchat.translation import tr

_INSERT_OR_UPDATE_SESSION = f"""
    {INSERT_SESSION}
    ON CONFLICT (id) DO UPDATE SET title = :title, system = :system, settings = :settings,
        updated_at = max(updated_at, :updated_at)
"""

_SAME = ("session_id", "parent_id", "role", "created_at", "text", "reasoning", "tool_calls")


_NAMED = 4  # sessions that an error names
_SELECTIVE = 3  # characters of an id, from which on an error names those that have them
# Crockford's base 32: no i, l, o, u, so that an id can be read aloud and typed.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 10
SHORT_ID = 6  # characters at the beginning or the end of an id that find a session
_TIME_CHARACTERS = 8  # 40 bits of milliseconds: until 2059
_ORIGIN = ALPHABET[-1]  # no session that is made before 2058 has an id that begins so
_EPOCH = 1_735_689_600.0  # 2025-01-01 UTC


def free_id(connection: sqlite3.Connection, preferred: str) -> str:
    """``preferred`` when it is an id that no session has, else a fresh one."""
    query = "SELECT 1 FROM sessions WHERE id = ?"
    while not is_id(preferred) or connection.execute(query, (preferred,)).fetchone():
        preferred = new_id(time.time())
    return preferred


def read(connection: sqlite3.Connection, session_id: str) -> SessionTree:
    """The session with all its messages."""
    session = by_id(connection, session_id)
    rows = _rows(connection, session_id)
    active = message_tree.active(connection, session_id)
    return SessionTree(session=session, messages=tuple(map(to_message, rows)), active=active)


def insert(
    connection: sqlite3.Connection, session: Session, messages: Iterable[tuple[Message, bool]]
) -> ImportedSession:
    """Store a session under its id where that is free; what was streaming is interrupted.

    ``messages`` are parents first; with each, whether it is the active one among its siblings. A
    time of 0 is not known: it becomes that of the session, or the present.
    """
    session_id, now = free_id(connection, session.id), time.time()
    times = {
        "created_at": session.created_at or now,
        "updated_at": session.updated_at or now,
    }
    row = record_values(session) | times | {"id": session_id, "active_root": None, "used": 0}
    connection.execute(INSERT_SESSION, to_row(row))
    new_ids: dict[int | None, int | None] = {None: None}
    for message, active in messages:
        values = _insertable(message, session_id, new_ids[message.parent_id])
        values["created_at"] = message.created_at or times["created_at"]
        new_ids[message.id] = message_tree.insert(connection, values)
        if active:
            message_tree.set_active(connection, values | {"id": new_ids[message.id]})
    message_tree.repair_pointers(connection, session_id)
    stored = by_id(connection, session_id)
    return ImportedSession(session=stored, added=len(new_ids) - 1, is_new=True)


def import_session(
    connection: sqlite3.Connection, session: Session, messages: Iterable[tuple[Message, bool]]
) -> ImportedSession:
    """Store a session, as `insert`; one that is there gets what it lacks of it.

    It is there if one has its id and its time; of one from another program the id says enough.
    """
    found = connection.execute(
        "SELECT created_at FROM sessions WHERE id = ?", (storable(session.id),)
    ).fetchone()
    is_here = found is not None and (
        is_of_origin(session.id) or found["created_at"] == session.created_at
    )
    if not is_here:
        return insert(connection, session, messages)
    new_ids: dict[int | None, int | None] = {None: None}
    matched: set[int] = set()
    added, now = 0, time.time()
    for message, _ in messages:
        values = _insertable(message, session.id, new_ids[message.parent_id])
        same = _same(connection, values, matched)
        if same is None:
            values["created_at"] = message.created_at or session.created_at or now
            same = message_tree.insert(connection, values)
            added += 1
        matched.add(same)
        new_ids[message.id] = same
    message_tree.repair_pointers(connection, session.id)
    return ImportedSession(session=by_id(connection, session.id), added=added, is_new=False)


def _same(
    connection: sqlite3.Connection, values: Mapping[str, Any], others: Set[int]
) -> int | None:
    """The message at the same position with the same text, none of ``others``; None without any."""
    # First messages are found by their session: those of all sessions have the same parent, none.
    is_first = values["parent_id"] is None
    rows = connection.execute(
        f"""
        SELECT id FROM messages
        WHERE {"+" if is_first else ""}parent_id IS :parent_id
            AND {"" if is_first else "+"}session_id = :session_id AND role = :role
            AND :created_at IN (created_at, 0.0) AND text = :text AND reasoning = :reasoning
            AND tool_calls = :tool_calls
        ORDER BY id
        """,  # noqa: S608 - the signs say which index is used
        to_row({name: values[name] for name in _SAME}),
    )
    return next((row["id"] for row in rows if row["id"] not in others), None)


def copy(connection: sqlite3.Connection, source: SessionTree, last_id: int) -> None:
    """Store ``source`` in an empty database as it is; new messages get ids above ``last_id``."""
    row = record_values(source.session) | {"active_root": None, "used": 0}
    connection.execute(INSERT_SESSION, to_row(row))
    for message in source.messages:
        values = {**EMPTY_MESSAGE, **record_values(message)}
        message_tree.insert(connection, values)
        if message.id in source.active:
            message_tree.set_active(connection, values)
    message_tree.set_last_id(connection, last_id)


def merge(
    connection: sqlite3.Connection, source: SessionTree, known: Set[int], writer: str
) -> Session:
    """Bring a session to the state of ``source``, which went on from a copy of it.

    ``known`` are the messages of the copy at its beginning. Others are added, under their ids where
    those are free; what ``source`` no longer has of these is deleted. Those that are being written
    belong to ``writer``.
    """
    session_id = source.session.id
    row = to_row(record_values(source.session) | {"active_root": None, "used": 0})
    connection.execute(_INSERT_OR_UPDATE_SESSION, row)
    stored = {each["id"]: to_message(each) for each in _rows(connection, session_id)}
    new_ids: dict[int | None, int | None] = {None: None}
    for message in source.messages:
        if message.id in known and message.id in stored:
            new_ids[message.id] = message.id
            if message != stored[message.id]:
                message_tree.finish(
                    connection, message.id, record_values(message) | _writer(message, writer)
                )
                message_tree.mark(connection, message.id, record_values(message))
        else:
            parent_id = new_ids[message.parent_id]
            values = _insertable(message, session_id, parent_id)
            values |= {"status": message.status} | _writer(message, writer)
            if message.id > (parent_id or 0):  # parents come first in the order of ids
                values["id"] = message_tree.free_id(connection, message.id)
            new_ids[message.id] = message_tree.insert(connection, values)
    for doomed in known & stored.keys() - new_ids.keys():
        if connection.execute("SELECT 1 FROM messages WHERE id = ?", (doomed,)).fetchone():
            message_tree.remove(connection, doomed)
    for active in source.active:
        message_tree.set_active(connection, message_tree.row(connection, new_ids[active] or 0))
    message_tree.repair_pointers(connection, session_id)
    message_tree.touch(connection, session_id, source.session.updated_at)
    return by_id(connection, session_id)


def _writer(message: Message, writer: str) -> dict[str, str]:
    return {"writer": writer if message.status == Status.STREAMING else ""}


def _insertable(message: Message, session_id: str, parent_id: int | None) -> dict[str, Any]:
    streaming = message.status == Status.STREAMING
    return {
        **EMPTY_MESSAGE,
        **record_values(message),
        "id": None,
        "session_id": session_id,
        "parent_id": parent_id,
        "status": Status.INTERRUPTED if streaming else message.status,
    }


def delete(connection: sqlite3.Connection, session_id: str) -> Deletion:
    """Delete a session with its messages."""
    session = by_id(connection, session_id)
    rows = _rows(connection, session_id)
    pointers = connection.execute(
        "SELECT active_root, used FROM sessions WHERE id = ?", (session_id,)
    ).fetchone()
    connection.execute("DELETE FROM messages WHERE session_id = ?", (session_id,))
    connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
    return Deletion(session=session, root=None, rows=tuple(map(dict, rows)), **dict(pointers))


def delete_message(connection: sqlite3.Connection, message_id: int) -> Deletion:
    """Delete a message with all below it."""
    session = by_id(connection, message_tree.row(connection, message_id)["session_id"])
    rows = tuple(map(dict, message_tree.remove(connection, message_id)))
    return Deletion(session=session, root=message_id, rows=rows, active_root=None, used=0)


def restore(connection: sqlite3.Connection, deleted: Deletion) -> Session:
    """Put back what was deleted, under its old ids, and on the active path."""
    if deleted.root is not None:
        by_id(connection, deleted.session.id)
    try:
        if deleted.root is None:
            pointers = {"active_root": deleted.active_root, "used": deleted.used}
            row = record_values(deleted.session) | pointers
            connection.execute(INSERT_SESSION, to_row(row))
        connection.executemany(INSERT_MESSAGE, deleted.rows)
    except connection.IntegrityError as error:
        raise UsageError(
            tr("this cannot be restored: it is there again, or what it belonged to is gone")
        ) from error
    if deleted.root is not None:
        message_tree.set_active(connection, message_tree.row(connection, deleted.root))
    return by_id(connection, deleted.session.id)


def _rows(connection: sqlite3.Connection, session_id: str) -> list[sqlite3.Row]:
    return connection.execute(
        "SELECT * FROM messages WHERE session_id = ? ORDER BY id", (session_id,)
    ).fetchall()


def list_sessions(connection: sqlite3.Connection, limit: int | None = None) -> list[Session]:
    """Sessions, the one used last first."""
    rows = connection.execute(
        """
        SELECT s.*, (SELECT count(*) FROM messages WHERE session_id = s.id) AS messages
        FROM sessions s ORDER BY used DESC, updated_at DESC, id DESC LIMIT ?
        """,
        (-1 if limit is None else limit,),
    )
    return [to_session(row) for row in rows]


def by_id(connection: sqlite3.Connection, session_id: str) -> Session:
    """The session of exactly this id; `UsageError` when there is none."""
    row = connection.execute(
        """
        SELECT s.*, (SELECT count(*) FROM messages WHERE session_id = s.id) AS messages
        FROM sessions s WHERE id = ?
        """,
        (storable(session_id),),
    ).fetchone()
    if row is None:
        raise _unknown(connection, session_id)
    return to_session(row)


def by_id_prefix(connection: sqlite3.Connection, piece: str) -> Session:
    """The session whose id is ``piece``, or the only one that begins or ends with it.

    A piece has `SHORT_ID` characters or more. Among many random ids, some begin or end with any
    shorter word or number, which the user meant for something else.
    """
    part = storable(piece).strip().lower()
    ids = [row["id"] for row in connection.execute("SELECT id FROM sessions ORDER BY id DESC")]
    if part in ids:
        return by_id(connection, part)
    # The first characters tell days apart, the last ones two chats of the same minute.
    matches = _with_piece(ids, part) if len(part) >= SHORT_ID else []
    if not matches:
        raise _unknown(connection, piece)
    if len(matches) > 1:
        named = listed([*_named(connection, matches[:_NAMED]), *matches[_NAMED:]], _NAMED)
        raise UsageError(
            tr("{matches} sessions match {piece!r}", matches=len(matches), piece=piece),
            tr("type more of: {named}", named=named),
        )
    return by_id(connection, matches[0])


def _with_piece(ids: Sequence[str], part: str) -> list[str]:
    """The ids that begin with ``part``; without any, those that end with it."""
    begun = [name for name in ids if part and name.startswith(part)]
    return begun or [name for name in ids if part and name.endswith(part)]


def _unknown(connection: sqlite3.Connection, piece: str) -> UsageError:
    import difflib

    message = tr("no session {piece!r}", piece=piece)
    query = "SELECT id FROM sessions ORDER BY used DESC, updated_at DESC, id DESC"
    latest = [row["id"] for row in connection.execute(query)]
    if not latest:
        return UsageError(message, tr("there is no session yet"))
    part = piece.strip().lower()
    near = _with_piece(latest, part)[:_NAMED] if len(part) >= _SELECTIVE else []
    near = near or difflib.get_close_matches(part, latest, n=_NAMED)
    if near:
        return UsageError(
            message, tr("did you mean {named}?", named=", ".join(_named(connection, near)))
        )
    return UsageError(
        message, tr("the latest are {named}", named=", ".join(_named(connection, latest[:_NAMED])))
    )


def _named(connection: sqlite3.Connection, ids: Sequence[str]) -> list[str]:
    """Ids with the beginning of their titles."""
    sessions = (by_id(connection, name) for name in ids)
    titles = ((each.id, single_line(each.title, 30)) for each in sessions)
    return [f"{name} ({title})" if title else name for name, title in titles]


def new_id(now: float) -> str:
    """A fresh id for a session made at ``now`` (seconds since the epoch).

    Eight characters of time, then two at random. The caller tries again when a session has it.
    """
    milliseconds = max(0, int((now - _EPOCH) * 1000))
    time_part = "".join(
        ALPHABET[milliseconds >> 5 * digit & 31] for digit in reversed(range(_TIME_CHARACTERS))
    )
    noise = os.urandom(LENGTH - _TIME_CHARACTERS)
    random_part = "".join(ALPHABET[byte & 31] for byte in noise)
    return time_part + random_part


def id_of_origin(origin: str) -> str:
    """The id of a session that comes from another program: always the same for one ``origin``.

    It says nothing of the time. Of 10,000 sessions, two have the same id once in a million times.
    """
    import hashlib  # 3 ms that only an import takes

    number = int.from_bytes(hashlib.sha256(storable(origin).encode()).digest()[:8], "big")
    digits = (ALPHABET[number >> 5 * digit & 31] for digit in range(LENGTH - 1))
    return _ORIGIN + "".join(digits)


def is_of_origin(session_id: str) -> bool:
    """Whether a session came from another program."""
    return session_id.startswith(_ORIGIN)


def is_id(text: str) -> bool:
    """Whether ``text`` is written like an id; it need not exist."""
    return len(text) == LENGTH and set(text) <= set(ALPHABET)


def placeholders(connection: sqlite3.Connection, session_id: str) -> dict[str, str]:
    """What stands for personal data in texts of a session that left this machine."""
    by_id(connection, session_id)
    (text,) = connection.execute(
        "SELECT placeholders FROM sessions WHERE id = ?", (session_id,)
    ).fetchone()
    found = json.loads(text)
    return {name: value for name, value in found.items() if isinstance(value, str)}


def keep_placeholders(
    connection: sqlite3.Connection, session_id: str, table: Mapping[str, str]
) -> None:
    """Keep what `placeholders` gives."""
    by_id(connection, session_id)
    text = storable(json.dumps(dict(table), ensure_ascii=False))
    connection.execute("UPDATE sessions SET placeholders = ? WHERE id = ?", (text, session_id))


def rewrite(
    connection: sqlite3.Connection, session_id: str, change: Callable[[Message], Message]
) -> None:
    """Change texts, reasoning and calls of a session's messages where they stand."""
    by_id(connection, session_id)
    rows = connection.execute(
        "SELECT * FROM messages WHERE session_id = ? ORDER BY id", (session_id,)
    ).fetchall()
    for row in rows:
        before = to_message(row)
        if before.status is Status.STREAMING:
            raise UsageError(tr("a reply of this session is being written"), tr("wait for its end"))
        after = change(before)
        message_tree.rewrite(connection, before, after)


def change(connection: sqlite3.Connection, session_id: str, **values: Any) -> Session:
    """Change the title, the system prompt or the settings of a session."""
    unchanged = {"title": None, "system": None, "settings": None}
    by_id(connection, session_id)
    connection.execute(
        """
        UPDATE sessions SET title = coalesce(:title, title),
            system = coalesce(:system, system), settings = coalesce(:settings, settings)
        WHERE id = :id
        """,
        to_row(unchanged | values | {"id": session_id}),
    )
    return by_id(connection, session_id)
