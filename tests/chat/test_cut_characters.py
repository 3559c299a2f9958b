"""Replies cut inside a character: its bytes are kept for going on, and no text shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tchat.chat.chat import Chat
from tchat.engine.binding import Cancel
from tchat.engine.events import CandidateEvent, Event, Finished, Reason, ReasoningDelta, TextDelta
from tchat.engine.model import Model
from tchat.engine.prompt import ChatMessage
from tchat.engine.prompt.encoder import PrefixCache, PromptEncoder
from tchat.engine.prompt.reasoning import ReplyMarks, ReplyPhase
from tchat.engine.prompt.template import ChatTemplate
from tchat.engine.reply_state import ReplyText
from tchat.sessions.records import Message, Status
from tchat.sessions.store import SessionStore
from tests.chat.conftest import OpenChat
from tests.sessions.trees import from_json, to_json
from tests.tiny import CHATML, SPECIALS, write_tiny

SMILE = "🙂"
BYTES = SMILE.encode()
LOST = "\ufffd"


def only(byte: int) -> tuple[str, ...]:
    """A bias by which the tiny model writes nothing but this byte."""
    return (f"{len(SPECIALS) + byte}=1000",)


def end_of(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def last(store: SessionStore, chat: Chat) -> Message:
    assert chat.session is not None
    return store.branch(chat.session.id)[-1]


def shown(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta | ReasoningDelta))


def test_a_character_goes_on_over_any_number_of_cuts(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat(max_tokens=1, logit_bias=only(BYTES[0]))
    events = list(chat.send("Hello"))
    for count in range(1, len(BYTES)):
        reply = last(store, chat)
        assert end_of(events).unfinished == BYTES[:count]
        assert (shown(events), reply.text, reply.unfinished) == ("", "", BYTES[:count].hex())
        chat = open_chat(session=chat.session, max_tokens=1, logit_bias=only(BYTES[count]))
        events = list(chat.continue_reply())
    assert shown(events) == last(store, chat).text == SMILE
    assert last(store, chat).unfinished == ""


def test_the_next_question_does_not_see_the_cut_character(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat(max_tokens=3, logit_bias=("x=1000",))
    list(chat.send("Hello"))
    chat = open_chat(session=chat.session, max_tokens=1, logit_bias=only(BYTES[0]))
    list(chat.continue_reply())
    assert last(store, chat).text == "xxx"
    chat = open_chat(session=chat.session, max_tokens=1, logit_bias=only(BYTES[1]))
    list(chat.send("Go on"))
    assert last(store, chat).text == LOST  # this byte goes on with nothing: it is not UTF-8


def test_a_stop_inside_a_character_keeps_its_bytes(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat(max_tokens=-1, ctx_size=512, grammar=f'root ::= "{SMILE * 400}"')
    events: list[Event] = []
    for event in chat.send("Hello"):
        events.append(event)
        if shown(events).count(SMILE) == 3:
            chat.cancel.set()
    end = end_of(events)
    assert end.reason is Reason.CANCELLED
    assert set(shown(events)) == set(SMILE)
    reply = last(store, chat)
    assert (reply.status, reply.text) == (Status.STOPPED, shown(events))
    assert BYTES.startswith(bytes.fromhex(reply.unfinished))


def test_every_candidate_keeps_its_own(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat(max_tokens=2, grammar=f'root ::= "{SMILE}"')
    ends = [
        event.event
        for event in chat.candidates(2, "Hello")
        if isinstance(event, CandidateEvent) and isinstance(event.event, Finished)
    ]
    assert [(end.text, end.unfinished) for end in ends] == [("", BYTES[:2])] * 2
    stored = store.siblings(last(store, chat).id)
    assert [(each.text, each.unfinished) for each in stored] == [("", BYTES[:2].hex())] * 2


def test_export_and_import_keep_the_bytes(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat(max_tokens=1, logit_bias=only(BYTES[0]))
    list(chat.send("Hello"))
    assert chat.session is not None
    text = to_json([store.tree(chat.session.id)])
    assert [m.unfinished for m in from_json(text)[0].messages] == ["", "f0"]
    document = json.loads(text)
    for wrong in ("zz", 7, "f09f9982f09f"):
        document["sessions"][0]["messages"][1]["unfinished"] = wrong
        kept = from_json(json.dumps(document))[0].messages[1].unfinished
        assert kept == ("f09f99" if isinstance(wrong, str) and len(wrong) > 2 else "")


def test_reasoning_that_was_cut_goes_on(tmp_path: Path) -> None:
    opened = CHATML.replace("assistant\n", "assistant\n<think>\n")
    model = Model(write_tiny(tmp_path / "thinks.gguf", template=opened), cancel=Cancel())
    try:
        template = ChatTemplate.compile(opened, bos="", eos="")
        encoder = PromptEncoder(model, template, 4096, PrefixCache(model))
        cut = ChatMessage("assistant", "", "Hm. ", BYTES[:2])
        prompt = encoder.prompt([ChatMessage("user", "Hi"), cut], continue_final=True)
        assert b"".join(map(model.piece, prompt.tokens)).endswith(b"<think>\nHm. " + BYTES[:2])
        assert (prompt.phase, prompt.unfinished) == (ReplyPhase.REASONING, BYTES[:2])
        answered = encoder.for_answer([ChatMessage("user", "Hi"), cut], continue_final=True)
        assert (answered.phase, answered.unfinished) == (ReplyPhase.ANSWER, b"")
    finally:
        model.close()


@pytest.mark.parametrize("vocab", ["bpe", "spm"])
def test_bytes_become_the_tokens_that_say_them(tmp_path: Path, vocab: str) -> None:
    model = Model(write_tiny(tmp_path / "bytes.gguf", vocab=vocab), cancel=Cancel())
    try:
        for count in range(1, 4):
            tokens = model.tokens_of(BYTES[:count])
            assert b"".join(map(model.piece, tokens)) == BYTES[:count]
    finally:
        model.close()


def test_text_goes_on_inside_a_character() -> None:
    for at in range(1, len(BYTES)):
        reply = ReplyText(ReplyMarks(), ReplyPhase.ANSWER, (), BYTES[:at])
        assert [event.text for event in reply.feed(BYTES[at:])] == [SMILE]
        assert list(reply.close()) == []
        assert reply.unfinished == b""
