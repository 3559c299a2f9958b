"""Salvage a damaged database: rename it, and copy its readable rows into a new one.

Of the file, any part may be unreadable.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from tchat.errors import StorageError
from tchat.private_files import BESIDE, private_file
from tchat.sanitize import single_line
from tchat.sessions import message_tree
from tchat.sessions.database import Database, KeySource, connect, driver_for
from tchat.sessions.records import LAST_ID, LAST_SECOND, Role, Status
from tchat.sessions.schema import migrate
from tchat.sessions.serialization import (
    EMPTY_MESSAGE,
    INSERT_SESSION,
    calls_of,
    outcome_of,
    to_row,
)
from tchat.translation import tr, trn

LONGEST = 60.0  # seconds that reading a damaged file may take
_PAGE = 4096  # SQLite's default size of a page
_LOGS = ("-journal", "-wal")
_COMPANIONS = (*_LOGS, "-shm")
_MOST_PROBES = 1_000_000  # some 10 s
_MOST_NAMED = 5  # titles of sessions in a notice
_ROWS = "SELECT rowid AS number, * FROM {} NOT INDEXED "


class _Saved(NamedTuple):
    sessions: int
    messages: int
    incomplete: tuple[str, ...]  # titles of sessions that miss messages


def replace_damaged(path: Path, encryption: KeySource | None = None) -> str:
    """Replace the file at ``path`` by a new one with its readable rows; keep the damaged one.

    Nobody else may have the file open. Returns a notice for the user.

    Raises:
        StorageError: The new file cannot be written; the damaged one is where it was.
    """
    try:
        return _replace(path, encryption)
    except OSError as error:
        raise StorageError(
            tr(
                "cannot salvage the damaged session database {path}: {reason}",
                path=path,
                reason=error.strerror,
            ),
            tr("free some space or check the permissions"),
        ) from error


def _replace(path: Path, encryption: KeySource | None) -> str:
    fresh = path.with_name(path.name + ".salvaged")
    fresh.unlink(missing_ok=True)
    database = Database(private_file(fresh), encryption)
    key = database.key()
    with closing(database):
        migrate(database)
        with database.writing() as target:
            saved = _Saved(0, 0, ())
            for source in _readings(path, fresh) if key is None else _decrypted(path, fresh, key):
                saved = _copy_rows(source, target)
                if saved.sessions or saved.messages:
                    break
    moved = _set_aside(path)
    fresh.replace(path)
    notice = tr(
        "the session database was damaged: a new one holds {sessions} with "
        "{messages}, the damaged file is kept as {name}",
        sessions=trn("{count:,} session", "{count:,} sessions", saved.sessions),
        messages=trn("{count:,} message", "{count:,} messages", saved.messages),
        name=moved.name,
    )
    if not saved.incomplete:
        return notice
    titles = ", ".join(single_line(title) or "-" for title in saved.incomplete[:_MOST_NAMED])
    if len(saved.incomplete) > _MOST_NAMED:
        titles += " …"
    return tr("{notice}; messages are missing in: {titles}", notice=notice, titles=titles)


def _readings(damaged: Path, sound: Path) -> Iterator[sqlite3.Connection]:
    """Connections to the damaged file: as it is, then with the first page of a sound file.

    The first page holds the header and the way to the tables. tchat's tables are made in the same
    order everywhere and so begin on the same pages.
    """
    with closing(_lenient(damaged)) as source:
        yield source
    patched = damaged.with_name(damaged.name + ".patched")
    try:
        shutil.copyfile(damaged, private_file(patched))
        with sound.open("rb") as fresh, patched.open("r+b") as file:
            first = bytearray(fresh.read(_PAGE))
            first[28:40] = bytes(12)  # page count 0: "see the file's size"; an empty free list
            file.write(first)
        with closing(_lenient(patched)) as source:
            yield source
    finally:
        patched.unlink(missing_ok=True)


def _decrypted(damaged: Path, sound: Path, key: bytes) -> Iterator[sqlite3.Connection]:
    """A connection to an encrypted copy of the damaged file, in which every page can be decrypted.

    Of the file itself SQLCipher reads nothing any more behind the first page that it cannot.
    """
    from tchat.encryption.sqlcipher_pages import PageCipher

    patched = damaged.with_name(damaged.name + ".patched")
    try:
        with private_file(patched).open("wb") as file:
            file.writelines(PageCipher(key).repaired(damaged, sound))
        for suffix in _LOGS:
            with suppress(FileNotFoundError):
                _copy_private(_beside(damaged, suffix), _beside(patched, suffix))
        with closing(_lenient(patched, key)) as source:
            yield source
    finally:
        for suffix in BESIDE:
            _beside(patched, suffix).unlink(missing_ok=True)


def _copy_private(source: Path, target: Path) -> None:
    with source.open("rb") as file, private_file(target).open("wb") as copy:
        shutil.copyfileobj(file, copy)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _lenient(path: Path, key: bytes | None = None) -> sqlite3.Connection:
    """A connection that reads what it can; in a file shorter than its header says, too."""
    connection = connect(path, key, defensive=False)
    end = time.monotonic() + LONGEST
    connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    connection.row_factory = driver_for(key).Row
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.execute("PRAGMA writable_schema = ON")
    return connection


def _set_aside(path: Path) -> Path:
    """Rename the damaged file and what belongs to it.

    A journal that stayed behind would be played into the new file.
    """
    name = f"{path.name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}"
    moved, number = path.with_name(name), 1
    while moved.exists():
        number += 1
        moved = path.with_name(f"{name}-{number}")
    path.replace(moved)
    for suffix in _COMPANIONS:
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.replace(moved.with_name(moved.name + suffix))
    return moved


def _copy_rows(source: sqlite3.Connection, target: sqlite3.Connection) -> _Saved:
    """Copy every readable and valid row; returns what there is now.

    A message whose session was lost gets a session of the same id, one whose parent was lost hangs
    on the message before it. ``target`` is inside a transaction.
    """
    known: dict[str, dict[int, None]] = {}  # the ids of each session's messages, in order
    named: dict[str, set[int | None]] = {}  # and those that the session and its messages name
    for row in _readable(source, "sessions").values():
        if (session := _session(row)) and session["id"] not in known:
            known[session["id"]] = {}
            named[session["id"]] = {session["active_root"]}
            target.execute(INSERT_SESSION, to_row(session))
    rows = _readable(source, "messages")
    # Those whose ids tchat cannot have given out get new ones, above the others.
    order = sorted(rows, key=lambda number: (not 0 < number <= LAST_ID, number))
    messages = [_message(rows[number]) for number in order]
    for message in filter(None, messages):
        if message["session_id"] not in known:
            known[message["session_id"]] = {}
            target.execute(INSERT_SESSION, to_row(_lost_session(message)))
        earlier = known[message["session_id"]]
        named.setdefault(message["session_id"], set()).update(
            (message["parent_id"], message["active_child"])
        )
        if message["parent_id"] is not None and message["parent_id"] not in earlier:
            message["parent_id"] = next(reversed(earlier), None)
        earlier[message_tree.insert(target, message)] = None
    for session_id in known:
        message_tree.repair_pointers(target, session_id)
    incomplete = [
        title
        for session_id, title in target.execute("SELECT id, title FROM sessions ORDER BY used DESC")
        if named.get(session_id, set()) - known[session_id].keys() - {None}
    ]
    return _Saved(len(known), sum(map(len, known.values())), tuple(incomplete))


def _readable(source: sqlite3.Connection, table: str) -> dict[int, dict[str, Any]]:
    """Rows by their number: from the front, from the back, then one by one between."""
    every = _ROWS.format(table)
    rows: dict[int, dict[str, Any]] = {}
    if not _is_table(source, table):
        return rows
    if _collect(source, every + "ORDER BY rowid", (), rows):
        return rows
    front = max(rows, default=0)
    _collect(source, every + "ORDER BY rowid DESC", (), rows)
    back = min((number for number in rows if number > front), default=None)
    if back is None:
        back = _last_number(source, table, front) + 1
    for number in range(front + 1, min(back, front + _MOST_PROBES)):
        _collect(source, every + "WHERE rowid = ?", (number,), rows)
    return rows


def _is_table(source: sqlite3.Connection, name: str) -> bool:
    """Whether ``name`` is an ordinary table: a view can be endless, a module can do anything."""
    query = "SELECT type, sql FROM sqlite_master WHERE name = ?"
    try:
        found = [tuple(row) for row in source.execute(query, (name,))]
    except source.Error:
        return False
    return len(found) == 1 and found[0][0] == "table" and " VIRTUAL " not in str(found[0][1])[:40]


def _collect(
    source: sqlite3.Connection, query: str, values: tuple[int, ...], rows: dict[int, dict[str, Any]]
) -> bool:
    """Add what can be read to ``rows``, up to one that is there; whether there was no damage."""
    try:
        for row in source.execute(query, values):
            if row["number"] in rows:
                break
            rows[row["number"]] = dict(row)
    except (source.Error, OverflowError):
        return False
    return True


def _last_number(source: sqlite3.Connection, table: str, front: int) -> int:
    """The highest row number ever given out, where it can be read; else a guess."""
    with suppress(source.Error, TypeError, ValueError):
        query = "SELECT seq FROM sqlite_sequence WHERE name = ?"
        return int(source.execute(query, (table,)).fetchone()[0])
    return front + 10_000 if front else 0


def _session(row: Mapping[str, Any]) -> dict[str, Any] | None:
    if not isinstance(row.get("id"), str) or not row["id"]:
        return None
    return {
        "id": row["id"],
        "title": _text(row.get("title")),
        "system": _text(row.get("system")),
        "settings": _object(row.get("settings")),
        "created_at": _time(row.get("created_at")),
        "updated_at": _time(row.get("updated_at")),
        "used": _pointer(row.get("used")) or 0,
        "active_root": _pointer(row.get("active_root")),
    }


def _lost_session(message: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": message["session_id"],
        "title": "Salvaged",
        "system": "",
        "settings": {},
        "created_at": message["created_at"],
        "updated_at": message["created_at"],
        "used": 0,
        "active_root": None,
    }


def _message(row: Mapping[str, Any]) -> dict[str, Any] | None:
    if row.get("role") not in set(Role) or not isinstance(row.get("session_id"), str):
        return None
    finished = row.get("status") in set(Status) - {Status.STREAMING}
    message = {
        name: _object(row.get(name)) if isinstance(empty, Mapping) else _text(row.get(name))
        for name, empty in EMPTY_MESSAGE.items()
    }
    return {
        **message,
        "id": row["number"] if 0 < row["number"] <= LAST_ID else None,
        "session_id": row["session_id"],
        "parent_id": _pointer(row.get("parent_id")),
        "active_child": _pointer(row.get("active_child")),
        "role": row["role"],
        "text": _text(row.get("text")),
        "status": row["status"] if finished else Status.INTERRUPTED,
        "created_at": _time(row.get("created_at")),
        "pinned": row.get("pinned") == 1,
        "rating": rating if (rating := row.get("rating")) in (-1, 1) else 0,
        "picked_at": _time(row["picked_at"]) if row.get("picked_at") else 0.0,
        "by_person": row.get("by_person") == 1,
        "tool_calls": calls_of(_json(row.get("tool_calls"))),
        "tool_outcome": outcome_of(_json(row.get("tool_outcome"))),
        "writer": "",
    }


def _pointer(value: object) -> int | None:
    return value if isinstance(value, int) and abs(value) <= LAST_ID else None


def _text(value: object) -> str:
    # Pages that the file no longer has read as zeros.
    return value.rstrip("\0") if isinstance(value, str) else ""


def _time(value: object) -> float:
    if isinstance(value, (int, float)) and 0 <= value <= LAST_SECOND:
        return float(value)
    return time.time()


def _object(value: object) -> dict[str, Any]:
    found = _json(value)
    return found if isinstance(found, dict) else {}


def _json(value: object) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        return None
