"""The encrypted file: whose it is, what is readable in it, and what damage costs."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tchat.encrypted_sqlite import OtherKey
from tchat.encryption import key_management
from tchat.encryption.encryption import Encryption
from tchat.encryption.lock_file import EncryptionState
from tchat.errors import StorageError, StoreLocked
from tchat.paths import Paths, user_paths
from tchat.sessions import database, schema
from tchat.sessions.database import Database
from tchat.sessions.fallback_store import FallbackStore
from tchat.sessions.records import Role, Status
from tchat.sessions.store import SessionStore
from tests.encryption.locks import make_lock
from tests.sessions.stores import new_session

PAGE = 4096
WORDS = "the heron waits by the weir"
CHATS, MESSAGES = 8, 25
FLIPS = 100


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Encryption:
    """The keys of another store."""
    folder = tmp_path_factory.mktemp("other")
    return make_lock(Paths(folder, folder / "cache"))


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory, other: Encryption
) -> dict[int, tuple[str, str]]:
    """What `content_of` has of the messages of the store that `other` opens."""
    path = other.lock_file.with_name("sessions.db")
    with SessionStore(path, other) as store:
        for chat in range(CHATS):
            session, parent = new_session(store, title=f"chat {chat}"), None
            for number in range(MESSAGES):
                text = f"{WORDS} {number} of {chat} " * (number + 1)
                parent = store.add(session.id, Role.USER, text, parent_id=parent).id
        store.erase()
        return content_of(store)


def content_of(store: SessionStore) -> dict[int, tuple[str, str]]:
    return {
        message.id: (session.id, message.text)
        for session in store.sessions()
        for message in store.tree(session.id).messages
    }


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_no_word_is_readable_while_it_is_open_and_after(file: Path, encryption: Encryption) -> None:
    with SessionStore(file, encryption) as store:
        session, asked = store.begin(WORDS, title="heron", system="weir")
        reply = store.add(
            session.id, Role.ASSISTANT, "", parent_id=asked.id, status=Status.STREAMING
        )
        store.journal(reply.id, WORDS)
        with store._database.writing() as connection:
            connection.execute("UPDATE messages SET text = text || ' heron'")
            during = everything_in(file.parent)
        store.finish(reply.id, status=Status.DONE, text=WORDS)
        store.delete(session.id)
        store.erase()
    for found in (during, everything_in(file.parent)):
        assert len(found) > 10 * PAGE
        assert b"heron" not in found
        assert b"weir" not in found
        assert b"CREATE TABLE" not in found
    assert [path.name for path in file.parent.glob("sessions.db*") if path.is_file()] == [file.name]


@pytest.mark.parametrize("read_only", [False, True])
def test_another_key_changes_nothing(
    file: Path, encryption: Encryption, other: Encryption, read_only: bool
) -> None:
    with SessionStore(file, encryption) as store:
        store.begin(WORDS)
    before = file.read_bytes()
    with pytest.raises(OtherKey, match="another key"):
        SessionStore(file, other, read_only=read_only)
    with pytest.raises(OtherKey, match="lock file that opens it is missing"):
        SessionStore(file, read_only=read_only)
    assert file.read_bytes() == before
    assert not list(file.parent.glob("*.corrupt-*"))
    with SessionStore(file, encryption, read_only=read_only) as store:
        assert store.sessions()[0].messages == 1


@pytest.mark.parametrize("protected", ["is_on_read_only_disk", "is_writable"])
def test_reading_only_makes_no_file_where_none_can_be_made(
    file: Path, encryption: Encryption, monkeypatch: pytest.MonkeyPatch, protected: str
) -> None:
    with SessionStore(file, encryption) as store:
        session, _ = store.begin(WORDS)
    before = sorted(file.parent.rglob("*"))
    monkeypatch.setattr(database, protected, lambda _: protected == "is_on_read_only_disk")
    with SessionStore(file, encryption, read_only=True) as store:
        assert [each.id for each in store.sessions()] == [session.id]
        assert sorted(file.parent.rglob("*")) == before


def test_a_file_in_clear_is_refused_in_a_locked_store(file: Path, encryption: Encryption) -> None:
    with SessionStore(file) as store:
        store.begin(WORDS)
    before = file.read_bytes()
    with pytest.raises(OtherKey, match="is not encrypted"):
        SessionStore(file, encryption)
    assert file.read_bytes() == before


def test_a_locked_store_is_not_opened(file: Path, encryption: Encryption) -> None:
    SessionStore(file, encryption).close()
    encryption.forget()
    before = file.read_bytes()
    with pytest.raises(StoreLocked):
        SessionStore(file, encryption)
    assert file.read_bytes() == before


@pytest.mark.parametrize("state", [EncryptionState.TURNING_ON, EncryptionState.TURNING_OFF])
def test_a_store_that_is_being_converted_is_not_opened(
    file: Path, encryption: Encryption, state: EncryptionState
) -> None:
    key_management.change_state(encryption, state)
    with pytest.raises(StorageError, match=f"run `tchat lock {str(state).split()[1]}`"):
        SessionStore(file, encryption)


@pytest.mark.parametrize("seed", range(4))
def test_a_changed_byte_costs_one_page(
    written: dict[int, tuple[str, str]], file: Path, other: Encryption, seed: int
) -> None:
    """Wherever it is; what is there then is as it was, and only that."""
    sound = other.lock_file.with_name("sessions.db").read_bytes()
    chance = random.Random(seed)
    lost = []
    for _ in range(FLIPS // 4):
        damaged = bytearray(sound)
        place = chance.randrange(len(damaged))
        damaged[place] ^= 1 << chance.randrange(8)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(damaged)
        with SessionStore(file, other) as store:
            rest = content_of(store)
            if place < 16:  # the mark of an encrypted file is needed for nothing
                assert rest == written
                assert store.notices == []
            else:
                assert "the session database was damaged" in store.notices[0]
                if len(rest) < len(written):
                    assert "; messages are missing in: chat " in store.notices[0]
        assert {text for _, text in rest.values()} <= {text for _, text in written.values()}
        assert set(rest) <= set(written)
        lost.append(len(written) - len(rest))
        for path in file.parent.glob("sessions.db*"):
            if path.is_file():
                path.unlink()
    assert max(lost) <= 30  # short messages of one page


def test_garbage_on_the_first_page_and_a_cut_end(
    written: dict[int, tuple[str, str]], file: Path, other: Encryption
) -> None:
    sound = other.lock_file.with_name("sessions.db").read_bytes()
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(random.Random(0).randbytes(PAGE) + sound[PAGE : -3 * PAGE + 100])
    broken = file.read_bytes()
    with SessionStore(file, other) as store:
        assert len(content_of(store)) > 0.7 * len(written)
        assert "the session database was damaged" in store.notices[0]
    (kept,) = file.parent.glob("*.corrupt-*")
    assert kept.read_bytes() == broken
    assert WORDS.encode() not in everything_in(file.parent)
    with SessionStore(file, other) as store:
        assert store.notices == []


@pytest.mark.parametrize(
    ("end", "damage"),
    [
        *((end, 0) for end in (5000, PAGE)),
        *(
            (end, damage)
            for end in (-1, -PAGE, -PAGE - 100, -7 * PAGE, -16 * PAGE, PAGE - 1, 100, 16, 3)
            for damage in (0, 40, PAGE)
        ),
    ],
)
def test_a_file_that_was_cut_off_is_salvaged(
    written: dict[int, tuple[str, str]], file: Path, other: Encryption, end: int, damage: int
) -> None:
    """Wherever it ends: what is left is found, and the file is kept."""
    sound = other.lock_file.with_name("sessions.db").read_bytes()
    file.parent.mkdir(exist_ok=True)
    file.write_bytes((random.Random(0).randbytes(damage) + sound[damage:])[:end])
    broken = file.read_bytes()
    with SessionStore(file, other) as store:
        rest = content_of(store)
        assert rest.items() <= written.items()
        if end < 0:
            assert len(rest) > 0.4 * len(written)
        assert "the session database was damaged" in store.notices[0]
        session = new_session(store, title="after")
    (kept,) = file.parent.glob("*.corrupt-*")
    assert kept.read_bytes() == broken
    assert not list(file.parent.glob("*.salvaged*"))
    with SessionStore(file, other) as store:
        assert store.notices == []
        assert store.latest() == session


def test_damage_behind_a_log_that_was_not_merged(file: Path, encryption: Encryption) -> None:
    with SessionStore(file, encryption) as store:
        store.begin("first")
        store.erase()
        store.begin("second")
        log = file.with_name("sessions.db-wal")
        copies = {path: path.read_bytes() for path in (file, log)}
    for path, content in copies.items():
        path.write_bytes(content)
    with file.open("r+b") as raw:  # a page that the log has no newer version of
        raw.seek(12 * PAGE + 100)
        raw.write(b"\0" * 8)
    with SessionStore(file, encryption) as store:
        assert {text for _, text in content_of(store).values()} == {"first", "second"}


def test_damage_that_is_met_in_use_moves_the_chat_into_memory_and_back(
    file: Path, encryption: Encryption
) -> None:
    with SessionStore(file, encryption) as store:
        session, asked = store.begin(WORDS)
        for number in range(60):
            asked = store.add(session.id, Role.USER, f"{number} " * 1000, parent_id=asked.id)
        store.erase()
    with SessionStore(file, encryption) as store:
        last = file.stat().st_size // PAGE
        with file.open("r+b") as raw:
            for page in range(last // 2, last):
                raw.seek(page * PAGE + 50)
                raw.write(b"\0" * 8)
        fallback = FallbackStore(store)
        store._database._connection.execute("PRAGMA shrink_memory")
        with pytest.raises(StorageError, match="damaged"):
            for _ in store.walk(session.id):
                pass
        made, _ = fallback.begin("goes on")
        assert fallback.failure is not None
        fallback.write_back()
        assert fallback.failure is None
        assert made.id in {each.id for each in store.sessions()}
        fallback.close()
    with SessionStore(file, encryption) as store:
        assert made.id in {each.id for each in store.sessions()}


@pytest.mark.parametrize("version", range(1, schema.CURRENT))
def test_an_older_file_is_upgraded_and_its_copy_encrypted(
    file: Path, encryption: Encryption, version: int
) -> None:
    file.parent.mkdir(exist_ok=True)
    file.touch(0o600)
    with closing(Database(file, encryption)) as database:
        schema.migrate(database, version)
        with database.writing() as connection:
            connection.execute(
                "INSERT INTO sessions (id, title, system, settings, created_at, updated_at)"
                " VALUES ('abcdefgh', ?, '', '{}', 1.0, 1.0)",
                (WORDS,),
            )
    with SessionStore(file, encryption) as store:
        assert [each.title for each in store.sessions()] == [WORDS]
        (copy,) = store.backup_files()
    assert WORDS.encode() not in everything_in(file.parent)
    with closing(Database(copy, encryption)) as database, database.reading() as connection:
        assert connection.execute("SELECT title FROM sessions").fetchone()[0] == WORDS
        assert connection.execute("PRAGMA user_version").fetchone()[0] == version


def test_the_clear_file_stays_as_it_was(home: Path) -> None:
    paths = user_paths()
    with SessionStore(paths.sessions_db, paths.encryption) as store:
        store.begin(WORDS)
    with closing(sqlite3.connect(paths.sessions_db)) as connection:
        assert connection.execute("SELECT text FROM messages").fetchall() == [(WORDS,)]
