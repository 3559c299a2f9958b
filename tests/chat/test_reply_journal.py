"""A reply is written beside the engine: a slow disk delays no token, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tchat.chat import reply_journal as module
from tchat.chat.candidates import CandidateJournals
from tchat.chat.model import ChatModel
from tchat.chat.reply_journal import JournalWriter, ReplyJournal
from tchat.engine.events import (
    CandidateEvent,
    Finished,
    Notice,
    Reason,
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenUsage,
)
from tchat.errors import Interrupted, ModelError, NetworkError, StorageError
from tchat.sessions.records import Message, Role, Status
from tchat.sessions.store import SessionStore
from tchat.settings import Settings

MODEL = cast(
    ChatModel,
    SimpleNamespace(
        metadata=SimpleNamespace(sha256="5", quantization="Q4_0"),
        engine=SimpleNamespace(template_hash="7"),
    ),
)
DONE = Finished(Reason.STOP, "", "", 1, TokenUsage(1, 0, 1, 1), Timings(0, 0, 0))


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


def opened(store: SessionStore, question: Message, writer: JournalWriter) -> ReplyJournal:
    return ReplyJournal.open(store, question, MODEL, Settings(), writer)


def test_no_token_waits_for_the_disk(
    store: SessionStore, question: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(store, monkeypatch)
    with JournalWriter(store) as writer:
        journal = opened(store, question, writer)
        for number in range(1000):
            journal.record(TextDelta(f"{number} "))
            if number == 3:
                assert slow.entered.wait(10)
        # A thousand pieces are here, and the first write has not come back.
        assert slow.written == []
        slow.free.set()
        journal.record(DONE)
    whole = "".join(f"{number} " for number in range(1000))
    assert store.message(journal.message_id).text == whole
    assert store.message(journal.message_id).status is Status.DONE
    assert len(slow.written) <= 2  # what waited meanwhile was replaced, not queued


@pytest.mark.parametrize(
    "end", [lambda journal: journal.record(DONE), lambda journal: journal.close()]
)
def test_the_end_comes_after_a_write_that_is_under_way(
    store: SessionStore,
    question: Message,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[ReplyJournal], object],
) -> None:
    slow = Slow(store, monkeypatch)
    with JournalWriter(store) as writer:
        journal = opened(store, question, writer)
        for piece in ("a", "b", "c"):
            journal.record(TextDelta(piece))
            journal.record(ReasoningDelta(piece.upper()))
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
            if notice := journal.record(TextDelta("x")):
                told.append(notice)
            if number == 1:
                assert failed.wait(10)
        journal.record(DONE)
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
        journal.record(TextDelta("all of it"))
        assert isinstance(journal.record(DONE), Notice)
        journal.close()
    message = store.message(journal.message_id)
    assert (message.text, message.status) == ("all of it", Status.DONE)
    assert message.finish_reason == Reason.STOP.value


def break_writer(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let every write of a growing reply fail; what is returned is set once one did."""
    entered = threading.Event()

    def broken(*_: object) -> None:
        entered.set()
        raise ValueError("nobody foresaw this")

    monkeypatch.setattr(store, "journal", broken)
    return entered


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (lambda journal: journal.record(DONE), Status.DONE),
        (lambda journal: journal.close(), Status.STOPPED),
    ],
)
def test_an_unforeseen_error_of_the_writer_is_raised_and_the_reply_kept(
    store: SessionStore,
    question: Message,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[ReplyJournal], object],
    status: Status,
) -> None:
    entered = break_writer(store, monkeypatch)
    with JournalWriter(store) as writer:
        journal = opened(store, question, writer)
        journal.record(TextDelta("all "))
        assert entered.wait(10)
        journal.record(TextDelta("of it"))
        with pytest.raises(ValueError, match="nobody foresaw"):
            end(journal)
        journal.close()
    message = store.message(journal.message_id)
    assert (message.text, message.status) == ("all of it", status)


def test_an_unforeseen_error_in_one_of_several_replies_keeps_them_all(
    store: SessionStore, question: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = break_writer(store, monkeypatch)
    journals = CandidateJournals(store, question, MODEL, Settings(), 3)
    ids = journals.ids
    journals.record(CandidateEvent(1, TextDelta("second")))
    assert entered.wait(10)
    journals.record(CandidateEvent(2, TextDelta("third")))
    with pytest.raises(ValueError, match="nobody foresaw"), journals:
        pass
    kept = [(each.id, each.text, each.status) for each in store.siblings(ids[1])]
    assert kept == [(ids[1], "second", Status.STOPPED), (ids[2], "third", Status.STOPPED)]
    assert store.branch(question.session_id)[-1].id == ids[1]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NetworkError("the connection was cut"), Status.INTERRUPTED),
        (ModelError("the worker ended"), Status.INTERRUPTED),
        (ZeroDivisionError(), Status.INTERRUPTED),
        (Interrupted(2), Status.STOPPED),
        (KeyboardInterrupt(), Status.STOPPED),
        (GeneratorExit(), Status.STOPPED),
        (None, Status.STOPPED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_ends_a_reply_early_tells_its_status(
    store: SessionStore, question: Message, error: BaseException | None, status: Status
) -> None:
    kind = BaseException if error is None else type(error)
    with JournalWriter(store) as writer, suppress(kind), opened(store, question, writer) as journal:
        journal.record(TextDelta("It is"))
        if error is not None:
            raise error
    with suppress(kind), CandidateJournals(store, question, MODEL, Settings(), 2) as journals:
        journals.record(CandidateEvent(0, TextDelta("It was")))
        if error is not None:
            raise error
    found = [(each.text, each.status) for each in store.siblings(journal.message_id)]
    assert found == [("It is", status), ("It was", status)]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("refused", ["add", "activate"])
def test_where_one_row_cannot_be_made_none_is_left(
    store: SessionStore,
    question: Message,
    monkeypatch: pytest.MonkeyPatch,
    refused: str,
    *,
    before: bool,
) -> None:
    if before:
        store.add(question.session_id, Role.ASSISTANT, "a reply", parent_id=question.id)
    there = store.branch(question.session_id)
    work, calls = getattr(store, refused), []

    def full(*args: object, **named: object) -> object:
        calls.append(args)
        if len(calls) == (3 if refused == "add" else 1):
            raise StorageError("no space left")
        return work(*args, **named)

    monkeypatch.setattr(store, refused, full)
    with pytest.raises(StorageError, match="no space left"):
        CandidateJournals(store, question, MODEL, Settings(), 3)
    assert [message for message, _ in store.messages(question.session_id)] == there
    assert store.branch(question.session_id) == there


def test_where_the_question_cannot_be_marked_no_row_is_left(
    store: SessionStore, question: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = store.finish(question.id, status=Status.STOPPED, text=question.text)

    def full(*_: object, **__: object) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr(store, "finish", full)
    with JournalWriter(store) as writer, pytest.raises(StorageError, match="no space left"):
        opened(store, stopped, writer)
    assert store.branch(question.session_id) == [stopped]


def test_no_thread_is_left(store: SessionStore, question: Message) -> None:
    with JournalWriter(store) as writer:
        journal = opened(store, question, writer)
        for _ in range(20):
            journal.record(TextDelta("x"))
        journal.record(DONE)
    assert not [thread for thread in threading.enumerate() if thread.name == "journal"]
