"""A reply is written beside the engine: a slow disk delays no token, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tchat.chat import journal as module
from tchat.chat.journal import Journal
from tchat.chat.journal_writer import JournalWriter
from tchat.chat.model import ChatModel
from tchat.engine.events import Finished, Notice, Reason, Reasoning, Timings, Token, Usage
from tchat.errors import StorageError
from tchat.sessions.records import Message, Status
from tchat.sessions.store import SessionStore
from tchat.settings import Settings

MODEL = cast(
    ChatModel,
    SimpleNamespace(
        facts=SimpleNamespace(sha256="5", quantization="Q4_0"),
        engine=SimpleNamespace(template=SimpleNamespace(sha256="7")),
    ),
)
DONE = Finished(Reason.STOP, "", "", 1, Usage(1, 0, 1, 1), Timings(0, 0, 0))


@pytest.fixture
def store(home: Path) -> Iterator[SessionStore]:
    with SessionStore(home / "sessions.db") as opened:
        yield opened


@pytest.fixture
def question(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> Message:
    monkeypatch.setattr(module, "INTERVAL", 0.0)
    return store.begin("a question")[1]


class Slow:
    """A store whose `journal` waits, as on a disk that does not answer."""

    def __init__(self, store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.free = threading.Event(), threading.Event()
        self.written: list[str] = []
        journal = store.journal

        def slowly(message_id: int, text: str, reasoning: str = "") -> None:
            self.entered.set()
            assert self.free.wait(30)
            journal(message_id, text, reasoning)
            self.written.append(text)

        monkeypatch.setattr(store, "journal", slowly)


def opened(store: SessionStore, question: Message, writer: JournalWriter) -> Journal:
    return Journal.open(store, question, MODEL, Settings(), writer)


def test_no_token_waits_for_the_disk(
    store: SessionStore, question: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(store, monkeypatch)
    with JournalWriter(store) as writer:
        journal = opened(store, question, writer)
        for number in range(1000):
            journal.take(Token(f"{number} "))
            if number == 3:
                assert slow.entered.wait(10)
        # A thousand pieces are here, and the first write has not come back.
        assert slow.written == []
        slow.free.set()
        journal.take(DONE)
    whole = "".join(f"{number} " for number in range(1000))
    assert store.message(journal.message_id).text == whole
    assert store.message(journal.message_id).status is Status.DONE
    assert len(slow.written) <= 2  # what waited meanwhile was replaced, not queued


@pytest.mark.parametrize(
    "end", [lambda journal: journal.take(DONE), lambda journal: journal.close()]
)
def test_the_end_comes_after_a_write_that_is_under_way(
    store: SessionStore,
    question: Message,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[Journal], object],
) -> None:
    slow = Slow(store, monkeypatch)
    with JournalWriter(store) as writer:
        journal = opened(store, question, writer)
        for piece in ("a", "b", "c"):
            journal.take(Token(piece))
            journal.take(Reasoning(piece.upper()))
        assert slow.entered.wait(10)
        ending = threading.Thread(target=end, args=(journal,))
        ending.start()
        ending.join(0.1)
        assert ending.is_alive()
        slow.free.set()
        ending.join()
        journal.close()
    message = store.message(journal.message_id)
    assert (message.text, message.reasoning) == ("abc", "ABC")
    assert message.status is not Status.STREAMING


def test_a_failure_of_the_writer_is_told_once_and_the_end_is_tried(
    store: SessionStore, question: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()

    def refused(*_: object) -> None:
        failed.set()
        raise StorageError("no space left")

    monkeypatch.setattr(store, "journal", refused)
    told: list[Notice] = []
    with JournalWriter(store) as writer:
        journal = opened(store, question, writer)
        for number in range(50):
            if notice := journal.take(Token("x")):
                told.append(notice)
            if number == 1:
                assert failed.wait(10)
        journal.take(DONE)
    assert [notice.kind for notice in told] == ["storage"]
    assert store.message(journal.message_id).text == "x" * 50  # there was room at the end


def test_an_end_that_fails_is_tried_again_with_all_that_is_known(
    store: SessionStore, question: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, failures = store.finish, [StorageError("locked")]

    def sometimes(message_id: int, **values: object) -> Message:
        if failures:
            raise failures.pop()
        return finish(message_id, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "finish", sometimes)
    with JournalWriter(store) as writer:
        journal = opened(store, question, writer)
        journal.take(Token("all of it"))
        assert isinstance(journal.take(DONE), Notice)
        journal.close()
    message = store.message(journal.message_id)
    assert (message.text, message.status) == ("all of it", Status.DONE)
    assert message.finish_reason == Reason.STOP.value


def test_what_nobody_foresaw_in_the_writer_is_raised_at_the_end(
    store: SessionStore, question: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = threading.Event()

    def broken(*_: object) -> None:
        entered.set()
        raise ValueError("nobody foresaw this")

    monkeypatch.setattr(store, "journal", broken)
    with JournalWriter(store) as writer:
        journal = opened(store, question, writer)
        journal.take(Token("x"))
        assert entered.wait(10)
        with pytest.raises(ValueError, match="nobody foresaw"):
            journal.close()


def test_no_thread_is_left(store: SessionStore, question: Message) -> None:
    with JournalWriter(store) as writer:
        journal = opened(store, question, writer)
        for _ in range(20):
            journal.take(Token("x"))
        journal.take(DONE)
    assert not [thread for thread in threading.enumerate() if thread.name == "journal"]
