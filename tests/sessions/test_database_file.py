"""Opening the file: permissions, journals, and everything that can stand in the way."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tchat.errors import ExitCode, StorageError
from tchat.sessions import database
from tchat.sessions.records import Role, Status
from tchat.sessions.schema import CURRENT, migrate
from tchat.sessions.store import SessionStore
from tests.sessions.stores import new_session


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def wal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "SAFE_WAL", (0, 0, 0))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): mode(p) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.usefixtures("open_umask")
def test_nobody_else_can_read_the_rollback_journal(file: Path) -> None:
    with SessionStore(file) as store:
        new_session(store, title="x")
        with store._database.writing() as connection:
            connection.execute("UPDATE sessions SET title = 'y'")
            seen = files(file.parent)
    assert {"sessions.db", "sessions.db-journal", "sessions.db.writers/gate"} < set(seen)
    assert set(seen.values()) == {0o600}
    assert mode(file.parent) == mode(file.parent / "sessions.db.writers") == 0o700


@pytest.mark.usefixtures("open_umask", "wal")
def test_nobody_else_can_read_the_write_ahead_log(file: Path) -> None:
    with SessionStore(file) as store:
        new_session(store, title="x")
        seen = files(file.parent)
    assert {"sessions.db-wal", "sessions.db-shm"} < set(seen)
    assert set(seen.values()) == {0o600}


def journal_mode(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def test_the_journal_is_chosen_by_the_version_of_sqlite(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for safe, expected in [((9,), "delete"), ((3,), "wal"), ((9,), "delete")]:
        monkeypatch.setattr(database, "SAFE_WAL", safe)
        with SessionStore(file) as store:
            new_session(store, title=expected)
        assert journal_mode(file) == expected
    with SessionStore(file) as store:
        assert [session.title for session in store.sessions()] == ["delete", "wal", "delete"]


def test_an_open_file_keeps_its_journal(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(database, "SAFE_WAL", (3,))
    with SessionStore(file) as early:
        monkeypatch.setattr(database, "SAFE_WAL", (9,))
        with SessionStore(file) as late:
            session = new_session(late, title="both")
            assert early.get(session.id) == session


def test_every_commit_reaches_the_disk(file: Path) -> None:
    with SessionStore(file) as store, store._database.reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


def test_a_link_leads_to_the_file(tmp_path: Path, file: Path) -> None:
    link = tmp_path / "link.db"
    file.parent.mkdir()
    link.symlink_to(file)
    with SessionStore(link) as store:
        new_session(store, title="x")
        assert store.path == file.resolve()
    assert link.is_symlink()
    with SessionStore(file) as store:
        assert len(store.sessions()) == 1


def test_closing_leaves_the_file_alone(file: Path) -> None:
    with SessionStore(file) as store:
        new_session(store)
        store.close()
    folder = "sessions.db.writers"
    assert sorted(files(file.parent)) == ["sessions.db", f"{folder}/gate", f"{folder}/seen"]


def blocked_by_folder(file: Path) -> None:
    file.mkdir(parents=True)


def blocked_by_file(file: Path) -> None:
    file.parent.write_text("not a folder")


def blocked_locks(file: Path) -> None:
    file.parent.mkdir()
    file.with_name("sessions.db.writers").write_text("not a folder")


def blocked_gate(file: Path) -> None:
    (file.parent / "sessions.db.writers" / "gate").mkdir(parents=True)


def blocked_by_another_program(file: Path) -> None:
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE theirs (x)")


def blocked_by_another_version(file: Path) -> None:
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 1")


@pytest.mark.parametrize(
    "obstacle",
    [
        blocked_by_folder,
        blocked_by_file,
        blocked_locks,
        blocked_gate,
        blocked_by_another_program,
        blocked_by_another_version,
    ],
)
def test_what_stands_in_the_way_is_told(file: Path, obstacle) -> None:  # type: ignore[no-untyped-def]
    obstacle(file)
    with pytest.raises(StorageError) as caught:
        SessionStore(file)
    assert "sessions.db" in str(caught.value) or str(file.parent) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_code == ExitCode.STORAGE


def test_another_programs_database_is_left_as_it_is(file: Path) -> None:
    blocked_by_another_program(file)
    before = file.read_bytes()
    with pytest.raises(StorageError, match="database of another program"):
        SessionStore(file)
    assert file.read_bytes() == before


def test_a_locked_file_is_waited_for_then_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with SessionStore(file) as store, closing(sqlite3.connect(file)) as other:
        session = new_session(store)
        other.execute("BEGIN EXCLUSIVE")
        for call in (lambda: store.begin("x"), store.sessions, lambda: SessionStore(file)):
            with pytest.raises(StorageError, match="another process is writing"):
                call()
        other.rollback()
        assert store.sessions() == [session]


def test_a_full_disk_loses_nothing_that_was_stored(file: Path) -> None:
    with SessionStore(file) as store:
        session = new_session(store)
        kept = store.add(session.id, Role.USER, "kept", parent_id=None)
        reply = store.add(
            session.id, Role.ASSISTANT, "", parent_id=kept.id, status=Status.STREAMING
        )
        store.journal(reply.id, "some")
        with store._database.reading() as connection:
            connection.execute("PRAGMA max_page_count = 1")  # SQLite keeps it at what is in use
        with pytest.raises(StorageError, match="no space left") as caught:
            store.journal(reply.id, "x" * 200_000)
        assert "free some space" in caught.value.hint
        assert [message.text for message in store.branch(session.id)] == ["kept", "some"]
        with store._database.reading() as connection:
            connection.execute("PRAGMA max_page_count = 100000")
        store.journal(reply.id, "x" * 200_000)
        assert store.finish(reply.id, status=Status.DONE, text="all").text == "all"


def test_a_file_that_cannot_be_written_is_told(file: Path) -> None:
    with SessionStore(file) as store:
        with store._database.reading() as connection:
            connection.execute("PRAGMA query_only = ON")
        with pytest.raises(StorageError, match="cannot write") as caught:
            new_session(store)
        assert "permissions" in caught.value.hint


def test_damage_while_open_is_told(file: Path) -> None:
    with SessionStore(file) as store:
        for number in range(50):
            new_session(store, title=str(number) * 500)
        size = file.stat().st_size
        with file.open("r+b") as raw:
            raw.seek(4096)
            raw.write(b"\xa5" * (size - 4096))
        with store._database.reading() as connection:
            connection.execute("PRAGMA cache_size = 0")
        with pytest.raises(StorageError, match="is damaged") as caught:
            store.sessions()
        assert "start tchat again" in caught.value.hint


def test_an_old_sqlite_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 1))
    with pytest.raises(StorageError, match="too old"):
        SessionStore(file)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("suffix", ["", "-journal", "-wal", "-shm"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_beside_the_database_is_named(
    file: Path, suffix: str, make: Callable[[str], None]
) -> None:
    if suffix:
        with SessionStore(file) as store:
            new_session(store, title="kept")
    special = Path(f"{file}{suffix}")
    file.parent.mkdir(parents=True, exist_ok=True)
    make(str(special))
    with pytest.raises(StorageError, match=special.name) as raised:
        SessionStore(file)
    assert raised.value.hint == "move it away"
    special.rmdir() if special.is_dir() else special.unlink()
    with SessionStore(file) as store:
        assert [session.title for session in store.sessions()] == ["kept"] * bool(suffix)


@pytest.mark.usefixtures("wal")
def test_reading_only_makes_no_file_and_writes_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SessionStore(file) as store:
        session, _ = store.begin("whales")
    before = files(file.parent)
    monkeypatch.setattr(database, "is_on_read_only_disk", lambda _: True)
    with SessionStore(file, read_only=True) as store:
        assert [each.id for each in store.sessions()] == [session.id]
        assert [each.session.id for each in store.search("whales")] == [session.id]
        with pytest.raises(StorageError, match="readonly"):
            store.rename(session.id, "other")
        assert files(file.parent) == before


@pytest.mark.usefixtures("wal")
def test_reading_only_sees_what_is_in_the_log(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "is_on_read_only_disk", lambda _: True)
    with SessionStore(file) as store:
        session, _ = store.begin("whales")
        with SessionStore(file, read_only=True) as reader:
            assert [each.id for each in reader.sessions()] == [session.id]


def test_reading_only_refuses_a_file_of_an_older_tchat(file: Path) -> None:
    file.parent.mkdir(parents=True)
    with closing(database.Database(file)) as older:
        migrate(older, CURRENT - 1)
    with pytest.raises(StorageError, match=r"older tchat, .* TCHAT_HOME"):
        SessionStore(file, read_only=True)
