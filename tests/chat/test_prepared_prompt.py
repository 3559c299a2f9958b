"""A turn makes one prompt: encoded once, of a branch that is read once."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tchat.chat.chat import Chat
from tchat.engine.events import Finished
from tchat.engine.prompt.encoder import PromptEncoder
from tchat.engine.prompt.template import ChatTemplate
from tchat.engine.reply_state import ReplyState
from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore, Store
from tests.chat.conftest import OpenChat

TEXT = "the be to of and in that have it for not on with he as you do at this "


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a prompt is encoded, a template is rendered and a branch is read."""
    calls: Counter[str] = Counter()

    def count(owner: object, name: str) -> None:
        work: Callable[..., object] = getattr(owner, name)

        def counting(*args: object, **kwargs: object) -> object:
            calls[name] += 1
            return work(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    count(PromptEncoder, "_encode")
    count(ChatTemplate, "render")
    count(Store, "branch")
    count(Store, "path_to")
    return calls


def reply(chat: Chat, prompt: str = "Why?") -> Finished:
    *_, last = chat.send(prompt)
    assert isinstance(last, Finished)
    return last


def long_chat(open_chat: OpenChat, turns: int = 6, **values: object) -> Chat:
    # Replies of one letter: the tokens of others may be spelt in another way than the tokenizer's.
    usual = {"max_tokens": 4, "system": "Be brief.", "logit_bias": ("x=1000",)}
    chat = open_chat(**{**usual, **values})
    for _ in range(turns):
        reply(chat, TEXT)
    return chat


@pytest.mark.parametrize("grammar", ["", 'root ::= "yes" | "no"'])
def test_a_turn_encodes_its_prompt_once_and_reads_its_branch_once(
    open_chat: OpenChat, counted: Counter[str], grammar: str
) -> None:
    chat = long_chat(open_chat, grammar=grammar, logit_bias=())
    counted.clear()
    reply(chat)
    assert (counted["_encode"], counted["branch"] + counted["path_to"]) == (1, 1)


@pytest.mark.parametrize(
    "act",
    [
        lambda chat: chat.regenerate(),
        lambda chat: chat.continue_reply(),
        lambda chat: chat.candidates(2),
        lambda chat: chat.candidates(2, "Why?"),
        lambda chat: chat.choose("Which?", ["yes", "no"]),
        lambda chat: chat.send("Why?", reply_prefix="Because"),
    ],
    ids=["regenerate", "continue", "candidates", "candidates of a prompt", "choose", "prefill"],
)
def test_so_does_every_other_turn(
    open_chat: OpenChat, counted: Counter[str], act: Callable[[Chat], object]
) -> None:
    chat = long_chat(open_chat, max_tokens=2)
    counted.clear()
    list(act(chat))  # type: ignore[call-overload]
    assert (counted["_encode"], counted["branch"] + counted["path_to"]) == (1, 1)


def test_a_draft_that_was_counted_is_not_encoded_again_for_its_cost(
    open_chat: OpenChat, counted: Counter[str]
) -> None:
    chat = long_chat(open_chat)
    chat.count_draft("Wh")
    counted.clear()
    chat.count_draft("Why?")
    chat.prefill_cost("Why?")
    assert (counted["_encode"], counted["branch"] + counted["path_to"]) == (1, 0)


@pytest.mark.parametrize("context", [512, 4096])
def test_what_a_draft_is_told_is_what_the_turn_reads(open_chat: OpenChat, context: int) -> None:
    chat = long_chat(open_chat, turns=12, ctx_size=context)
    for draft in ("Why?", TEXT, TEXT * 4, "<|im_end|>", "", "user"):
        told = chat.count_draft(draft)
        cost = chat.prefill_cost(draft)
        ended = reply(chat, draft)
        assert told is not None
        assert cost is not None
        assert told.used == ended.usage.prompt
        new = ended.usage.prefilled - cost.tokens
        assert -8 <= new - told.draft <= 16  # its own marks, and the end of the reply before


def test_an_edit_a_pin_and_another_system_prompt_are_seen(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = long_chat(open_chat)

    def told() -> int:
        found = chat.count_draft("Why?")
        assert found is not None
        return found.used

    assert chat.session is not None
    path, before = store.branch(chat.session.id), told()
    other = store.add(chat.session.id, Role.USER, "Hm.", parent_id=path[-3].id)
    assert told() < before  # another branch, with a question that nobody answered
    store.add(chat.session.id, Role.ASSISTANT, TEXT * 9, parent_id=other.id)
    assert told() > before
    store.activate(path[-1].id)
    assert told() == before
    chat.session = store.update(chat.session.id, system="Be very, very brief.")
    assert told() > before
    chat.session = store.update(chat.session.id, system="Be brief.")
    assert told() == before == reply(chat).usage.prompt


def test_what_another_process_writes_is_seen(open_chat: OpenChat, store: SessionStore) -> None:
    chat = long_chat(open_chat)
    before = chat.count_draft("Why?")
    assert chat.session is not None
    assert store.path is not None
    with SessionStore(store.path) as other:
        last = other.branch(chat.session.id)[-1]
        other.add(chat.session.id, Role.USER, TEXT, parent_id=last.id)
        other.add(
            chat.session.id,
            Role.ASSISTANT,
            TEXT,
            parent_id=other.branch(chat.session.id)[-1].id,
        )
    after = chat.count_draft("Why?")
    assert before is not None
    assert after is not None
    assert after.used > before.used
    assert reply(chat).usage.prompt == after.used


def test_settings_that_change_a_prompt_are_seen(open_chat: OpenChat) -> None:
    chat = long_chat(open_chat, turns=9, ctx_size=512)
    before = chat.count_draft("Why?")
    sampling = replace(chat.settings.sampling, max_tokens=256)
    chat.settings = replace(chat.settings, sampling=sampling)
    after = chat.count_draft("Why?")
    assert before is not None
    assert after is not None
    assert after.used < before.used  # more room for the reply, less for the chat
    assert reply(chat).usage.prompt == after.used


def test_a_long_session_is_never_rendered_whole(
    open_chat: OpenChat, store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = open_chat(ctx_size=512, max_tokens=2)
    session, last = store.begin("Hello")
    for number in range(400):
        role = Role.USER if number % 2 else Role.ASSISTANT
        last = store.add(session.id, role, TEXT, parent_id=last.id)
    chat.session = session
    list(chat.load_and_restore())
    rendered: list[int] = []
    prompt = PromptEncoder.for_reply

    def counting(
        self: PromptEncoder, messages: list[object], *args: object, **named: object
    ) -> object:
        rendered.append(len(messages))
        return prompt(self, messages, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(PromptEncoder, "for_reply", counting)
    told = chat.count_draft("Why?")
    chat.count_draft("Why not?")
    assert max(rendered) < 60
    assert told is not None
    assert told.used == reply(chat).usage.prompt


def test_a_token_passes_few_generators(
    open_chat: OpenChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = long_chat(open_chat, turns=1)
    passed: list[int] = []
    draw = ReplyState.draw

    def counting(*args: Any, **named: Any) -> int:
        frames = inspect.stack(0)
        flags = [frame.frame.f_code.co_flags for frame in frames]
        passed.append(sum(bool(each & inspect.CO_GENERATOR) for each in flags))
        return draw(*args, **named)

    monkeypatch.setattr(ReplyState, "draw", counting)
    reply(chat)
    assert passed
    assert max(passed) <= 4
