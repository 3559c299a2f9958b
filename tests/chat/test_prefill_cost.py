"""What is read again, told before and after, with the reason."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from tchat.chat.chat import Chat
from tchat.chat.prefill_cost import UNCOUNTED_TOKENS, PrefillCost
from tchat.engine.events import (
    PREFILL_COST,
    PREFILL_TIME,
    CandidateEvent,
    Event,
    MessageStored,
    Notice,
)
from tchat.paths import Paths
from tchat.sessions.store import SessionStore
from tests.chat.conftest import OpenChat
from tests.chat.tool_turns import OpenTools

TEXT = "the be to of and in that have it for not on with he as you do at this " * 8


@pytest.fixture(autouse=True)
def any_price(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model reads a chat in no time."""
    monkeypatch.setattr("tchat.chat.prefill_cost.WORTH_SECONDS", 1e-9)


def cost_notices(events: Iterable[Event]) -> list[str]:
    return [
        each.text
        for each in events
        if isinstance(each, Notice) and each.kind in (PREFILL_COST, PREFILL_TIME)
    ]


def opened_again(chat: Chat) -> PrefillCost:
    """The cost of the next prompt in a session that was just opened; it is told only there."""
    assert cost_notices(chat.load_and_restore()) == []
    return cost(chat)


def begun(open_chat: OpenChat, **values: object) -> Chat:
    chat = open_chat(**values)
    list(chat.send(TEXT))
    return chat


def cost(chat: Chat, draft: str = "", after: int | None = None) -> PrefillCost:
    found = chat.prefill_cost(draft, after)
    assert found is not None
    return found


def test_going_on_costs_nothing(open_chat: OpenChat) -> None:
    chat = begun(open_chat)
    assert cost(chat).tokens < UNCOUNTED_TOKENS
    assert cost_notices(chat.send("Why?")) == []


def test_another_system_prompt_costs_the_whole_chat(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = begun(open_chat)
    assert chat.session is not None
    chat.session = store.update(chat.session.id, system="Be brief.")
    asked = cost(chat)
    assert asked.tokens > 100
    before, after = cost_notices(chat.send("Why?"))
    about = rf"Reloading {asked.tokens:,} tokens \(about [\d.]+ s\): system prompt changed"
    assert re.fullmatch(about, before)
    assert after.startswith(f"Reloaded {asked.tokens:,} tokens in ")
    assert cost(chat).tokens < UNCOUNTED_TOKENS


@pytest.mark.parametrize("knows_tools", [True, False])
def test_other_tools_cost_the_whole_chat(
    open_chat: OpenChat, open_tools: OpenTools, hermes: Path, *, knows_tools: bool
) -> None:
    chat = begun(open_chat, ctx_size=2048, **({"model": str(hermes)} if knows_tools else {}))
    chat.tools = open_tools()
    before, _ = cost_notices(chat.send("Why?"))
    assert before.endswith(": other tools are on")
    assert cost_notices(chat.send("And?")) == []
    chat.tools = None
    before, _ = cost_notices(chat.send("Why?"))
    assert before.endswith(": other tools are on")


def test_an_edit_costs_nothing_but_itself(open_chat: OpenChat, store: SessionStore) -> None:
    chat = begun(open_chat)
    list(chat.send("Why?"))
    assert chat.session is not None
    path = store.branch(chat.session.id)
    assert cost(chat, "And?", after=path[2].parent_id).tokens < UNCOUNTED_TOKENS
    assert cost_notices(chat.edit(path[2].id, "And?")) == []


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("tiny_model", ""),
        ("tiny_recurrent", "this model can only continue where it stopped"),
    ],
)
def test_a_reply_of_other_tokens_than_its_text_is_no_branch(
    open_chat: OpenChat, request: pytest.FixtureRequest, model: str, why: str
) -> None:
    path = request.getfixturevalue(model)
    chat = begun(open_chat, model=str(path), temp=0.9, seed=300, max_tokens=300)
    costs = cost(chat)
    assert costs.tokens > 0
    assert costs.why.startswith(why)
    assert str(costs).startswith(f"{costs.short}: {why}" if why else costs.short)
    assert "branch" not in str(costs)


def test_another_reply_to_a_question_is_another_branch(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = begun(open_chat, temp=0.9)
    assert chat.session is not None
    first = store.branch(chat.session.id)[-1]
    list(chat.regenerate())
    assert cost(chat).why == ""
    store.activate(first.id)
    assert cost(chat).why == "branch changed"
    list(chat.send("Why?"))
    assert cost(chat, after=first.id).why == "chat goes back to an earlier message"


def test_any_of_several_replies_is_no_other_branch(
    open_chat: OpenChat, store: SessionStore
) -> None:
    chat = begun(open_chat, temp=0.9)
    events = list(chat.candidates(3, "Why?"))
    stored = [
        e.event.reply
        for e in events
        if isinstance(e, CandidateEvent) and isinstance(e.event, MessageStored)
    ]
    chat.store.pick(stored[2])
    assert cost(chat).why == ""


def test_a_cleared_cache_is_told_as_what_it_is(open_chat: OpenChat) -> None:
    chat = begun(open_chat)
    loaded = chat.require_model().require_engine().loaded
    assert loaded is not None
    loaded.kv.clear()
    chat.require_model().require_engine().snapshots = None
    assert str(cost(chat)).endswith(": no longer in memory")


def test_what_is_saved_is_not_read_again(open_chat: OpenChat, paths: Paths) -> None:
    chat = begun(open_chat)
    chat.close()
    again = open_chat(chat.session)
    assert not opened_again(again).is_notable
    again.close()
    assert chat.session is not None
    chat.forget_snapshots(chat.session.id)
    third = open_chat(chat.session)
    assert opened_again(third).why == "no longer in memory"


def test_another_model_reads_all_of_it(
    open_chat: OpenChat, tiny_model: Path, tmp_path: Path
) -> None:
    chat = begun(open_chat)
    other = shutil.copy(tiny_model, tmp_path / "other.gguf")
    switched = open_chat(chat.session, model=str(other))
    assert opened_again(switched).why == "model changed"


def test_the_same_model_by_another_name_is_not_another(
    open_chat: OpenChat, tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / ("a" * 64)  # as the hub's cache names it
    shutil.copy(tiny_model, file)
    names = [tmp_path / "one.gguf", tmp_path / "two.gguf"]
    for name in names:
        name.symlink_to(file)
    chat = begun(open_chat, model=str(names[0]))
    assert chat.session is not None
    chat.forget_snapshots(chat.session.id)
    again = open_chat(chat.session, model=str(names[1]))
    assert opened_again(again).why == "no longer in memory"


def test_what_is_read_of_a_draft_is_no_longer_told() -> None:
    cost = PrefillCost(1_200, 24.0, "no longer in memory", new=50)
    assert cost.left(1_250) == cost
    assert cost.left(650) == PrefillCost(600, 12.0, "no longer in memory", new=50)
    assert cost.left(100) is None


def test_turns_that_leave_are_told_before(open_chat: OpenChat) -> None:
    chat = open_chat(ctx_size=512)
    for _ in range(4):
        list(chat.send(TEXT[:120]))
    assert cost(chat, "Why?").tokens < UNCOUNTED_TOKENS
    costs = cost(chat, TEXT[:250])
    assert costs.tokens > UNCOUNTED_TOKENS
    assert costs.why == "context full, old messages dropped"
    assert cost_notices(chat.send(TEXT[:250]))[0] == str(costs)


def test_a_new_chat_has_no_price(open_chat: OpenChat) -> None:
    chat = open_chat()
    assert chat.prefill_cost("Why?") is None
    list(chat.load_and_restore())
    assert chat.prefill_cost("Why?") is None
