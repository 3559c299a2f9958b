"""Turns in which the model calls tools: every step, what is stored, and what is prefilled."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import pytest

from tchat.chat.tool_protocol import CallReplyReader
from tchat.egress import egress_log
from tchat.engine.events import (
    Finished,
    MessageStored,
    Notice,
    PromptProgress,
    Reason,
    StepFinished,
    StepState,
    TextDelta,
    ToolCallStarted,
    ToolStep,
)
from tchat.errors import Interrupted
from tchat.sessions.records import ToolState
from tchat.sessions.store import SessionStore
from tchat.tools import http_fetch
from tchat.tools.executor import Answer, ApprovalChoice, ApprovalRequest
from tchat.tools.tool import Effect, Tool
from tests.chat.conftest import OpenChat
from tests.chat.forced_replies import hermes_call
from tests.chat.tool_turns import OpenTools, answer, of_kind, tool
from tests.tools.test_url_escapes import served

CALL = hermes_call('{"expression": "2+2"}')


def test_a_call_runs_and_the_model_answers_behind_its_result(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path, store: SessionStore
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools()
    force("I look." + CALL, "It is 4.")

    events = list(chat.send("What is 2+2?"))

    kinds = [type(e).__name__ for e in events if not isinstance(e, TextDelta)]
    assert kinds[kinds.index("MessageStored") :] == [
        *("MessageStored", "PromptProgress", "PromptProgress", "ToolCallStarted", "StepFinished"),
        *("ToolStep", "ToolStep", "MessageStored", "PromptProgress", "PromptProgress", "Finished"),
    ]
    assert answer(events) == "I look.It is 4."
    running, done = of_kind(events, ToolStep)
    assert (running.state, done.state, done.content) == (StepState.RUNNING, StepState.DONE, "4")
    assert of_kind(events, ToolCallStarted) == [ToolCallStarted(0, "calculator")]
    assert of_kind(events, StepFinished)[0].finished.reason is Reason.TOOL_CALLS
    assert events[-1].reason is Reason.STOP  # type: ignore[union-attr]
    user, call, result, reply = store.branch(chat.session.id)  # type: ignore[union-attr]
    assert [m.role for m in (user, call, result, reply)] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert call.text == "I look."
    assert [(c.name, dict(c.arguments)) for c in call.tool_calls] == [
        ("calculator", {"expression": "2+2"})
    ]
    assert result.tool_outcome is not None
    assert result.tool_outcome.state is ToolState.DONE
    assert result.tool_outcome.call_id == call.tool_calls[0].id
    assert done.message == result.id
    assert of_kind(events, MessageStored)[1] == MessageStored(result.id, reply.id)


def test_a_turn_tells_once_that_what_its_tools_send_is_not_logged(
    open_chat: OpenChat,
    open_tools: OpenTools,
    force: Any,
    hermes: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_fetch, "is_public", lambda _: True)
    monkeypatch.setattr(egress_log, "is_loopback_name", lambda _: False)
    (home / "egress.jsonl").mkdir(parents=True)
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools(names=("fetch_url",))
    with served() as pages:
        calls = [hermes_call(f'{{"url": "http://127.0.0.1:{pages.port}/{n}"}}', "fetch_url")
                 for n in range(2)]  # fmt: skip
        force(*calls, "That is it.")
        events = list(chat.send("What is there?"))
    told = [each for each in of_kind(events, Notice) if each.kind == "storage"]
    assert ["not logged" in each.text for each in told] == [True]
    states = [each.state for each in of_kind(events, ToolStep)]
    assert states.count(StepState.DONE) == 2


def test_a_step_prefills_only_the_tokens_of_the_result(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools()
    other = hermes_call('{"expression": "3+3"}')
    # The template writes no reasoning, and other spaces than the model.
    force(f"<think>Let me see.</think>\n\nI look.\n\n\n{CALL}\n", f"Once more. {other}", "It is 4.")

    events = list(chat.send("What is 2+2?"))

    first, second = (step.finished.usage for step in of_kind(events, StepFinished))
    last = of_kind(events, Finished)[0].usage
    assert second.reused == first.prompt + first.completion
    assert last.reused == second.prompt + second.completion
    assert max(second.prefilled, last.prefilled) < 60
    assert [e.reused for e in of_kind(events, PromptProgress)[2::2]] == [second.reused, last.reused]


def test_the_envelope_serves_a_model_that_knows_no_tools(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, store: SessionStore
) -> None:
    chat = open_chat(max_tokens=300)
    chat.tools = open_tools()
    replies = force(
        '{"tool": "calculator", "arguments": {"expression": "2+2"}}', '{"answer": "It is\\n4."}'
    )

    events = list(chat.send("What is 2+2?"))

    assert not replies.left
    assert answer(events) == "It is\n4."
    assert of_kind(events, ToolStep)[-1].content == "4"
    step, last = of_kind(events, StepFinished)[0].finished.usage, of_kind(events, Finished)[0].usage
    assert last.reused == step.prompt + step.completion
    assert last.prefilled < 60
    assert store.branch(chat.session.id)[-1].text == "It is\n4."  # type: ignore[union-attr]


def test_the_grammar_of_the_envelope_holds_every_reply(
    open_chat: OpenChat, open_tools: OpenTools
) -> None:
    kind = {"enum": ["red", "green"]}
    chat = open_chat(max_tokens=200, temp=1.0, seed=1)
    chat.tools = open_tools(
        tool("paint", lambda a: a["colour"], colour=kind), names=(), choice="paint", max_steps=1
    )

    events = list(chat.send("Hello"))

    assert of_kind(events, ToolStep)[0].arguments["colour"] in kind["enum"]


def test_a_call_is_demanded_once_in_a_turn(
    open_chat: OpenChat, open_tools: OpenTools, hermes: Path
) -> None:
    kind = {"enum": ["red", "green"]}
    chat = open_chat(model=str(hermes), max_tokens=120, temp=1.0, seed=1)
    chat.tools = open_tools(tool("paint", lambda a: a["colour"], colour=kind), choice="paint")

    events = list(chat.send("Hello"))

    first = of_kind(events, StepFinished)[0].finished
    assert first.text == ""
    assert of_kind(events, ToolStep)[0].name == "paint"
    assert of_kind(events, ToolStep)[0].arguments["colour"] in kind["enum"]


def test_a_call_that_has_begun_is_held_by_the_schema_of_its_tool(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools()
    force(hermes_call('{"expression": 4}'))

    with pytest.raises(AssertionError, match="the grammar refuses"):
        list(chat.send("What is 2+2?"))


@pytest.mark.parametrize(
    "text",
    [
        "No call: `<tool_call>` is a mark.",
        "```\n<tool_call>\n{}\n</tool_call>\n```",
        "Just an answer with { and [.",
    ],
)
def test_what_only_looks_like_a_call_is_an_answer(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path, text: str
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools()
    force(text)

    events = list(chat.send("What is a call?"))

    assert answer(events) == text
    assert not of_kind(events, ToolStep)


def test_calls_that_only_read_run_at_once(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path, store: SessionStore
) -> None:
    both = threading.Barrier(2, timeout=20)
    there = tool("there", lambda _: f"{both.wait() * 0} there")
    here = tool("here", lambda _: f"{both.wait() * 0} here")
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools(there, here)
    force(f"{hermes_call('{}', 'there')}\n{hermes_call('{}', 'here')}", "Done.")

    events = list(chat.send("Both"))

    steps = [(e.index, e.name, e.state) for e in of_kind(events, ToolStep)]
    assert steps == [
        (0, "there", StepState.RUNNING),
        (1, "here", StepState.RUNNING),
        (0, "there", StepState.DONE),
        (1, "here", StepState.DONE),
    ]
    _, call, first, second, _ = store.branch(chat.session.id)  # type: ignore[union-attr]
    assert (first.parent_id, second.parent_id) == (call.id, first.id)
    assert len({each.id for each in call.tool_calls}) == 2


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (hermes_call("{}", "nothing"), "there is no tool nothing"),
        (hermes_call('{"expression": "1/0"}'), "zero"),
        ("<tool_call>\n{]\n</tool_call>", "could not be read"),
    ],
)
def test_a_call_that_fails_is_told_to_the_model(
    open_chat: OpenChat,
    open_tools: OpenTools,
    monkeypatch: pytest.MonkeyPatch,
    force: Any,
    hermes: Path,
    call: str,
    told: str,
) -> None:
    monkeypatch.setattr(CallReplyReader, "hold", None)  # a grammar would not let it be written
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools()
    force(call, "Sorry.")

    events = list(chat.send("Try"))

    assert of_kind(events, ToolStep)[-1].state is StepState.FAILED
    assert told in of_kind(events, ToolStep)[-1].content
    assert answer(events) == "Sorry."


def test_a_refused_call_is_told_to_the_model_with_the_users_word(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path, store: SessionStore
) -> None:
    ran = threading.Event()

    def write(_: Any) -> str:
        ran.set()
        return "written"

    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools(
        tool("write", write, Effect.WRITES_FILES),
        ask=lambda _: Answer(ApprovalChoice.DENY, "not today"),
    )
    force(hermes_call("{}", "write"), "All right.")

    events = list(chat.send("Write"))

    states = [e.state for e in of_kind(events, ToolStep)]
    assert states == [StepState.ASKING, StepState.REFUSED]
    result = store.branch(chat.session.id)[2]  # type: ignore[union-attr]
    assert result.text == "The user refused this call: not today"
    assert result.tool_outcome is not None
    assert (result.tool_outcome.state, result.tool_outcome.decided_by) == ("refused", "user")
    assert not ran.is_set()


def test_a_turn_ends_after_its_last_step(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools(max_steps=2)
    force(*(hermes_call(f'{{"expression": "{n}"}}') for n in range(3)))

    events = list(chat.send("Count"))

    assert [e.content for e in of_kind(events, ToolStep) if e.state is StepState.DONE] == ["0", "1"]
    assert of_kind(events, Finished)[0].reason is Reason.TOOL_CALLS
    assert "--max-steps" in of_kind(events, Notice)[-1].text


def test_stopping_a_tool_ends_the_turn_and_keeps_what_there_is(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path, store: SessionStore
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=300)
    released = threading.Event()

    def hang(_: Any) -> str:
        chat.cancel.set()
        released.wait(20)
        return "late"

    chat.tools = open_tools(tool("hang", hang))
    force(f"{CALL}\n{hermes_call('{}', 'hang')}\n{CALL}", "Unreached.")
    chat.tools = dataclasses.replace(chat.tools, max_steps=3)

    events = list(chat.send("Wait"))
    released.set()

    ends = {e.index: e.state for e in of_kind(events, ToolStep)}
    assert ends[1] is StepState.STOPPED
    assert of_kind(events, Finished)[0].reason is Reason.CANCELLED
    assert store.branch(chat.session.id)[2].text == "4"  # type: ignore[union-attr]
    chat.cancel.clear()
    force("Now then.")
    assert answer(list(chat.send("Go on"))) == "Now then."


def test_a_question_that_is_closed_stops_its_call_only(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path
) -> None:
    def ask(_: ApprovalRequest) -> Answer:
        raise Interrupted(2)

    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools(tool("write", lambda _: "", Effect.WRITES_FILES), ask=ask)
    force(hermes_call("{}", "write"), "All right.")

    events = list(chat.send("Write"))

    assert of_kind(events, ToolStep)[-1].state is StepState.STOPPED
    assert answer(events) == "All right."


def test_a_step_can_be_written_again_and_a_turn_goes_on_behind_a_result(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path, store: SessionStore
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools()
    force(CALL, "It is 4.", "It is four.", "From here.")
    list(chat.send("What is 2+2?"))

    list(chat.regenerate())

    branch = store.branch(chat.session.id)  # type: ignore[union-attr]
    assert [m.text for m in branch] == ["What is 2+2?", "", "4", "It is four."]
    store.delete_message(branch[-1].id)
    events = list(chat.continue_reply(branch[2].id))
    assert answer(events) == "From here."


@pytest.mark.parametrize("template", ["hermes", "plain"])
def test_a_chat_with_calls_goes_on_without_tools(
    open_chat: OpenChat,
    open_tools: OpenTools,
    force: Any,
    hermes: Path,
    tiny_model: Path,
    template: str,
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools()
    force(CALL, "It is 4.", "You are welcome.")
    list(chat.send("What is 2+2?"))
    model = hermes if template == "hermes" else tiny_model
    later = open_chat(model=str(model), session=chat.session, max_tokens=300)

    events = list(later.send("Thanks"))

    assert answer(events) == "You are welcome."
    assert not [e for e in of_kind(events, Notice) if e.kind == "template"]


def test_a_grammar_of_the_user_switches_the_tools_off(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path
) -> None:
    chat = open_chat(model=str(hermes), grammar='root ::= "yes"')
    chat.tools = open_tools()
    force("yes")

    events = list(chat.send("Yes?"))

    assert answer(events) == "yes"
    assert [e.kind for e in of_kind(events, Notice)][-1:] == ["tool"]


def test_a_reply_that_is_cut_off_within_a_call_calls_nothing(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path, store: SessionStore
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=20)
    chat.tools = open_tools()
    force(CALL)

    events = list(chat.send("What is 2+2?"))

    assert not of_kind(events, ToolStep)
    assert of_kind(events, Finished)[0].reason is Reason.LENGTH
    assert "was cut off" in of_kind(events, Notice)[-1].text
    assert store.branch(chat.session.id)[-1].tool_calls == ()  # type: ignore[union-attr]


def test_a_draft_is_prefilled_with_the_tools(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools()
    list(chat.load_model())
    draft = "What is two and two, and how do you know that it is so?"

    prefilled = of_kind(list(chat.prefill_draft(draft, lambda: True)), PromptProgress)[-1].done
    force("Four.")
    events = list(chat.send(draft))

    assert of_kind(events, Finished)[0].usage.reused >= prefilled > 300


def test_candidates_and_choices_call_nothing(
    open_chat: OpenChat, open_tools: OpenTools, hermes: Path
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=4)
    chat.tools = open_tools(choice="required")

    assert not of_kind(list(chat.candidates(2, "Hello")), ToolStep)
    assert list(chat.choose("Yes?", ["yes", "no"]))[-1].text in ("yes", "no")  # type: ignore[union-attr]


def test_a_person_may_begin_the_reply(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, tiny_model: Path, hermes: Path
) -> None:
    for model in (hermes, tiny_model):
        chat = open_chat(model=str(model), max_tokens=300)
        chat.tools = open_tools()
        force(" is 4.")

        assert answer(list(chat.send("What is 2+2?", reply_prefix="It"))) == " is 4."


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"$ref": "#/$defs/missing"},
        {"type": "object", "properties": None, "required": None},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}},
        {},
    ],
)
@pytest.mark.parametrize("knows_tools", [True, False])
def test_a_schema_that_no_grammar_can_hold_spoils_no_turn(
    open_chat: OpenChat,
    open_tools: OpenTools,
    force: Any,
    tiny_model: Path,
    hermes: Path,
    schema: dict[str, Any],
    knows_tools: bool,
) -> None:
    odd = Tool("odd", "Of a server.", schema, lambda _: "")
    chat = open_chat(model=str(hermes if knows_tools else tiny_model), max_tokens=300)
    chat.tools = open_tools(odd)
    if knows_tools:
        force(CALL, "Four.")
    else:
        force('{"tool": "calculator", "arguments": {"expression": "2+2"}}', '{"answer": "Four."}')

    events = list(chat.send("What is 2+2?"))

    assert of_kind(events, ToolStep)[-1].content == "4"
    assert answer(events) == "Four."
