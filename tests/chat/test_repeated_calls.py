"""Turns in which the model repeats itself: calls, arguments and answers; what a turn counts."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tchat.engine.events import Event, Finished, Notice, Reason, StepFinished, ToolStep
from tchat.sessions.store import SessionStore
from tchat.tools.tool import Tool
from tests.chat.conftest import OpenChat
from tests.chat.forced_replies import hermes_call
from tests.chat.tool_turns import OpenTools, answer, of_kind, tool

CALL = hermes_call('{"expression": "2+2"}')


def test_the_same_call_with_the_same_result_is_told_once_and_then_ends_the_turn(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools()
    force(CALL, CALL, CALL)

    events = list(chat.send("Again"))

    first, second, _ = (e.content for e in of_kind(events, ToolStep) if e.message is not None)
    assert first == "4"
    assert second.startswith("4\n[The same call")
    assert of_kind(events, Finished)[0].reason is Reason.TOOL_CALLS
    assert "again and again" in of_kind(events, Notice)[-1].text


def counting_tool() -> Tool:
    """A tool with another result each time."""
    numbers = itertools.count(1)
    return tool("clock", lambda _: str(next(numbers)))


def results(events: list[Event]) -> list[str]:
    return [e.content for e in of_kind(events, ToolStep) if e.message is not None]


def test_the_same_call_directly_again_ends_the_turn_whatever_its_result(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path, store: SessionStore
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools(counting_tool(), names=())
    force(*[hermes_call("{}", "clock")] * 4)

    events = list(chat.send("What time is it?"))

    first, second, third = results(events)
    assert first == "1"
    assert second.startswith("2\n[The call before was the same.")
    assert third.startswith("3\n")
    assert of_kind(events, Finished)[0].reason is Reason.TOOL_CALLS
    assert store.branch(chat.session.id)[-1].text == third  # type: ignore[union-attr]


def test_the_same_call_after_another_may_have_another_result(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools(counting_tool())
    sums = [hermes_call(f'{{"expression": "{n}"}}') for n in range(3)]
    clock = hermes_call("{}", "clock")
    force(clock, sums[0], clock, sums[1], clock, sums[2], clock, "It is late.")

    events = list(chat.send("What time is it?"))

    assert results(events) == ["1", "0", "2", "1", "3", "2", "4"]
    assert of_kind(events, Finished)[0].reason is Reason.STOP


def test_each_of_several_calls_may_be_made_twice(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools()
    other = hermes_call('{"expression": "3"}')
    force(CALL, other, CALL, other, "Done.")

    events = list(chat.send("Again"))

    assert of_kind(events, Finished)[0].reason is Reason.STOP


def test_an_envelope_that_must_not_call_again_answers(
    open_chat: OpenChat, open_tools: OpenTools, force: Any
) -> None:
    chat = open_chat(max_tokens=300)
    chat.tools = open_tools(counting_tool(), names=())
    force(*['{"tool": "clock", "arguments": {}}'] * 2, '{"answer": "Late."}')

    events = list(chat.send("What time is it?"))

    assert len(results(events)) == 2
    assert answer(events) == "Late."


ROUND = "17 is equal to 17, as everyone knows who can count. "


@pytest.mark.parametrize("name", ["envelope", "hermes"])
def test_an_answer_that_repeats_itself_is_stopped(
    name: str,
    open_chat: OpenChat,
    open_tools: OpenTools,
    force: Any,
    hermes: Path,
    store: SessionStore,
) -> None:
    more = {} if name == "envelope" else {"model": str(hermes)}
    chat = open_chat(max_tokens=3000, **more)
    chat.tools = open_tools()
    force(f'{{"answer": "{ROUND * 40}"}}' if name == "envelope" else ROUND * 40)

    end = list(chat.send("What is 17?"))[-1]

    assert isinstance(end, Finished)
    assert (end.reason, end.text) == (Reason.LOOP, ROUND.strip())
    assert store.branch(chat.session.id)[-1].text == ROUND.strip()  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["envelope", "hermes"])
def test_arguments_that_repeat_themselves_are_stopped(
    name: str,
    open_chat: OpenChat,
    open_tools: OpenTools,
    force: Any,
    hermes: Path,
    store: SessionStore,
) -> None:
    is_envelope = name == "envelope"
    chat = open_chat(max_tokens=3000, **({} if is_envelope else {"model": str(hermes)}))
    chat.tools = open_tools(tool("write", lambda _: "written", text={"type": "string"}), names=())
    arguments = f'{{"text": "{ROUND * 40}"}}'
    call = f'{{"tool": "write", "arguments": {arguments}}}'
    force(call if is_envelope else "I write." + hermes_call(arguments, "write"))

    events = list(chat.send("Write"))

    end = events[-1]
    assert isinstance(end, Finished)
    assert (end.reason, end.text) == (Reason.LOOP, "" if is_envelope else "I write.")
    assert not of_kind(events, ToolStep)
    assert "repeat itself where it calls" in of_kind(events, Notice)[-1].text
    last = store.branch(chat.session.id)[-1]  # type: ignore[union-attr]
    assert (last.finish_reason, last.tool_calls) == ("loop", ())


def test_arguments_that_repeat_themselves_go_on_without_the_guard(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path
) -> None:
    chat = open_chat(max_tokens=3000, model=str(hermes), loop_guard=False)
    chat.tools = open_tools(tool("write", lambda _: "written", text={"type": "string"}), names=())
    force(hermes_call(f'{{"text": "{ROUND * 20}"}}', "write"), "Done.")

    assert answer(list(chat.send("Write"))) == "Done."


def test_a_turn_counts_the_tokens_and_the_seconds_of_its_steps(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools()
    force(CALL, hermes_call('{"expression": "3"}'), "Done.")

    events = list(chat.send("Count"))

    end = of_kind(events, Finished)[0]
    replies = [*(step.finished for step in of_kind(events, StepFinished)), end]
    assert len(replies) == 3
    assert end.turn_usage.completion == sum(each.usage.completion for each in replies)
    assert end.turn_usage.prompt == end.turn_usage.reused + end.turn_usage.prefilled
    assert end.turn_timings.decode == pytest.approx(sum(e.timings.decode for e in replies))


def test_a_turn_that_ends_at_a_call_counts_each_step_once(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools(max_steps=1)
    force(CALL, CALL)

    events = list(chat.send("Count"))

    steps = [step.finished.usage.completion for step in of_kind(events, StepFinished)]
    assert of_kind(events, Finished)[0].turn_usage.completion == sum(steps)
