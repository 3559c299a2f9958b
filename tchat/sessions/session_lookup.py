"""Ids of sessions, and finding sessions: by id or a piece of it, the latest, all of them.

An id is short, unique, and sorts by the time at which the session was made.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence

from tchat.errors import UsageError
from tchat.sessions.records import Session
from tchat.sessions.serialization import storable, to_session

_NAMED = 4  # sessions that an error names
# Crockford's base 32: no i, l, o, u, so that an id can be read aloud and typed.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 10
_TIME_CHARACTERS = 8  # 40 bits of milliseconds: until 2059
_EPOCH = 1_735_689_600.0  # 2025-01-01 UTC


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
    """The session of exactly this id.

    Raises:
        UsageError: There is none.
    """
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

    Raises:
        UsageError: There is none, or more than one.
    """
    wanted = storable(piece).strip().lower()
    ids = [row["id"] for row in connection.execute("SELECT id FROM sessions ORDER BY id DESC")]
    if wanted in ids:
        return by_id(connection, wanted)
    # The first characters tell days apart, the last ones two chats of the same minute.
    matches = [name for name in ids if wanted and name.startswith(wanted)]
    matches = matches or [name for name in ids if wanted and name.endswith(wanted)]
    if not matches:
        raise _unknown(connection, piece)
    if len(matches) > 1:
        named = _named(connection, matches[:_NAMED])
        more = f" and {len(matches) - _NAMED} more" if len(matches) > _NAMED else ""
        raise UsageError(f"{len(matches)} sessions match {piece!r}", f"type more of: {named}{more}")
    return by_id(connection, matches[0])


def _unknown(connection: sqlite3.Connection, piece: str) -> UsageError:
    import difflib

    message = f"no session {piece!r}"
    latest = [row["id"] for row in connection.execute("SELECT id FROM sessions ORDER BY id DESC")]
    if not latest:
        return UsageError(message, "there is no session yet")
    near = difflib.get_close_matches(piece.lower(), latest, n=_NAMED)
    if near:
        return UsageError(message, f"did you mean {_named(connection, near)}?")
    return UsageError(message, f"the latest are {_named(connection, latest[:_NAMED])}")


def _named(connection: sqlite3.Connection, ids: Sequence[str]) -> str:
    """Ids with the beginning of their titles."""
    sessions = [by_id(connection, name) for name in ids]
    titles = [" ".join(session.title.split()) for session in sessions]
    return ", ".join(
        f"{session.id} ({title[:30]})" if title else session.id
        for session, title in zip(sessions, titles, strict=True)
    )


def new_id(now: float) -> str:
    """A fresh id for a session made at ``now`` (seconds since the epoch).

    Eight characters of time, then two at random. The caller tries again when it is taken.
    """
    milliseconds = max(0, int((now - _EPOCH) * 1000))
    time_part = "".join(
        ALPHABET[milliseconds >> 5 * place & 31] for place in reversed(range(_TIME_CHARACTERS))
    )
    noise = os.urandom(LENGTH - _TIME_CHARACTERS)
    random_part = "".join(ALPHABET[byte & 31] for byte in noise)
    return time_part + random_part


def is_id(text: str) -> bool:
    """Whether ``text`` is written like an id; it need not exist."""
    return len(text) == LENGTH and set(text) <= set(ALPHABET)
