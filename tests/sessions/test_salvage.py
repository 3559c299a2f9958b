"""DatabaseDamaged files: kept, said, and what can be read is saved."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tchat.errors import StorageError
from tchat.sessions.records import Role, Status
from tchat.sessions.store import SessionStore
from tchat.translation import trn
from tests.sessions.stores import new_session

PAGE = 4096
SESSIONS, MESSAGES = 4, 40  # messages of each session


def text_of(session: int, number: int) -> str:
    return f"message {number} of session {session} " + "lorem ipsum 日本 " * (number * 3)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of some 60 pages with linear chats; read only."""
    path = tmp_path_factory.mktemp("sound") / "sessions.db"
    with SessionStore(path) as store:
        store._database._connection.execute("PRAGMA synchronous = OFF")
        for session in range(SESSIONS):
            made = new_session(store, title=f"session {session}", settings={"temp": session})
            parent = None
            for number in range(MESSAGES):
                text = text_of(session, number)
                parent = store.add(made.id, Role.USER, text, parent_id=parent, usage={"n": 1}).id
    return path


@pytest.fixture
def damaged(sound: Path, file: Path) -> Path:
    """A copy to damage."""
    file.parent.mkdir()
    shutil.copy(sound, file)
    return file


def write_at(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as raw:
        raw.seek(offset)
        raw.write(content)


def garbage(seed: int) -> bytes:
    return random.Random(seed).randbytes(PAGE)


def kept(path: Path) -> list[Path]:
    return [p for p in path.parent.glob("*.corrupt-*") if not p.name.endswith(("-wal", "-shm"))]


def messages(store: SessionStore) -> int:
    return sum(session.messages for session in store.sessions())


def check(store: SessionStore) -> None:
    """Everything that was saved is a sound tree, as it was written, and can be searched."""
    for session in store.sessions():
        branch = store.branch(session.id)
        assert len(branch) == session.messages
        for message in branch:
            number, of = int(message.text.split()[1]), int(message.text.split()[4])
            if message.status == Status.DONE:
                assert (message.text, message.usage) == (text_of(of, number), {"n": 1})
            else:  # the end of the row is lost
                assert text_of(of, number).startswith(message.text.rstrip("\ufffd"))


def test_garbage_on_any_page(sound: Path, file: Path) -> None:
    """One page after the other: the store opens, and nearly always has nearly everything."""
    saved, unseen = [], 0
    for page in range(sound.stat().st_size // PAGE):
        shutil.rmtree(file.parent, ignore_errors=True)
        file.parent.mkdir()
        shutil.copy(sound, file)
        write_at(file, page * PAGE, garbage(page))
        broken = file.read_bytes()
        with SessionStore(file) as store:
            saved.append(messages(store))
            notice = "".join(store.notices)
            if notice:
                told = trn("{count:,} message", "{count:,} messages", messages(store))
                assert f" with {told}, the damaged file" in notice
                check(store)
            # Nothing tells of garbage at the end of a long text, or on a page not in use.
            unseen += not notice
        for copy in kept(file):
            assert copy.read_bytes() == broken
            assert copy.name in notice
        assert len(kept(file)) == bool(notice)
    total = SESSIONS * MESSAGES
    assert unseen < 0.2 * len(saved)
    assert saved[0] == total  # the header and the way to the tables
    # What hangs below a destroyed inner page of the table of messages is lost.
    assert sum(count < 0.9 * total for count in saved) <= 1


@pytest.mark.parametrize("share", [0.99, 0.5, 0.2])
def test_a_truncated_file(damaged: Path, share: float) -> None:
    size = int(damaged.stat().st_size * share)
    with damaged.open("r+b") as raw:
        raw.truncate(size)
    with SessionStore(damaged) as store:
        assert len(store.notices) == 1
        check(store)
        assert messages(store) > share * 0.5 * SESSIONS * MESSAGES
        session = new_session(store, title="after")
        assert store.latest() == session
    with SessionStore(damaged) as store:
        assert store.notices == []


def no_database(path: Path) -> None:
    path.write_text("These are my notes.\n" * 1000)


def only_garbage(path: Path) -> None:
    path.write_bytes(b"".join(garbage(n) for n in range(20)))


def header_only(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("damage", [no_database, only_garbage, header_only])
def test_a_file_with_nothing_in_it_is_kept(damaged: Path, damage: Callable[[Path], None]) -> None:
    damage(damaged)
    broken = damaged.read_bytes()
    with SessionStore(damaged) as store:
        assert "a new one holds 0 sessions with 0 messages" in store.notices[0]
        assert store.sessions() == []
        new_session(store)
    (copy,) = kept(damaged)
    assert copy.read_bytes() == broken
    assert copy.stat().st_mode & 0o077 == 0


def test_an_empty_file_is_a_new_one(file: Path) -> None:
    file.parent.mkdir()
    file.touch()
    with SessionStore(file) as store:
        assert store.notices == []
        new_session(store)
    assert kept(file) == []


@pytest.mark.parametrize("copies", [(), ("sessions.db.backup-v3",)])
def test_a_file_that_was_emptied_is_told_once(file: Path, copies: tuple[str, ...]) -> None:
    with SessionStore(file) as store:
        new_session(store)
    file.write_bytes(b"")
    for name in copies:
        file.with_name(name).write_bytes(b"x")
    with SessionStore(file) as store:
        (notice,) = store.notices
        assert "was empty, although it held data before" in notice
        assert all(name in notice for name in copies)
    with SessionStore(file) as store:
        assert store.notices == []


def test_a_journal_does_not_reach_the_new_file(damaged: Path) -> None:
    no_database(damaged)
    journal = damaged.with_name("sessions.db-journal")
    journal.write_bytes(garbage(1))
    with SessionStore(damaged) as store:
        new_session(store, title="new")
    assert not journal.exists()
    with SessionStore(damaged) as store:
        assert [session.title for session in store.sessions()] == ["new"]


def test_two_salvages_in_a_second_keep_two_files(damaged: Path) -> None:
    for _ in range(2):
        no_database(damaged)
        SessionStore(damaged).close()
    assert len(kept(damaged)) == 2


def test_a_file_in_use_is_not_replaced(damaged: Path) -> None:
    with SessionStore(damaged) as other:
        write_at(damaged, 5 * PAGE, garbage(5))
        broken = damaged.read_bytes()
        with pytest.raises(StorageError, match="damaged") as caught:
            SessionStore(damaged)
        assert "close every other tchat" in caught.value.hint
        assert damaged.read_bytes() == broken
        assert other.path == damaged
    with SessionStore(damaged) as store:
        assert len(store.notices) == 1


def test_what_hangs_on_lost_rows_is_kept(file: Path) -> None:
    """A lost session is made up, a lost parent replaced by the message before it."""
    with SessionStore(file) as store:
        first, second = new_session(store, title="a"), new_session(store, title="b")
        parent = None
        for text in ("1", "2", "3", "4"):
            parent = store.add(first.id, Role.USER, text, parent_id=parent).id
        reply = store.add(second.id, Role.ASSISTANT, "x", parent_id=None, status=Status.STREAMING)
        store.add(second.id, Role.USER, "y", parent_id=reply.id)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("DELETE FROM messages WHERE text = '2'")
        connection.execute("DELETE FROM sessions WHERE title = 'b'")
        connection.execute("UPDATE messages SET usage = '{', created_at = 'never' WHERE text = '3'")
        page = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'messages_of_session'"
        ).fetchone()[0]
    write_at(file, (page - 1) * PAGE, garbage(3))
    with SessionStore(file) as store:
        assert "2 sessions with 5 messages" in store.notices[0]
        assert [m.text for m in store.branch(first.id)] == ["1", "3", "4"]
        assert store.branch(first.id)[1].usage == {}
        assert store.get(second.id).title == "Salvaged"
        statuses = [(m.text, m.status) for m in store.branch(second.id)]
        assert statuses == [("x", Status.INTERRUPTED), ("y", Status.DONE)]


def test_no_room_for_the_new_file_leaves_the_damaged_one(damaged: Path) -> None:
    no_database(damaged)
    damaged.with_name("sessions.db.salvaged").mkdir()
    with pytest.raises(StorageError, match="cannot salvage"):
        SessionStore(damaged)
    assert damaged.read_text().startswith("These are my notes")
