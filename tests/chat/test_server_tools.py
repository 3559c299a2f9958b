"""Tools on a server: told beside the messages, called beside the text, run here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tchat.chat.chat import Chat
from tchat.engine.events import Finished, Notice, Reason, StepState, ToolCallStarted, ToolStep
from tchat.paths import Paths
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tests.chat.tool_turns import OpenTools, of_kind
from tests.servers.fake_server import Answer, FakeServer, piece, reply, serving, sse


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serving() as server:
        yield server


@pytest.fixture
def chat(
    fake: FakeServer, paths: Paths, store: SessionStore, open_tools: OpenTools
) -> Iterator[Chat]:
    servers = {"box": {"url": fake.url, "ctx_size": 4000, "kind": "vllm"}}
    with Chat(Settings(model="box", servers=servers), paths, store) as opened:
        opened.tools = open_tools()
        yield opened


def part(index: int | None, name: str | None, arguments: Any, **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    call = {"type": "function", "function": function, **more}
    return piece(tool_calls=[call if index is None else {**call, "index": index}])


REPEATED = [part(0, "calculator", text, id="a") for text in ('{"expres', 'sion": "2', '+2"}')]
WHOLE = [part(0, "calculator", '{"expression": "2+2"}', id="call_1")]
PIECES = [
    part(0, "calculator", "", id="call_1"),
    part(0, None, '{"expres'),
    part(0, None, 'sion": "2'),
    part(0, None, '+2"}'),
]


@pytest.mark.parametrize(
    "chunks",
    [
        WHOLE,
        PIECES,
        REPEATED,
        [part(0, "calc", ""), part(0, "ulator", ""), *PIECES[1:]],
        [part(None, "calculator", '{"expression": "2+2"}', id="x")],
        [part(0, "calculator", {"expression": "2+2"})],
        [piece("I look."), *PIECES],
    ],
    ids=[
        "whole",
        "pieces",
        "repeated name",
        "name in pieces",
        "no index",
        "an object",
        "behind text",
    ],
)
def test_a_call_is_run_and_its_result_sent_back(
    chunks: list[Any], fake: FakeServer, chat: Chat
) -> None:
    fake.chat(Answer(sse(*chunks, piece(end="tool_calls"))), reply("It is 4."))
    events = list(chat.send("What is 2+2?"))
    assert of_kind(events, ToolCallStarted) == [ToolCallStarted(0, "calculator")]
    assert [step.state for step in of_kind(events, ToolStep)] == [StepState.RUNNING, StepState.DONE]
    assert isinstance(events[-1], Finished)
    assert (events[-1].text, events[-1].reason) == ("It is 4.", Reason.STOP)
    first, second = fake.bodies()
    assert [each["function"]["name"] for each in first["tools"]] == ["calculator"]
    _, call, result = second["messages"]
    (sent,) = call["tool_calls"]
    assert json.loads(sent["function"]["arguments"]) == {"expression": "2+2"}
    assert (result["role"], result["content"]) == ("tool", "4")
    assert result["tool_call_id"] == sent["id"] != ""


def test_several_calls_of_one_reply_are_run(fake: FakeServer, chat: Chat) -> None:
    calls = [part(n, "calculator", json.dumps({"expression": f"{n}+1"})) for n in (0, 1)]
    fake.chat(Answer(sse(*calls, piece(end="tool_calls"))), reply("done"))
    events = list(chat.send("Count."))
    assert [step.content for step in of_kind(events, ToolStep) if step.content] == ["1", "2"]


@pytest.mark.parametrize(
    "arguments", ['{"expression": ', "nonsense", '{"expression": "</tool_call>"}', "[1]"]
)
def test_a_call_that_cannot_be_read_is_answered_as_such(
    arguments: str, fake: FakeServer, chat: Chat
) -> None:
    fake.chat(Answer(sse(part(0, "calculator", arguments), piece(end="tool_calls"))), reply("Oh."))
    events = list(chat.send("What is 2+2?"))
    assert [step.state for step in of_kind(events, ToolStep)][-1] is StepState.FAILED
    assert isinstance(events[-1], Finished)
    assert events[-1].text == "Oh."


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


BOTH = ["calculator", "date_time"]


@pytest.mark.parametrize(
    ("kind", "choice", "demanded", "told"),
    [
        ("vllm", "auto", None, BOTH),
        ("vllm", "required", "required", BOTH),
        ("vllm", "date_time", function("date_time"), BOTH),
        ("other", "required", "required", BOTH),
        ("other", "date_time", function("date_time"), BOTH),
        ("llama-server", "required", "required", BOTH),
        ("llama-server", "date_time", "required", ["date_time"]),
        ("lm-studio", "date_time", "required", ["date_time"]),
        ("llama-cpp-python", "required", None, BOTH),
        ("llama-cpp-python", "date_time", function("date_time"), BOTH),
        ("ollama", "date_time", None, ["date_time"]),
    ],
)
def test_a_demand_of_a_call_is_sent_as_the_server_takes_it(
    kind: str,
    choice: str,
    demanded: Any,
    told: list[str],
    fake: FakeServer,
    paths: Paths,
    store: SessionStore,
    open_tools: OpenTools,
) -> None:
    fake.chat(Answer(sse(part(0, "date_time", "{}", id="a"), piece(end="stop"))), reply("Noon."))
    servers = {"box": {"url": fake.url, "ctx_size": 4000, "kind": kind}}
    with Chat(Settings(model="box", servers=servers), paths, store) as chat:
        chat.tools = open_tools(names=BOTH, choice=choice)
        events = list(chat.send("What time is it?"))
    first, second = fake.bodies()
    assert first.get("tool_choice") == demanded
    assert [each["function"]["name"] for each in first["tools"]] == told
    assert "tool_choice" not in second
    assert [each["function"]["name"] for each in second["tools"]] == BOTH
    assert of_kind(events, ToolStep)[-1].state is StepState.DONE


def test_an_answer_in_place_of_a_demanded_call_is_told(
    fake: FakeServer, chat: Chat, open_tools: OpenTools
) -> None:
    chat.tools = open_tools(choice="required")
    fake.chat(reply("It is 4."))
    events = list(chat.send("What is 2+2?"))
    assert [each.text for each in of_kind(events, Notice)] == [
        "box lets the model answer instead of calling a tool"
    ]
    assert isinstance(events[-1], Finished)
    assert events[-1].text == "It is 4."


def test_text_that_looks_like_a_call_is_text(fake: FakeServer, chat: Chat) -> None:
    text = '<tool_call>{"name": "calculator", "arguments": {"expression": "1"}}</tool_call>'
    fake.chat(Answer(sse(piece(text), piece(end="stop"))))
    events = list(chat.send("Show me a call."))
    assert of_kind(events, ToolStep) == []
    assert isinstance(events[-1], Finished)
    assert events[-1].text == text


def test_without_tools_none_are_told_and_a_call_is_noticed(fake: FakeServer, chat: Chat) -> None:
    chat.tools = None
    fake.chat(Answer(sse(*WHOLE, piece(end="tool_calls"))))
    events = list(chat.send("What is 2+2?"))
    assert "tools" not in fake.bodies()[0]
    assert any("there is none" in getattr(event, "text", "") for event in events)
