"""Migrations: from version 1 to the current one, and no further."""

from __future__ import annotations

import hashlib
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from tchat.errors import StorageError
from tchat.paths import private_file
from tchat.sessions import schema
from tchat.sessions.database import Database
from tchat.sessions.records import Role, Status
from tchat.sessions.serialization import EMPTY_MESSAGE, to_row
from tchat.sessions.store import SessionStore
from tests.sessions.stores import new_session

SESSION = {
    "id": "0000000abc",
    "title": "old",
    "system": "s",
    "settings": {"temp": 1},
    "created_at": 1.0,
    "updated_at": 2.0,
    "active_root": 1,
}


# As the first version spelled them.
INSERT_SESSION_1 = """
    INSERT INTO sessions (id, title, system, settings, created_at, updated_at, active_root)
    VALUES (:id, :title, :system, :settings, :created_at, :updated_at, :active_root)
"""
INSERT_MESSAGE_1 = """
    INSERT INTO messages VALUES (
        :id, :session_id, :parent_id, :active_child, :role, :text, :reasoning, :status, :created_at,
        :model, :model_sha256, :quantization, :template_hash, :sampling, :usage, :timings,
        :finish_reason, :writer)
"""


def message(number: int, text: str, status: Status) -> dict[str, object]:
    return {
        **EMPTY_MESSAGE,
        "id": number,
        "session_id": SESSION["id"],
        "parent_id": number - 1 or None,
        "active_child": number + 1,
        "role": Role.USER,
        "text": text,
        "status": status,
        "created_at": 1.0,
    }


@pytest.fixture
def version_1(file: Path) -> Path:
    """A file as the first version left it: no search, one reply unfinished."""
    database = Database(private_file(file))
    with closing(database):
        schema.migrate(database, target=1)
        with database.writing() as connection:
            connection.execute(INSERT_SESSION_1, to_row(SESSION))
            rows = [message(1, "old question", Status.DONE), message(2, "ans", Status.STREAMING)]
            connection.executemany(INSERT_MESSAGE_1, map(to_row, rows))
    return file


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_the_tables_of_files_that_exist_stay_as_they_were_written() -> None:
    """Files are compared with this text: another one makes every user's file a damaged one."""
    written = "\n".join(statement for migration in schema.MIGRATIONS for statement in migration)
    digest = hashlib.sha256(written.encode()).hexdigest()
    assert (len(schema.MIGRATIONS), digest[:16]) == (6, "df43f01dd9c745ec")


def test_an_old_file_is_brought_up_to_date(version_1: Path) -> None:
    with SessionStore(version_1) as store:
        assert [hit.message and hit.message.text for hit in store.search("question")] == [
            "old question"
        ]
        assert [hit.message and hit.message.text for hit in store.search("ans")] == ["ans"]
        session = store.get("0000000abc")
        assert (session.title, session.settings, session.messages) == ("old", {"temp": 1}, 2)
        assert [m.status for m in store.branch(session.id)] == ["done", "interrupted"]
        assert not any(m.pinned for m in store.branch(session.id))
        assert store.notices == [
            "the session database was upgraded; a copy is sessions.db.backup-v1, "
            "which `tchat sessions rm --backups` deletes"
        ]
    assert version(version_1) == schema.CURRENT
    with SessionStore(version_1) as store:
        assert store.notices == []


def test_a_copy_is_made_before(version_1: Path) -> None:
    stale = version_1.with_name("sessions.db.backup-v1")
    stale.write_text("an older copy")
    SessionStore(version_1).close()
    assert version(stale) == 1
    assert stat.S_IMODE(stale.stat().st_mode) == 0o600
    with closing(sqlite3.connect(stale)) as connection:
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (2,)


def test_a_new_file_needs_no_copy(file: Path) -> None:
    SessionStore(file).close()
    assert version(file) == schema.CURRENT
    assert not list(file.parent.glob("*backup*"))


def test_a_migration_happens_as_a_whole(version_1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = (*schema.MIGRATIONS, ("CREATE TABLE new (x)", "SELECT * FROM nowhere"))
    monkeypatch.setattr(schema, "MIGRATIONS", broken)
    monkeypatch.setattr(schema, "CURRENT", len(broken))
    database = Database(version_1)
    with closing(database):
        with pytest.raises(StorageError, match="no such table: nowhere"):
            schema.migrate(database, target=len(broken))
        with database.reading() as connection:
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert version(version_1) == 1
    assert not {"new", "search_index"} & {row["name"] for row in tables}


def test_a_newer_file_is_refused_and_left_as_it_is(file: Path) -> None:
    with SessionStore(file) as store:
        new_session(store, title="from the future")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.CURRENT + 1}")
    before = file.read_bytes()
    with pytest.raises(StorageError, match="newer tchat") as caught:
        SessionStore(file)
    assert "upgrade tchat" in caught.value.hint
    assert file.read_bytes() == before
    assert not list(file.parent.glob("*backup*"))


def test_a_copy_that_cannot_be_made_stops_the_migration(version_1: Path) -> None:
    version_1.with_name("sessions.db.backup-v1").mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        SessionStore(version_1)
    assert version(version_1) == 1
