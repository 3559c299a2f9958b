"""A reply that repeats itself: what is stored of it, and how the chat goes on."""

from __future__ import annotations

from typing import Any

from tchat.chat.chat import Chat
from tchat.engine.events import Event, Finished, MessageStored, Reason, TextDelta
from tchat.sessions.records import Message, Status
from tchat.sessions.store import SessionStore
from tests.chat.conftest import OpenChat

LOOPS: dict[str, Any] = {"max_tokens": 300, "logit_bias": ("the=1000",)}


def last(chat: Chat, store: SessionStore) -> Message:
    assert chat.session is not None
    return store.branch(chat.session.id)[-1]


def end_of(events: list[Event]) -> Finished:
    end = events[-1]
    assert isinstance(end, Finished)
    return end


def test_the_stored_reply_ends_after_the_first_round(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat(**LOOPS)
    events = list(chat.send("Hello"))
    reply, end = last(chat, store), end_of(events)
    streamed = "".join(each.text for each in events if isinstance(each, TextDelta))
    assert (end.reason, reply.finish_reason, reply.status) == (Reason.LOOP, "loop", Status.DONE)
    assert reply.text == end.text
    assert 0 < len(reply.text) < len(streamed) / 4
    assert streamed.startswith(reply.text)


def test_the_repetition_is_not_in_the_next_prompt(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat(**LOOPS)
    first = end_of(list(chat.send("Hello")))
    second = end_of(list(chat.send("Go on")))
    assert second.usage.prompt < first.usage.prompt + first.usage.completion / 2
    assert second.usage.reused > 0


def test_continuing_goes_on_without_the_guard(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat(**LOOPS)
    list(chat.send("Hello"))
    before = last(chat, store)
    end = end_of(list(chat.continue_reply()))
    after = last(chat, store)
    assert (end.reason, end.usage.completion) == (Reason.LENGTH, 300)
    assert after.id != before.id
    assert after.text == before.text + end.text
    assert after.sampling["loop_guard"] is False
    assert chat.settings.sampling.loop_guard


def test_a_loop_behind_a_prefix_keeps_the_prefix(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat(**LOOPS)
    end = end_of(list(chat.send("Hello", reply_prefix="Well, ")))
    assert end.reason is Reason.LOOP
    assert last(chat, store).text == "Well, " + end.text


def test_again_with_a_penalty_is_another_reply(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat(max_tokens=200, logit_bias=("the=12",))
    list(chat.send("Hello"))
    before = last(chat, store)
    assert before.finish_reason == "loop"
    assert end_of(list(chat.regenerate(dry=True))).reason is not Reason.LOOP
    after = last(chat, store)
    assert after.parent_id == before.parent_id
    assert after.sampling["dry_multiplier"] == 0.8
    assert before.sampling["dry_multiplier"] == chat.settings.sampling.dry_multiplier == 0


def test_several_replies_are_stored_without_their_repetition(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat(**LOOPS)
    events = list(chat.candidates(2, "Hello"))
    ids = [
        each.event.reply  # type: ignore[union-attr]
        for each in events
        if isinstance(getattr(each, "event", None), MessageStored)
    ]
    replies = [store.message(each) for each in ids]
    assert [each.finish_reason for each in replies] == ["loop", "loop"]
    assert all(0 < len(each.text) < 60 for each in replies)
