"""``tchat sessions rm``: deletes for good, and names what outlives it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tchat.chat.preload import snapshot_store
from tchat.chat.prompt_history import HistoryEntry, PromptHistory
from tchat.engine.snapshots.store import SnapshotStore
from tchat.errors import StorageError
from tchat.paths import user_paths
from tchat.sessions.store import SessionStore
from tests.cli.shell import Shell


@pytest.fixture
def full(home: Path) -> Path:
    """A home with two chats, copies of the database, and typed prompts."""
    with SessionStore(home / "sessions.db") as store:
        for number in range(2):
            store.begin(f"SECRET {number} " * 50, title=f"chat {number}")
    (home / "sessions.db.backup-v4").write_text("SECRET")
    (home / "sessions.db.corrupt-20260101-000000").write_text("SECRET")
    PromptHistory(home).add(HistoryEntry("SECRET"), private=False)
    (home / "history").write_text("SECRET")
    return home


def secrets(home: Path) -> list[str]:
    return sorted(
        path.name for path in home.iterdir() if path.is_file() and b"SECRET" in path.read_bytes()
    )


def test_a_dry_run_lists_and_deletes_nothing(shell: Shell, full: Path) -> None:
    before = secrets(full)
    ran = shell("sessions", "rm", "--all", "--history", "--backups", "--dry-run")
    assert ran.code == 0
    listed = ran.out.splitlines()
    assert [line for line in listed if "chat 0" in line]
    assert [line for line in listed if line.endswith("history")]
    assert "nothing was deleted" in ran.err
    assert secrets(full) == before
    with SessionStore(full / "sessions.db") as store:
        assert len(store.sessions()) == 2


COPIES = ["sessions.db.backup-v4", "sessions.db.corrupt-20260101-000000"]
HISTORIES = ["history", "history.jsonl"]


def test_what_outlives_the_sessions_is_named(shell: Shell, full: Path) -> None:
    ran = shell("sessions", "rm", "--all", "-y")
    assert ran.code == 0
    assert secrets(full) == [*HISTORIES, *COPIES]
    assert all(name in ran.err for name in [*COPIES, *HISTORIES])
    assert "tchat sessions rm --backups" in ran.err
    assert "tchat sessions rm --history" in ran.err
    assert ran.err.startswith("tchat: deleted 2 sessions\n")
    assert shell("sessions", "ls").out == ""


@pytest.mark.parametrize(
    ("flags", "stay"),
    [
        (("--history",), COPIES),
        (("--backups",), HISTORIES),
        (("--history", "--backups"), []),
    ],
)
def test_everything_can_be_deleted(
    shell: Shell, full: Path, flags: tuple[str, ...], stay: list[str]
) -> None:
    ran = shell("sessions", "rm", "--all", "-y", *flags)
    assert ran.code == 0
    assert secrets(full) == stay
    assert ran.err.startswith("tchat: deleted 2 sessions\n")
    assert ran.err.count("\n") == 1 + bool(stay)


def test_the_history_alone_can_be_deleted(shell: Shell, full: Path) -> None:
    assert shell("sessions", "rm", "--history", "-y").code == 0
    assert secrets(full) == ["sessions.db", *COPIES]


def test_one_of_them_leaves_the_other(shell: Shell, full: Path) -> None:
    assert shell("sessions", "rm", "last", "-y").code == 0
    assert b"SECRET 1" not in (full / "sessions.db").read_bytes()
    assert b"SECRET 0" in (full / "sessions.db").read_bytes()


def test_nothing_named_is_refused(shell: Shell, full: Path) -> None:
    ran = shell("sessions", "rm", "-y")
    assert ran.code == 2
    assert "--all" in ran.err


@contextmanager
def states() -> Iterator[SnapshotStore]:
    opened = snapshot_store(user_paths())
    yield opened
    opened.close()


@pytest.fixture
def ids(full: Path) -> list[str]:
    """The chats in ``full``, which have a saved state each."""
    with SessionStore(full / "sessions.db") as store:
        found = [session.id for session in store.sessions()]
    with states() as saved:
        saved.index.record_prefill_rate("model", "Tiny")
        for number, session_id in enumerate(found):
            assert saved.add("model", (), [number + 1] * 64, memoryview(b"state"), session_id)
    return found


def with_state() -> set[str]:
    with states() as saved:
        return {held.session for held in saved.sessions()}


def test_saved_states_go_with_the_sessions(shell: Shell, ids: list[str]) -> None:
    assert with_state() == set(ids)
    assert shell("sessions", "rm", ids[0], "-y").code == 0
    assert with_state() == {ids[1]}


def test_saved_states_go_though_a_later_step_fails(
    shell: Shell, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    undeletable(monkeypatch, *COPIES)
    ran = shell("sessions", "rm", "--all", "--backups", "-y")
    assert (ran.code, ran.err.count("\n")) == (6, 1)
    assert with_state() == set()
    assert len(ids) == 2


def test_saved_states_go_though_a_later_session_cannot_be_deleted(
    shell: Shell, full: Path, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = SessionStore.delete

    def second_fails(store: SessionStore, session_id: str) -> object:
        if session_id == ids[1]:
            raise StorageError("no space left")
        return delete(store, session_id)

    monkeypatch.setattr(SessionStore, "delete", second_fails)
    ran = shell("sessions", "rm", *ids, "--backups", "-y")
    assert (ran.code, ran.err.count("\n")) == (6, 1)
    assert ids[0] not in with_state()
    assert b"SECRET 1" not in (full / "sessions.db").read_bytes()  # erased too
    assert set(COPIES) < set(secrets(full))


@pytest.mark.parametrize("which", [["0"], ["0", "1"], ["--all"]])
def test_what_is_not_deleted_is_not_said_to_be_and_keeps_its_states(
    shell: Shell, full: Path, ids: list[str], monkeypatch: pytest.MonkeyPatch, which: list[str]
) -> None:
    def no_room(store: SessionStore, *_: str) -> None:
        raise StorageError("the disk is full", "free some space")

    monkeypatch.setattr(SessionStore, "delete", no_room)
    monkeypatch.setattr(SessionStore, "erase", no_room)
    names = [ids[int(each)] if each.isdecimal() else each for each in which]
    ran = shell("sessions", "rm", "-y", *names)
    assert (ran.code, ran.err) == (6, "tchat: the disk is full; free some space\n")
    assert with_state() == set(ids)
    with SessionStore(full / "sessions.db") as store:
        assert {session.id for session in store.sessions()} == set(ids)


def test_what_cannot_be_forgotten_holds_up_nothing_else(
    shell: Shell, full: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise StorageError("what is saved of chats cannot be removed")

    monkeypatch.setattr("tchat.chat.preload.forget_sessions", refused)
    ran = shell("sessions", "rm", "--all", "--backups", "--history", "-y")
    assert (ran.code, ran.err.count("\n")) == (6, 1)
    assert secrets(full) == []


def undeletable(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the deletion of files with these names fail."""
    unlink = Path.unlink

    def refused(path: Path, *, missing_ok: bool = False) -> None:
        if path.name in names:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)


def test_what_cannot_be_deleted_holds_up_nothing_else(
    shell: Shell, full: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undeletable(monkeypatch, COPIES[0], HISTORIES[0])
    ran = shell("sessions", "rm", "--all", "--backups", "--history", "-y")
    assert ran.code == 6
    assert ran.err.count("\n") == 1
    assert "cannot delete" in ran.err
    assert secrets(full) == [HISTORIES[0], COPIES[0]]
