"""Migrations: from version 1 to the current one, and no further."""

from __future__ import annotations

import hashlib
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from tchat.errors import StorageError
from tchat.private_files import private_file
from tchat.sessions import schema
from tchat.sessions.database import Database
from tchat.sessions.records import Role, Status, ToolCall, ToolOutcome, ToolState
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
    assert (len(schema.MIGRATIONS), digest[:16]) == (8, "6a356afc4ee8389a")


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


CALL = ToolCall(id="c1", name="read_file", arguments={"path": "a.txt", "lines": [1, 2]})
OUTCOME = ToolOutcome(
    call_id="c1", name="read_file", state=ToolState.DONE, decided_by="rule", seconds=0.25
)


@pytest.mark.parametrize("before", range(1, schema.CURRENT))
def test_a_file_of_any_version_takes_calls_and_results(file: Path, before: int) -> None:
    database = Database(private_file(file))
    with closing(database):
        schema.migrate(database, target=before)
        with database.reading() as connection:
            connection.execute("PRAGMA trusted_schema = ON")  # versions 2 to 5 have triggers
        with database.writing() as connection:
            connection.execute(INSERT_SESSION_1, to_row(SESSION))
            names = {row[1] for row in connection.execute("PRAGMA table_info(messages)")}
            rows = [message(1, "old question", Status.DONE), message(2, "answer", Status.DONE)]
            for row in rows:
                known = {name: value for name, value in to_row(row).items() if name in names}
                marks = ", ".join(f":{name}" for name in known)
                connection.execute(
                    f"INSERT INTO messages ({', '.join(known)}) VALUES ({marks})", known
                )
    with SessionStore(file) as store:
        asked = store.add("0000000abc", Role.ASSISTANT, "", parent_id=2, tool_calls=(CALL,))
        result = store.add(
            "0000000abc", Role.TOOL, "content", parent_id=asked.id, tool_outcome=OUTCOME
        )
        assert [each.text for each in store.branch("0000000abc")] == [
            *("old question", "answer", "", "content"),
        ]
        assert store.message(2).tool_calls == ()
        assert store.message(2).tool_outcome is None
    with SessionStore(file) as store:
        assert store.notices == []
        assert store.message(asked.id).tool_calls == (CALL,)
        assert store.message(result.id).tool_outcome == OUTCOME
        assert store.message(result.id).role is Role.TOOL


def test_an_upgraded_file_has_the_tables_of_a_new_one(file: Path, tmp_path: Path) -> None:
    """On the same pages, too: a salvage takes the way to the tables from a new file."""
    definitions = []
    for path, first in ((file, schema.CURRENT - 1), (tmp_path / "new.db", schema.CURRENT)):
        database = Database(private_file(path))
        with closing(database):
            schema.migrate(database, target=first)
        SessionStore(path).close()
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            definitions.append(
                connection.execute(
                    "SELECT name, rootpage, sql FROM sqlite_master WHERE type = 'table'"
                ).fetchall()
            )
    assert definitions[0] == definitions[1]


def test_the_definitions_of_tables_cannot_be_written_after_a_migration(version_1: Path) -> None:
    with (
        SessionStore(version_1) as store,
        pytest.raises(StorageError, match="may not be modified"),
        store._database.writing() as connection,
    ):
        connection.execute("UPDATE sqlite_master SET sql = ''")


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
