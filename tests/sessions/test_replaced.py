"""The file is deleted, moved or replaced while it is open: the chat goes on and is stored."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tchat.errors import StorageError
from tchat.sessions import database
from tchat.sessions.database import DatabaseDamaged, DatabaseReplaced
from tchat.sessions.fallback_store import FallbackStores
from tchat.sessions.records import Role, Status
from tchat.sessions.store import SessionStore


def deleted(file: Path) -> None:
    file.unlink()


def moved(file: Path) -> None:
    file.rename(file.with_name("elsewhere.db"))


def folder_deleted(file: Path) -> None:
    shutil.rmtree(file.parent)


def folder_moved(file: Path) -> None:
    file.parent.rename(file.parent.with_name("elsewhere"))


def other_sessions(file: Path) -> None:
    other = file.with_name("other.db")
    with SessionStore(other) as store:
        for number in range(5):
            store.begin(f"theirs {number}")
    other.replace(file)


def garbage(file: Path) -> None:
    other = file.with_name("other")
    other.write_text("These are my notes.\n" * 500)
    other.replace(file)


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def overwritten(file: Path) -> None:
    file.write_text("These are my notes.\n" * 5000)


REPLACED = [deleted, moved, folder_deleted, folder_moved, other_sessions, garbage]


@pytest.mark.parametrize("safe_wal", [(9,), (3,)])
@pytest.mark.parametrize("replace", REPLACED)
def test_a_chat_goes_on_and_is_stored_at_its_old_place(
    file: Path,
    replace: Callable[[Path], None],
    safe_wal: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "SAFE_WAL", safe_wal)
    fallbacks = FallbackStores()
    with SessionStore(file) as persistent:
        session, first = persistent.begin("one", title="title", settings={"temp": 1})
        store = fallbacks.open(persistent, session.id)
        reply = store.add(
            session.id, Role.ASSISTANT, "", parent_id=first.id, status=Status.STREAMING
        )
        replace(file)
        store.journal(reply.id, "a re")
        assert isinstance(store.failure, DatabaseReplaced)
        store.finish(reply.id, status=Status.DONE, text="a reply")
        fallbacks.write_back()
        assert store.failure is None
        last = store.branch(session.id)[-1]  # its id may have been taken in that file
        store.add(session.id, Role.USER, "three", parent_id=last.id)
        assert store.failure is None
        assert bool(persistent.notices) == (replace is garbage)
    fallbacks.close()
    with SessionStore(file) as again:
        assert [m.text for m in again.branch(session.id)] == ["one", "a reply", "three"]
        assert again.get(session.id).settings == {"temp": 1}
        assert len(again.sessions()) == (6 if replace is other_sessions else 1)


@pytest.mark.parametrize("safe_wal", [(9,), (3,)])
def test_a_folder_in_its_place_is_told_until_it_goes(
    file: Path, safe_wal: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SAFE_WAL", safe_wal)
    fallbacks = FallbackStores()
    with SessionStore(file) as persistent:
        session, first = persistent.begin("one")
        store = fallbacks.open(persistent, session.id)
        file.unlink()
        file.mkdir()
        store.add(session.id, Role.ASSISTANT, "two", parent_id=first.id)
        for _ in range(2):
            with pytest.raises(StorageError, match="Is a directory"):
                fallbacks.write_back()
        store.add(session.id, Role.USER, "three", parent_id=store.branch(session.id)[-1].id)
        file.rmdir()
        fallbacks.write_back()
    fallbacks.close()
    with SessionStore(file) as again:
        assert [m.text for m in again.branch(session.id)] == ["one", "two", "three"]


def test_a_write_that_no_fallback_catches_is_refused_in_one_line(file: Path) -> None:
    with SessionStore(file) as store:
        session, _ = store.begin("one")
        file.unlink()
        with pytest.raises(DatabaseReplaced, match="deleted or replaced") as caught:
            store.rename(session.id, "two")
        assert "\n" not in str(caught.value)
        assert not file.exists()


def test_what_is_written_over_while_open_is_set_aside(file: Path) -> None:
    """What is in memory then may be less than the chat; the next message is stored anyway."""
    fallbacks = FallbackStores()
    with SessionStore(file) as persistent:
        session, _ = persistent.begin("one" * 5000)
        store = fallbacks.open(persistent, session.id)
        overwritten(file)
        with persistent._database.reading() as connection:
            connection.execute("PRAGMA cache_size = 0")
        with pytest.raises(DatabaseDamaged):
            store.branch(session.id)
        made, _ = store.begin("two")
        fallbacks.write_back()
        assert "was damaged" in persistent.notices[0]
    fallbacks.close()
    with SessionStore(file) as again:
        assert [m.text for m in again.branch(made.id)] == ["two"]
    assert len(list(file.parent.glob("*.corrupt-*"))) == 1
