"""Several threads and processes at once, and processes that die."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tchat.errors import StorageError
from tchat.sessions import database, database_file
from tchat.sessions.records import Role, Session, Status
from tchat.sessions.store import SessionStore
from tests.sessions.stores import new_session, recover


def start(module: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.sessions.{module}", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out


def test_processes_append_to_one_new_file(file: Path) -> None:
    """They also meet while they make the file, and recover beside each other's replies."""
    names, turns = ["a", "b", "c"], 15
    for process in [start("appending", file, turns, name) for name in names]:
        output(process)
    with SessionStore(file) as store:
        assert store.recovered == ()
        assert sorted(session.title for session in store.sessions()) == names
        for session in store.sessions():
            name = session.title
            expected = [f"{name} {verb} {turn}" for turn in range(turns) for verb in VERBS]
            branch = store.branch(session.id)
            assert [message.text for message in branch] == expected
            assert {message.status for message in branch} == {Status.DONE}
        assert len(store.search("answers", limit=1000)) == len(names) * turns


VERBS = ("asks", "answers")


def kill(file: Path, kills: int, seed: int) -> dict[str, int]:
    counts: dict[str, int] = json.loads(output(start("killing", file, kills, seed)))
    assert counts["stored"] >= counts["done"]
    return counts


def test_killed_writers_lose_nothing_that_was_confirmed(
    file: Path, record: Callable[[str, int], None]
) -> None:
    record("kills", 8)
    record("confirmed writes", sum(kill(file, kills=8, seed=1).values()))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_thousand_killed_writers_lose_nothing(
    file: Path, record: Callable[[str, int], None]
) -> None:
    record("kills", 1000)
    counts = kill(file, kills=1000, seed=2)
    assert counts["done"] > 500
    assert counts["growing"] > 200
    record("confirmed writes", sum(counts.values()))


def reply(store: SessionStore, session: Session) -> int:
    return store.add(session.id, Role.ASSISTANT, "", parent_id=None, status=Status.STREAMING).id


def test_a_living_writers_reply_is_left_alone(file: Path) -> None:
    with SessionStore(file) as living:
        session = new_session(living)
        number = reply(living, session)
        living.journal(number, "growing")
        with SessionStore(file) as other:
            assert other.recovered == ()
            assert recover(other) == recover(living) == []
            assert other.message(number).status == Status.STREAMING
        assert living.finish(number, status=Status.DONE, text="grown").text == "grown"


def test_a_closed_writers_reply_is_interrupted(file: Path) -> None:
    with SessionStore(file) as writer:
        session = new_session(writer)
        number = reply(writer, session)
        writer.journal(number, "so far", "because")
        other = SessionStore(file)
    with other:
        (found,) = recover(other)
        assert (found.id, found.status) == (number, Status.INTERRUPTED)
        assert (found.text, found.reasoning) == ("so far", "because")
        assert recover(other) == []
        assert [hit.message and hit.message.id for hit in other.search("so far")] == [number]
        later = reply(other, session)
    with SessionStore(file) as late:
        assert [message.id for message in late.recovered] == [later]


def test_locks_are_taken_away(file: Path) -> None:
    folder = file.with_name("sessions.db.writers")
    with SessionStore(file):
        (folder / "0123456789abcdef.lock").touch()  # of a process that died
        with SessionStore(file):
            assert len(list(folder.glob("*.lock"))) == 2
    assert {path.name for path in folder.iterdir()} == {"gate", "seen"}


def test_a_store_may_be_closed_by_another_thread(file: Path) -> None:
    store = SessionStore(file)
    thread = threading.Thread(target=store.close)
    thread.start()
    thread.join()
    assert not list(file.with_name("sessions.db.writers").glob("*.lock"))


def test_a_busy_gate_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SessionStore(file) as store:
        monkeypatch.setattr(database_file, "GATE_SECONDS", 0.05)
        gate = database_file.ProcessLocks(file).gate()
        with gate, pytest.raises(StorageError, match="has been checking") as caught:
            SessionStore(file)
        assert caught.value.hint
        assert recover(store) == []


@pytest.mark.parametrize("safe_wal", [(9,), (3,)])
def test_one_thread_writes_while_another_reads(
    file: Path, monkeypatch: pytest.MonkeyPatch, safe_wal: tuple[int, ...]
) -> None:
    monkeypatch.setattr(database, "SAFE_WAL", safe_wal)
    with SessionStore(file) as store:
        session = new_session(store)
        number = reply(store, session)

        def write() -> None:
            for count in range(150):
                store.journal(number, "word " * count)

        def read() -> None:
            for _ in range(300):
                (message,) = store.branch(session.id)
                assert message.text == "word " * message.text.count("word ")
                store.search("word")
                store.sessions()

        together(write, read, read)
        assert store.message(number).text == "word " * 149


def together(*actions: Callable[[], None]) -> None:
    """Run each action in a thread of its own; the first failure is raised."""
    failures: list[BaseException] = []

    def guarded(action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
