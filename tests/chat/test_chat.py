"""The walk of a prompt: what is stored, what is sent, what is said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tchat.chat.chat import Chat
from tchat.chat.prompt_builder import TokenCount
from tchat.chat.session import session_settings, with_session_settings
from tchat.engine.events import (
    Event,
    Finished,
    LabelScores,
    MessageStored,
    Notice,
    Reason,
    TextDelta,
)
from tchat.engine.prompt import ChatMessage
from tchat.engine.prompt.encoder import EncodedPrompt, PromptEncoder
from tchat.errors import ModelInvalid, ModelNotFound, PromptTooLong, UsageError
from tchat.sessions.records import Message, Role, Status
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tests.chat.conftest import OpenChat
from tests.engine.conftest import frames_of_a_token


def finished(events: Iterable[Event]) -> Finished:
    last = list(events)[-1]
    assert isinstance(last, Finished)
    return last


def notices(events: Iterable[Event], kind: str) -> list[str]:
    return [e.text for e in events if isinstance(e, Notice) and e.kind == kind]


def branch(chat: object, store: SessionStore) -> list[Message]:
    return store.branch(chat.session.id)  # type: ignore[attr-defined]


def test_a_prompt_and_its_reply_are_stored_with_their_provenance(
    open_chat: OpenChat, store: SessionStore, tiny_model: Path
) -> None:
    chat = open_chat(system="Be brief.", seed=4)
    end = finished(chat.send("Hello\nworld"))
    question, reply = branch(chat, store)
    assert (question.role, question.text) == (Role.USER, "Hello\nworld")
    assert (reply.role, reply.text, reply.status) == (Role.ASSISTANT, end.text, Status.DONE)
    assert reply.model == str(tiny_model)
    assert reply.quantization == "F16"
    assert reply.sampling["seed"] == 4
    assert reply.usage["completion"] == end.usage.completion
    assert reply.timings["write"] > 0
    assert len(reply.template_hash) == 64
    assert reply.finish_reason == "length"
    assert chat.session is not None
    assert (chat.session.title, chat.session.system) == ("Hello", "Be brief.")


def test_a_token_passes_few_generator_frames(open_chat: OpenChat) -> None:
    assert frames_of_a_token(open_chat().send("Hello")) <= 5


def test_the_drawn_seed_is_recorded(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat(temp=0.8)
    end = finished(chat.send("Hello"))
    assert branch(chat, store)[-1].sampling["seed"] == end.seed >= 0


def test_the_second_turn_goes_on_from_the_first(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat()
    finished(chat.send("one"))
    second = finished(chat.send("two"))
    assert second.usage.reused > 0
    assert [m.text for m in branch(chat, store)][::2] == ["one", "two"]


def test_a_session_is_reopened_with_its_history(open_chat: OpenChat, store: SessionStore) -> None:
    first = open_chat(system="You are a bot.")
    finished(first.send("one"))
    prompt = finished(first.send("two")).usage.prompt
    again = open_chat(session=first.session)
    longer = finished(again.send("three")).usage.prompt
    assert longer > prompt
    assert len(branch(again, store)) == 6


def test_regenerating_makes_a_sibling(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat(temp=1.5)
    finished(chat.send("Hello"))
    finished(chat.regenerate())
    last = branch(chat, store)[-1]
    assert len(store.siblings(last.id)) == 2
    assert len(branch(chat, store)) == 2


def test_editing_a_question_makes_a_branch_and_answers_it(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat()
    finished(chat.send("one"))
    finished(chat.send("two"))
    first = branch(chat, store)[0]
    finished(chat.edit(first.id, "uno"))
    assert next(m.text for m in branch(chat, store)) == "uno"
    assert len(branch(chat, store)) == 2
    store.activate(first.id)
    assert [m.text for m in branch(chat, store)][::2] == ["one", "two"]


def test_editing_a_reply_generates_nothing(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat()
    finished(chat.send("one"))
    assert list(chat.edit(branch(chat, store)[-1].id, "better")) == []
    assert branch(chat, store)[-1].text == "better"


def test_a_stopped_reply_is_stored_and_continued_in_a_sibling(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat(max_tokens=40)
    for event in chat.send("Hello"):
        if isinstance(event, TextDelta):
            chat.cancel.set()
    stopped = branch(chat, store)[-1]
    assert stopped.status is Status.STOPPED
    assert stopped.text
    chat.cancel.clear()
    finished(chat.continue_reply())
    continued = branch(chat, store)[-1]
    assert continued.text.startswith(stopped.text)
    assert len(continued.text) > len(stopped.text)
    assert continued.status is Status.DONE
    assert [m.id for m in store.siblings(continued.id)] == [stopped.id, continued.id]


@pytest.mark.parametrize("side_by_side", [False, True])
def test_a_stop_while_the_prompt_is_counted_writes_nothing(
    open_chat: OpenChat,
    store: SessionStore,
    monkeypatch: pytest.MonkeyPatch,
    side_by_side: bool,
) -> None:
    """As Ctrl-C does it for one prompt and in the line chat: it is not counted to its end."""
    chat = open_chat(max_tokens=40)
    finished(chat.send("Hello"))
    encode, counted = PromptEncoder.for_reply, []

    def stopping(encoder: PromptEncoder, *args: Any, **named: Any) -> EncodedPrompt:
        counted.append(1)
        chat.cancel.set()
        return encode(encoder, *args, **named)

    monkeypatch.setattr(PromptEncoder, "for_reply", stopping)
    events = chat.candidates(2, "word " * 3000) if side_by_side else chat.send("word " * 3000)
    assert finished(events).reason is Reason.CANCELLED
    assert len(counted) == 1
    assert [m.role for m in branch(chat, store)] == [Role.USER, Role.ASSISTANT, Role.USER]
    monkeypatch.undo()
    chat.cancel.clear()
    finished(chat.send("again"))
    assert branch(chat, store)[-1].status is Status.DONE


def test_a_generator_closed_early_leaves_a_stopped_reply(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat(max_tokens=40)
    events = chat.send("Hello")
    text = ""
    while len(text) < 3:
        event = next(events)
        text += event.text if isinstance(event, TextDelta) else ""
    events.close()  # type: ignore[attr-defined]
    last = branch(chat, store)[-1]
    assert (last.status, last.text) == (Status.STOPPED, text)
    assert finished(chat.send("next")).usage.reused > 0


def test_a_stop_before_the_first_token_leaves_no_empty_reply(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat()
    chat.cancel.set()
    assert finished(chat.send("Hello")).reason is Reason.CANCELLED
    assert [m.role for m in branch(chat, store)] == [Role.USER]
    chat.cancel.clear()
    finished(chat.continue_reply())
    assert [m.role for m in branch(chat, store)] == [Role.USER, Role.ASSISTANT]


def test_a_prefill_begins_the_reply(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat()
    end = finished(chat.send("Hello", reply_prefix="Dear reader,"))
    assert branch(chat, store)[-1].text == "Dear reader," + end.text


TOO_LONG = "some words " * 300
OVERSIZE = "word " * 10_000  # not even counted
PROMPTS: dict[str, Callable[[Chat, str], Iterator[Event]]] = {
    "send": lambda chat, text: chat.send(text),
    "prefill": lambda chat, text: chat.send("why?", reply_prefix=text),
    "choose": lambda chat, text: chat.choose(text, ["red", "blue"]),
    "candidates": lambda chat, text: chat.candidates(2, text),
}


@pytest.mark.parametrize("way", PROMPTS)
@pytest.mark.parametrize("text", [TOO_LONG, OVERSIZE])
def test_a_prompt_that_is_too_long_begins_no_session(
    open_chat: OpenChat, store: SessionStore, way: str, text: str
) -> None:
    chat = open_chat(ctx_size=256)
    with pytest.raises(PromptTooLong, match="the context holds 256"):
        list(PROMPTS[way](chat, text))
    assert (chat.session, store.sessions()) == (None, [])
    finished(chat.send("short"))
    assert [m.text for m in branch(chat, store)][:1] == ["short"]


@pytest.mark.parametrize("way", PROMPTS)
def test_a_prompt_that_is_too_long_leaves_the_session_as_it_was(
    open_chat: OpenChat, store: SessionStore, way: str
) -> None:
    chat = open_chat(ctx_size=512, temp=0.9)
    finished(chat.send("one"))
    first = branch(chat, store)
    finished(chat.send("two"))
    finished(chat.regenerate())
    path, count = branch(chat, store), store.get(path_session(chat)).messages
    with pytest.raises(PromptTooLong):
        list(PROMPTS[way](chat, TOO_LONG))
    with pytest.raises(PromptTooLong):
        list(chat.edit(path[2].id, TOO_LONG))
    with pytest.raises(PromptTooLong):
        list(chat.send(TOO_LONG, after=first[-1].id))
    assert branch(chat, store) == path
    assert store.get(path_session(chat)).messages == count
    assert notices(list(chat.send("three")), "window") == []


def path_session(chat: Chat) -> str:
    assert chat.session is not None
    return chat.session.id


def test_old_turns_leave_the_prompt_and_not_the_session(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat(ctx_size=512, system="Stay.")
    said: list[str] = []
    for number in range(12):
        events = list(chat.send(f"question {number} " + "with some words " * 5))
        said += notices(events, "window")
        assert finished(events).usage.prompt < 512
    assert said
    assert "question 0" in said[0]
    assert len(branch(chat, store)) == 24


def test_a_choice_is_stored_as_the_reply(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat()
    events = list(chat.choose("red or blue?", ["red", "blue"]))
    assert isinstance(events[-2], LabelScores)
    assert branch(chat, store)[-1].text == finished(events).text in {"red", "blue"}


@pytest.mark.parametrize("action", ["regenerate", "continue_reply"])
def test_an_empty_session_has_nothing_to_redo(open_chat: OpenChat, action: str) -> None:
    with pytest.raises(UsageError, match="no message yet"):
        list(getattr(open_chat(), action)())


def test_an_unknown_model_is_named_and_the_prompt_is_kept(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat(model="startr")
    with pytest.raises(ModelNotFound, match="starter"):
        list(chat.send("Hello"))
    assert [m.text for m in branch(chat, store)] == ["Hello"]


def test_a_new_file_is_probed_once(open_chat: OpenChat) -> None:
    assert notices(open_chat().send("Hello"), "model")
    assert not notices(open_chat().send("Hello"), "model")


@pytest.mark.parametrize("field", ["lora", "control_vector"])
def test_adapters_are_checked_before_llama_sees_them(
    open_chat: OpenChat, tiny_model: Path, field: str
) -> None:
    with pytest.raises(ModelInvalid, match="is a language model"):
        list(open_chat(**{field: (f"{tiny_model}:0.5",)}).send("Hello"))
    with pytest.raises(ModelNotFound):
        list(open_chat(**{field: (f"{tiny_model}.gone:0.5",)}).send("Hello"))


def test_a_store_that_fails_does_not_stop_the_reply(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat(max_tokens=60)
    events: list[Event] = []
    for event in chat.send("Hello"):
        events.append(event)
        if isinstance(event, TextDelta) and chat.session:
            store.delete(chat.session.id)
            chat.session = None
    assert finished(events).usage.completion > 1
    assert len(notices(events, "storage")) == 1


def test_the_rows_of_a_turn_are_named(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat()
    events = list(chat.send("Hello"))
    stored = next(event for event in events if isinstance(event, MessageStored))
    assert [stored.question, stored.reply] == [m.id for m in branch(chat, store)]


def test_a_draft_is_measured_as_it_will_be_read(open_chat: OpenChat) -> None:
    chat = open_chat(system="Be brief.")
    assert chat.count_draft("one") is None
    list(chat.load_and_restore())
    measured = chat.count_draft("one and two")
    assert measured is not None
    assert measured.used == finished(chat.send("one and two")).usage.prompt
    assert 0 < measured.draft < measured.used < measured.context_size == 4096
    after = chat.count_draft("one and two")
    assert after is not None
    assert after.draft == measured.draft
    assert after.used > measured.used


def test_the_first_reply_tells_what_loading_took(open_chat: OpenChat) -> None:
    chat = open_chat()
    assert finished(chat.send("one")).timings.load > 0
    assert finished(chat.send("two")).timings.load == 0


def test_a_shorter_branch_gets_all_of_its_turns(open_chat: OpenChat, store: SessionStore) -> None:
    """What left the prompt of a long branch has nothing to do with another branch."""
    only_x = ("x=1000",)
    chat = open_chat(ctx_size=512, max_tokens=8, logit_bias=only_x)
    finished(chat.send("question zero " + "with some words " * 5))
    whole = finished(chat.send("question one")).usage.prompt
    answered, asked = branch(chat, store)[1:3]
    events: list[Event] = []
    while not notices(events, "window"):
        events = list(chat.send("more " + "with some words " * 5))
    again = store.add(asked.session_id, Role.USER, asked.text, parent_id=answered.id)
    store.activate(again.id)
    assert finished(chat.continue_reply()).usage.prompt == whole


def test_a_reply_cut_by_a_full_context_can_be_continued(
    open_chat: OpenChat, store: SessionStore
) -> None:
    only_x = ("x=1000",)
    chat = open_chat(ctx_size=512, logit_bias=only_x, max_tokens=60)
    for _ in range(3):
        finished(chat.send("with some words " * 5))
    values = {"ctx_size": 512, "logit_bias": only_x, "loop_guard": False}
    chat = open_chat(session=chat.session, **values, max_tokens=-1)
    full = finished(chat.send("Go on for ever."))
    assert full.usage.prompt + full.usage.completion == 512
    events = list(chat.continue_reply())
    assert notices(events, "window")
    assert finished(events).usage.completion > 0
    assert branch(chat, store)[-1].text == full.text + finished(events).text


@pytest.mark.parametrize("action", ["regenerate", "continue_reply"])
def test_a_stop_before_anything_new_leaves_the_replies_as_they_were(
    open_chat: OpenChat, store: SessionStore, action: str
) -> None:
    chat = open_chat(temp=1.5)
    finished(chat.send("Hello"))
    first = branch(chat, store)[-1]
    finished(chat.regenerate())
    store.activate(first.id)
    before = [message.id for message in store.siblings(first.id)]
    chat.cancel.set()
    assert finished(getattr(chat, action)()).reason is Reason.CANCELLED
    assert [message.id for message in store.siblings(first.id)] == before
    assert branch(chat, store)[-1].id == first.id


def test_a_reply_deleted_elsewhere_can_still_be_left(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat(max_tokens=60)
    events = chat.send("Hello")
    while not isinstance(next(events), TextDelta):
        pass
    assert chat.session
    store.delete(chat.session.id)
    events.close()  # type: ignore[attr-defined]
    assert store.sessions() == []


def test_a_draft_that_cannot_fit_fills_the_context(open_chat: OpenChat) -> None:
    chat = open_chat()
    list(chat.load_and_restore())
    assert chat.count_draft("words " * 100_000) == TokenCount(4096, 4096, 4096)


def test_a_pinned_turn_stays_when_others_leave(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat(ctx_size=512, max_tokens=8, logit_bias=("x=1000",))
    finished(chat.send("my name is Ada"))
    finished(chat.send("question one " + "with some words " * 5))
    store.pin(branch(chat, store)[0].id, True)
    told: list[str] = []
    while not told:
        told = notices(list(chat.send("more " + "with some words " * 5)), "window")
    assert "question one" in told[0]
    path = branch(chat, store)
    assert chat.model is not None
    everything = [ChatMessage(m.role.value, m.text) for m in path[:-1]]
    left = [*everything[:2], *everything[4:]]
    assert path[-1].usage["prompt"] <= len(chat.model.engine.prompt_tokens(left))
    pinned = path[-1].usage["prompt"]
    store.pin(path[0].id, False)
    assert finished(chat.regenerate()).usage.prompt < pinned


def test_a_reply_can_be_begun_for_the_model(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat()
    finished(chat.send("Hello"))
    finished(chat.regenerate(reply_prefix="Well, "))
    last = branch(chat, store)[-1]
    assert last.text.startswith("Well, ")
    assert len(last.text) > len("Well, ")
    assert len(store.siblings(last.id)) == 2


def test_an_earlier_reply_can_be_continued(open_chat: OpenChat, store: SessionStore) -> None:
    chat = open_chat(max_tokens=4)
    finished(chat.send("one"))
    finished(chat.send("two"))
    first = branch(chat, store)[1]
    finished(chat.continue_reply(first.id))
    path = branch(chat, store)
    assert len(path) == 2
    assert path[1].text.startswith(first.text)
    assert len(path[1].text) > len(first.text)


def test_what_a_session_sets_for_itself_is_kept_with_it(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat()
    chat.session_overrides = {"temp": 0.2, "stop": ("END",)}
    finished(chat.send("Hello"))
    assert chat.session is not None
    assert session_settings(store.get(chat.session.id).settings) == {"temp": 0.2, "stop": ("END",)}


def test_only_sampling_and_reasoning_are_a_sessions_own() -> None:
    stored = {"temp": 0.2, "top_k": "many", "threads": 4, "theme": "x", "think": "on", "gone": 1}
    assert session_settings(stored) == {"temp": 0.2, "think": "on"}
    settings = with_session_settings(Settings(), stored, typed=("think",))
    assert (settings.sampling.temp, settings.think) == (0.2, "auto")


def test_a_prompt_stopped_before_any_reply_stays_on_the_branch(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat()
    finished(chat.send("Hello"))
    for prompt in ("stopped", "stopped too"):
        chat.cancel.set()
        assert finished(chat.send(prompt)).reason is Reason.CANCELLED
        chat.cancel.clear()
    plain = finished(chat.send("and now?"))
    path = branch(chat, store)
    assert [m.text for m in path if m.role is Role.USER] == [
        "Hello",
        "stopped",
        "stopped too",
        "and now?",
    ]
    assert [m.status.value for m in path] == ["done", "done", "stopped", "stopped", "done", "done"]
    # The model reads neither of them, so that roles alternate as templates want it.
    twin = open_chat()
    finished(twin.send("Hello"))
    assert finished(twin.send("and now?")).usage.prompt == plain.usage.prompt


def test_a_stopped_prompt_that_gets_its_reply_later_is_none_any_more(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat()
    chat.cancel.set()
    finished(chat.send("Hello"))
    assert branch(chat, store)[-1].status is Status.STOPPED
    chat.cancel.clear()
    first = finished(chat.continue_reply())
    assert [m.status for m in branch(chat, store)] == [Status.DONE, Status.DONE]
    assert finished(chat.send("more")).usage.prompt > first.usage.prompt + first.usage.completion


def test_another_reply_stopped_before_its_begin_leaves_the_question_answered(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = open_chat()
    finished(chat.send("Hello"))
    before = branch(chat, store)
    chat.cancel.set()
    finished(chat.regenerate())
    assert branch(chat, store) == before
