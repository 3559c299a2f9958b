"""Several replies to one question: all are kept, one is gone on with."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tchat.chat.commands.command import parse_candidates
from tchat.engine.events import CandidateEvent, Event, Finished, MessageStored, Notice, TextDelta
from tchat.errors import UsageError
from tchat.sessions.records import Message, Role, Status
from tchat.sessions.store import SessionStore
from tests.chat.conftest import OpenChat


def replies(store: SessionStore, events: list[Event]) -> list[Message]:
    """The rows of the replies, in their order."""
    rows = [
        e.event
        for e in events
        if isinstance(e, CandidateEvent) and isinstance(e.event, MessageStored)
    ]
    return [store.message(row.reply) for row in rows]


def test_all_are_siblings_and_the_first_is_active(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat(temp=1.5, seed=3)
    events = list(chat.candidates(3, "Hello"))
    ends = {e.index: e.event for e in events if isinstance(e, CandidateEvent)}
    rows = replies(store, events)
    assert [row.text for row in rows] == [ends[n].text for n in range(3)]  # type: ignore[union-attr]
    assert [row.sampling["seed"] for row in rows] == [3, 4, 5]
    assert {row.status for row in rows} == {Status.DONE}
    assert [each.id for each in store.siblings(rows[0].id)] == [row.id for row in rows]
    assert chat.session is not None
    assert store.branch(chat.session.id)[-1].id == rows[0].id


def test_the_one_picked_is_gone_on_with(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat(temp=1.5, seed=3)
    rows = replies(store, list(chat.candidates(3, "Hello")))
    chat.store.pick(rows[2].id)
    *_, end = chat.send("and then?")
    assert isinstance(end, Finished)
    assert chat.session is not None
    path = [message.text for message in store.branch(chat.session.id)]
    assert path == ["Hello", rows[2].text, "and then?", end.text]
    assert end.usage.reused > rows[2].usage["prompt"]


def test_without_a_prompt_they_answer_the_last_question(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat(temp=1.5)
    list(chat.send("Hello"))
    rows = replies(store, list(chat.candidates(2)))
    assert len(store.siblings(rows[0].id)) == 3
    with pytest.raises(UsageError, match="no message"):
        list(open_chat().candidates(2))


def test_one_that_is_stopped_keeps_what_it_wrote(open_chat: OpenChat, store: SessionStore) -> None:
    chat, stopped, events = open_chat(temp=1.5, seed=3, max_tokens=30), set[int](), []
    for event in chat.candidates(2, "Hello", stopped=stopped):
        events.append(event)
        if isinstance(event, CandidateEvent) and event.index == 1 and len(events) > 20:
            stopped.add(1)
    first, second = replies(store, events)
    assert (first.status, second.status) == (Status.DONE, Status.STOPPED)
    assert 0 < second.usage["completion"] < first.usage["completion"]


def test_those_without_a_word_leave_nothing(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat(temp=1.5, max_tokens=30)
    list(chat.send("Hello"))
    assert chat.session is not None
    before = store.branch(chat.session.id)
    events = list(chat.candidates(3, stopped={0, 1, 2}))
    assert not [event for event in events if isinstance(event, Notice)]
    assert store.branch(chat.session.id) == before
    assert len(store.siblings(before[-1].id)) == 1
    # One of several without a word goes alone.
    events = list(chat.candidates(3, stopped={0, 2}))
    assert len(store.siblings(before[-1].id)) == 2
    assert store.branch(chat.session.id)[-1].id == events_of(events, 1).reply


def events_of(events: list[Event], index: int) -> MessageStored:
    found = [e.event for e in events if isinstance(e, CandidateEvent) and e.index == index]
    assert isinstance(found[0], MessageStored)
    return found[0]


def test_leaving_early_keeps_what_was_written(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat(temp=1.5, seed=3, max_tokens=30)
    events = chat.candidates(2, "Hello")
    seen = [next(events) for _ in range(20)]
    assert isinstance(events, Generator)
    events.close()
    rows = replies(store, seen)
    assert [row.status for row in rows] == [Status.STOPPED] * 2
    assert all(row.text for row in rows)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", (4, "")),
        ("3", (3, "")),
        ("2 why?", (2, "why?")),
        (" why? ", (4, "why?")),
        ("-x", (4, "-x")),
    ],
)
def test_what_is_typed_behind_try(typed: str, meant: tuple[int, str]) -> None:
    assert parse_candidates(typed) == meant


@pytest.mark.parametrize("typed", ["1", "0 why", "17", "-1", "-4 why", "99999999999999999999"])
def test_a_count_out_of_bounds_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="2 to 16"):
        parse_candidates(typed)


def test_stopped_ones_do_not_hide_a_whole_reply_from_before(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat(temp=1.5, max_tokens=30, logit_bias=("<|im_end|>=-100", "<|endoftext|>=-100"))
    whole = list(chat.send("Hello"))
    assert isinstance(whole[-1], Finished)
    assert chat.session is not None
    before = store.branch(chat.session.id)
    stopped: set[int] = set()
    for event in chat.candidates(3, stopped=stopped):
        inner = event.event if isinstance(event, CandidateEvent) else None
        if isinstance(inner, TextDelta):
            assert store.branch(chat.session.id) == before  # also while they are written
            stopped |= {0, 1, 2}
    rows = store.siblings(before[-1].id)
    assert [row.status for row in rows] == [Status.DONE, *[Status.STOPPED] * (len(rows) - 1)]
    assert len(rows) > 1
    assert store.branch(chat.session.id) == before


def test_a_whole_one_goes_before_stopped_ones(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat(temp=1.5, max_tokens=30, logit_bias=("<|im_end|>=-100", "<|endoftext|>=-100"))
    stopped: set[int] = set()
    events: list[Event] = []
    for event in chat.candidates(2, "Hello", stopped=stopped):
        events.append(event)
        if isinstance(event, CandidateEvent) and event.index == 0 and len(events) > 12:
            stopped.add(0)
    assert chat.session is not None
    assert store.branch(chat.session.id)[-1].id == events_of(events, 1).reply


def test_all_stopped_before_a_word_leave_the_prompt_on_the_branch(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat(temp=1.5)
    list(chat.candidates(2, "first", stopped={0, 1}))
    list(chat.send("second"))
    assert chat.session is not None
    texts = [m.text for m in store.branch(chat.session.id) if m.role is Role.USER]
    assert texts == ["first", "second"]


def test_stopped_ones_do_not_hide_an_earlier_reply_that_was_stopped_later(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat(temp=1.5, max_tokens=30, logit_bias=("<|im_end|>=-100", "<|endoftext|>=-100"))
    tokens = 0
    for event in chat.send("Hello"):
        tokens += isinstance(event, TextDelta)
        if tokens == 9:
            chat.cancel.set()
    chat.cancel.clear()
    assert chat.session is not None
    before = store.branch(chat.session.id)
    assert before[-1].status is Status.STOPPED
    list(chat.candidates(2, stopped={0, 1}))
    stopped: set[int] = set()
    for event in chat.candidates(2, stopped=stopped):
        if isinstance(event, CandidateEvent) and isinstance(event.event, TextDelta):
            stopped |= {0, 1}
    assert store.branch(chat.session.id) == before
