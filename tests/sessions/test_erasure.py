"""What was deleted is gone from the disk, byte for byte; and which session was used last."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tchat.sessions import database, schema
from tchat.sessions.database import Database
from tchat.sessions.records import Role, Session, Status
from tchat.sessions.store import SessionStore
from tests.sessions.stores import new_session
from tests.sessions.trees import insert_tree


def left(folder: Path, marker: str) -> list[str]:
    """The files in which ``marker`` still is, as text in one of SQLite's encodings."""
    forms = [marker.encode(), marker.encode("utf-16-le")]
    return sorted(
        path.name
        for path in folder.rglob("*")
        if path.is_file() and any(form in path.read_bytes() for form in forms)
    )


def secret_chats(store: SessionStore, chance: random.Random, other: Session) -> list[Session]:
    """Chats full of secrets, among the messages of another that stays."""
    made: list[Session] = []
    last: int | None = None
    for number in range(12):
        session, question = store.begin(
            f"SECRET{number} " * chance.choice([1, 30, 3000]),
            title=f"SECRET{number}",
            system=f"SECRET{number} " * chance.choice([1, 900]),
        )
        made.append(session)
        reply = store.add(
            session.id, Role.ASSISTANT, "", parent_id=question.id, status=Status.STREAMING
        )
        for length in range(1, chance.choice([3, 40])):  # as the journal does
            store.journal(reply.id, f"SECRET{number} " * length * 7, "SECRETthought " * length)
        store.finish(reply.id, status=Status.DONE, text=f"SECRET{number} " * 11, model="SECRET")
        last = store.add(other.id, Role.USER, "stays " * chance.choice([3, 500]), parent_id=last).id
    return made


@pytest.mark.parametrize("safe_wal", [(9,), (3,)])
@pytest.mark.parametrize("seed", [0, 16])
def test_no_byte_of_a_deleted_chat_stays(
    file: Path, safe_wal: tuple[int, ...], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SAFE_WAL", safe_wal)
    chance = random.Random(seed)
    with SessionStore(file) as store:
        other = new_session(store, title="stays")
        made = secret_chats(store, chance, other)
        assert left(file.parent, "SECRET")
        chance.shuffle(made)
        for session in made:
            store.delete(session.id)
        store.erase()
        assert left(file.parent, "SECRET") == []
        assert len(store.branch(other.id)) == 12
    assert left(file.parent, "SECRET") == []


@pytest.mark.parametrize("safe_wal", [(9,), (3,)])
def test_no_byte_of_a_deleted_message_stays(
    file: Path, safe_wal: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SAFE_WAL", safe_wal)
    with SessionStore(file) as store:
        session, question = store.begin("stays")
        for size in (1, 50, 5000):
            reply = store.add(session.id, Role.ASSISTANT, "SECRET " * size, parent_id=question.id)
            store.delete_message(reply.id)
        store.erase()
        assert left(file.parent, "SECRET") == []
        assert [m.text for m in store.branch(session.id)] == ["stays"]


def test_an_upgrade_erases_what_earlier_versions_left(file: Path) -> None:
    file.parent.mkdir()
    file.touch()
    with closing(Database(file)) as old:
        schema.migrate(old, target=5)
    with closing(sqlite3.connect(file)) as plain, plain:
        plain.execute("PRAGMA secure_delete = OFF")
        plain.execute(
            "INSERT INTO sessions VALUES ('0000000abc', 'SECRET', '', '{}', 1.0, 1.0, NULL)"
        )
        for number in range(50):
            plain.execute(
                """
                INSERT INTO messages (session_id, role, text, reasoning, status, created_at, model,
                    model_sha256, quantization, template_hash, sampling, usage, timings,
                    finish_reason, writer)
                VALUES ('0000000abc', 'user', ?, '', 'done', 1.0, '', '', '', '', '{}', '{}', '{}',
                    '', '')
                """,
                (f"SECRET{number} " * 100,),
            )
        plain.execute("DELETE FROM messages")
        plain.execute("DELETE FROM sessions")
    assert left(file.parent, "SECRET") == ["sessions.db"]
    SessionStore(file).close()
    assert left(file.parent, "SECRET") in ([], ["sessions.db.backup-v5"])
    with SessionStore(file) as store:
        assert store.backup_files() == [file.with_name("sessions.db.backup-v5")]
        store.remove_backups()
        assert store.backup_files() == []
    assert left(file.parent, "SECRET") == []


def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def show(now: float) -> None:
        monkeypatch.setattr("tchat.sessions.store.time.time", lambda: now)

    return show


def test_the_session_used_last_is_the_last_whatever_the_clock_says(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = clock(monkeypatch)
    with SessionStore(file) as store:
        show(2e9)
        first, question = store.begin("one")
        show(1e9)  # set back
        second, _ = store.begin("two")
        assert store.latest() == store.get(second.id)
        show(1.5e9)
        store.add(first.id, Role.ASSISTANT, "reply", parent_id=question.id)
        assert store.latest() == store.get(first.id)
        show(0.5e9)
        third, _ = store.begin("three")
    with SessionStore(file) as store:
        assert [each.id for each in store.sessions()] == [third.id, first.id, second.id]
        deleted = store.delete(third.id)
        assert store.latest() == store.get(first.id)
        store.restore(deleted)
        assert [each.id for each in store.sessions()] == [third.id, first.id, second.id]


def test_an_upgrade_keeps_the_order_of_the_sessions(file: Path) -> None:
    file.parent.mkdir()
    file.touch()
    with closing(Database(file)) as old:
        schema.migrate(old, target=5)
        with old.writing() as connection:
            for name, used in (("0000000aaa", 3.0), ("0000000bbb", 1.0), ("0000000ccc", 2.0)):
                connection.execute(
                    "INSERT INTO sessions VALUES (?, '', '', '{}', 1.0, ?, NULL)", (name, used)
                )
    with SessionStore(file) as store:
        assert [each.id[-1] for each in store.sessions()] == ["a", "c", "b"]


def test_an_imported_session_is_not_the_one_used_last(store: SessionStore) -> None:
    with SessionStore.in_memory() as other:
        theirs, _ = other.begin("theirs")
        tree = other.tree(theirs.id)
    mine, _ = store.begin("mine")
    insert_tree(store, tree)
    assert store.latest() == store.get(mine.id)


def test_a_session_and_its_first_message_are_stored_together(store: SessionStore) -> None:
    session, message = store.begin("one", title="t", system="s", settings={"temp": 1})
    assert (session.title, session.system, session.settings) == ("t", "s", {"temp": 1})
    assert session.messages == 1
    assert store.branch(session.id) == [message]
