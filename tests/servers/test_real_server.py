"""The client against a real server: llama-cpp-python's, with the starter model."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tchat.engine.binding import Cancel
from tchat.engine.events import (
    CandidateEvent,
    Finished,
    LabelScores,
    Reason,
    TextDelta,
    ToolCallStarted,
)
from tchat.engine.prompt import ChatMessage
from tchat.engine.prompt.tools import PromptTools, ToolDefinition
from tchat.engine.tool_reply import ReplyReader, ToolReplies
from tchat.servers.backend import ServerBackend
from tchat.servers.config import Server, ServerModel
from tchat.settings import Sampling
from tchat.tools.tool import object_schema
from tests.egress.user_log import user_log
from tests.servers.asking import QUESTION, ask, finished, only, text_of
from tests.servers.real_server import ALIAS, real_server


@pytest.fixture(scope="module")
def url(starter_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_server(starter_model, tmp_path_factory.mktemp("server") / "log") as found:
        yield found


@pytest.fixture
def smol(url: str, cancel: Cancel) -> Iterator[ServerBackend]:
    made = ServerBackend(
        ServerModel(Server("smol", url, ctx_size=1024), ALIAS), "", user_log(), cancel
    )
    yield made
    made.close()


def test_it_is_recognized_and_answers(smol: ServerBackend) -> None:
    events = ask(smol, Sampling(max_tokens=12))
    end = finished(events)
    assert smol.description.kind.name == "llama-cpp-python"
    assert end.reason is Reason.LENGTH
    assert end.text == text_of(events) != ""
    assert end.usage.completion == 12
    assert end.timings.decode > 0


def test_the_seed_and_the_temperature_arrive(smol: ServerBackend) -> None:
    texts = {finished(ask(smol, Sampling(temp=0.0, max_tokens=8))).text for _ in range(2)}
    assert len(texts) == 1
    seeded = {finished(ask(smol, Sampling(temp=2.0, max_tokens=8, seed=7))).text for _ in range(2)}
    assert len(seeded) == 1


def test_a_prompt_is_counted_there(smol: ServerBackend) -> None:
    list(smol.load())
    long = [ChatMessage("user", "one two three four five " * 120)]
    assert 600 <= len(smol.encoder.for_answer(long).tokens) <= 610


def test_it_is_stopped_at_once_and_goes_on(smol: ServerBackend, cancel: Cancel) -> None:
    events = smol.generate(QUESTION, Sampling(max_tokens=500))
    next(event for event in events if isinstance(event, TextDelta))
    threading.Timer(0.1, cancel.set).start()
    assert finished(events).reason is Reason.CANCELLED
    cancel.clear()
    assert finished(ask(smol, Sampling(max_tokens=3))).usage.completion == 3


def test_a_grammar_and_a_schema_hold(smol: ServerBackend) -> None:
    grammar = Sampling(grammar='root ::= "azure" | "navy"', max_tokens=8)
    assert finished(ask(smol, grammar)).text in ("azure", "navy")
    smol.schema = {
        "type": "object",
        "properties": {"blue": {"type": "boolean"}},
        "required": ["blue"],
        "additionalProperties": False,
    }
    found = json.loads(finished(ask(smol, Sampling(max_tokens=60, temp=0.0))).text)
    assert isinstance(found["blue"], bool)


def test_a_tool_that_is_named_is_called(smol: ServerBackend) -> None:
    definitions = [
        ToolDefinition(
            name, "Look it up", json.dumps(object_schema((), **{argument: {"type": kind}}))
        )
        for name, argument, kind in (("weather", "city", "string"), ("add", "sum", "integer"))
    ]
    smol.offer_tools(PromptTools(tuple(definitions)))
    read: list[str] = []

    def reader(*_: object) -> ReplyReader:
        return cast(ReplyReader, SimpleNamespace(feed=read.append, close=list))

    demanded = ToolReplies(reader, demanded=("add",))
    events = ask(smol, Sampling(max_tokens=40, temp=0.0), tools=demanded)
    assert only(events, ToolCallStarted).name == "add"
    (call,) = read
    assert call.startswith('<tool_call>{"name": "add", "arguments": {')


def test_candidates_and_labels(smol: ServerBackend) -> None:
    events = list(smol.candidates(QUESTION, Sampling(max_tokens=5, seed=1), 2))
    ends = [each.event for each in events if isinstance(each, CandidateEvent)]
    texts = [each.text for each in ends if isinstance(each, Finished)]
    assert len(texts) == 2
    assert all(texts)
    question = [ChatMessage("user", "Is ice cold? Answer yes or no.")]
    scores = only(smol.score_labels(question, ["yes", "no"]), LabelScores)
    assert {label for label, _ in scores.probabilities} == {"yes", "no"}
