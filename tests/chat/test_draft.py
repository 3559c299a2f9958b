"""What is read of a draft belongs to nobody until it is sent."""

from __future__ import annotations

from collections.abc import Iterable

from tchat.chat.chat import Chat
from tchat.engine.events import CacheRestored, Event, Finished
from tests.chat.conftest import OpenChat
from tests.engine.conftest import cached_tokens

TEXT = "the be to of and in that have it for not on with he as you do at this " * 8
DRAFT = "people into year your good some could them see other than then now " * 6


def always() -> bool:
    return True


def usage(events: Iterable[Event]) -> Finished:
    last = list(events)[-1]
    assert isinstance(last, Finished)
    return last


def held(chat: Chat) -> int:
    assert chat.model is not None
    return cached_tokens(chat.model.require_engine())


def test_a_draft_is_never_saved_with_the_session(open_chat: OpenChat) -> None:
    chat = open_chat()
    usage(chat.send(TEXT))
    own = held(chat)
    assert list(chat.prefill_draft(DRAFT, always))
    assert 0 < chat.save_snapshot() <= own
    chat.close()
    again = open_chat(chat.session)
    restored = [event for event in again.load_and_restore() if isinstance(event, CacheRestored)]
    assert restored[0].tokens <= own
    assert usage(again.send(DRAFT)).usage.prefilled > 60


def test_the_session_goes_on_with_what_was_read(open_chat: OpenChat) -> None:
    chat = open_chat()
    usage(chat.send(TEXT))
    read = list(chat.prefill_draft(DRAFT, always))[-1]
    assert read.done == read.total
    assert usage(chat.send(DRAFT)).usage.prefilled < 20


def test_a_draft_for_which_turns_must_leave_is_not_read(open_chat: OpenChat) -> None:
    chat = open_chat(ctx_size=512)
    usage(chat.send(TEXT))
    own = held(chat)
    assert list(chat.prefill_draft(DRAFT * 4, always)) == []
    assert held(chat) == own


def test_nothing_is_read_before_the_model_is_there(open_chat: OpenChat) -> None:
    assert list(open_chat().prefill_draft(DRAFT, always)) == []
