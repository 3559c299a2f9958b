"""Results of tools in a context that is full: what leaves is told, and the rest is read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.chat.chat import Chat
from tchat.engine.events import Event, Finished, Notice
from tchat.engine.prompt import ChatMessage
from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore
from tests.chat.conftest import OpenChat
from tests.chat.forced_replies import HERMES, MARKS
from tests.sessions.tool_turns import add_call_turn
from tests.tiny import write_tiny

WORDS = "the be to of and in that have it for not on with he as you do at this "


@pytest.fixture
def hermes(tmp_path: Path) -> str:
    return str(write_tiny(tmp_path / "hermes.gguf", template=HERMES, user_defined=MARKS))


def chat_with(open_chat: OpenChat, store: SessionStore, model: str, *results: str) -> Chat:
    """A chat in a small context whose turns had these results; the last one is unanswered."""
    session, question = store.begin("go")
    for number, result in enumerate(results):
        if number:
            parent = store.branch(session.id)[-1].id
            question = store.add(session.id, Role.USER, f"and {number}", parent_id=parent)
        add_call_turn(store, session.id, result, parent_id=question.id, answer="Fine.")
    store.delete_message(store.branch(session.id)[-1].id)
    values = {"ctx_size": 512, "max_tokens": 4, "logit_bias": ("x=1000",), "model": model}
    return open_chat(store.get(session.id), **values)


def told(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice) and event.kind == "window"]


def results(chat: Chat) -> list[str]:
    """The results in the last prompt."""
    read = chat._builder._read
    assert read is not None
    messages: list[ChatMessage] = [each for each in read.messages if each.role == "tool"]
    return [each.content for each in messages]


def test_old_results_leave_first_and_the_next_prompts_begin_as_the_last(
    open_chat: OpenChat, store: SessionStore, hermes: str
) -> None:
    chat = chat_with(open_chat, store, hermes, WORDS * 15, "short")
    events = list(chat.regenerate())
    (notice,) = told(events)
    assert "(look)" in notice or "(from look)" in notice
    assert "left out of the prompt and kept in the session" in notice
    stub, last = results(chat)
    assert stub.startswith("[result of look, ")
    assert stub.endswith(" tokens, left out]")
    assert last == "short"
    assert store.branch(chat.session.id)[2].text == WORDS * 15  # type: ignore[union-attr]
    sent = events[-1]
    assert isinstance(sent, Finished)
    later = list(chat.send("why"))
    assert told(later) == []
    assert isinstance(later[-1], Finished)
    assert later[-1].usage.reused >= sent.usage.prompt


def test_a_new_result_that_is_too_long_is_read_in_part_and_stays_so(
    open_chat: OpenChat, store: SessionStore, hermes: str
) -> None:
    chat = chat_with(open_chat, store, hermes, f"head {WORDS * 100} tail")
    events = list(chat.regenerate())
    (notice,) = told(events)
    assert notice == (
        "the result of look is too long for the context of 512 tokens: the model reads its "
        "beginning and its end"
    )
    (excerpt,) = results(chat)
    assert excerpt.startswith("head the be")
    assert excerpt.endswith(" tail")
    assert " characters left out]" in excerpt
    sent = events[-1]
    assert isinstance(sent, Finished)
    later = list(chat.send("why"))
    assert told(later) == []
    assert results(chat) == [excerpt]
    assert isinstance(later[-1], Finished)
    assert later[-1].usage.reused >= sent.usage.prompt
