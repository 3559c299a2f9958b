"""Calls of the starter model: valid under the grammar, and the right tool for a plain request.

``python -m tests.benchmarks.tool_calls`` tells of each miss, too.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from tchat.chat.tool_protocol import CallReplyReader, ToolProtocol, protocol_for
from tchat.engine.engine import Engine
from tchat.engine.events import Finished, Reason, TextDelta
from tchat.engine.loading import EngineOptions
from tchat.engine.prompt import ChatMessage
from tchat.models.metadata import read_metadata
from tchat.models.sources.starter import starter_file
from tchat.settings import Sampling
from tchat.tools.calculator import calculator_tool
from tchat.tools.date_time import date_time_tool
from tchat.tools.read_file import read_file_tool
from tchat.tools.roots import Roots
from tchat.tools.search_chats import search_chats_tool
from tchat.tools.syntaxes import CallFinished, EnvelopeSyntax, ToolChoice
from tchat.tools.tool import Tool
from tests.benchmarks.rows import Row
from tests.benchmarks.tool_requests import REQUESTS

SCHEMAS = 300
WORDS = [
    *("name", "city", "count", "size", "colour", "date"),
    *("price", "tags", "note", "kind", "level", "user"),
]
GAIN = 2.0  # of the rate with the envelope over the one without


def random_schema(chance: random.Random, depth: int = 0) -> dict[str, Any]:
    """The schema of an object with some properties of random kinds."""
    names = chance.sample(WORDS, chance.randint(1, 4 - depth))
    required = [name for name in names if chance.random() < 0.7]
    return {
        "type": "object",
        "properties": {name: _random_value(chance, depth) for name in names},
        "required": required or names[:1],
        "additionalProperties": False,
    }


def _random_value(chance: random.Random, depth: int) -> dict[str, Any]:
    low = chance.randint(-5, 50)
    kinds: list[dict[str, Any]] = [
        {"type": "string", "maxLength": chance.randint(1, 30)},
        {"type": "string", "enum": chance.sample(WORDS, 3)},
        {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
        {"type": "string", "format": "date"},
        {"type": "integer", "minimum": low, "maximum": low + chance.randint(0, 500)},
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "boolean"},
        {"type": ["string", "null"], "maxLength": 12},
        {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 99}, {"const": "all"}]},
        {"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": 3},
        {"type": "array", "items": {"enum": WORDS[:4]}, "minItems": 1, "maxItems": 2},
    ]
    if not depth:
        kinds.append(random_schema(chance, depth=1))
    return chance.choice(kinds)


class StarterCalls:
    """The starter model, asked to call."""

    def __init__(self) -> None:
        path = starter_file()
        template = read_metadata(path).chat_template
        self.engine = Engine(EngineOptions(path=path, template=template, threads=1))
        for _ in self.engine.load():
            pass

    def close(self) -> None:
        self.engine.close()

    def call(
        self, protocol: ToolProtocol, request: str, choice: ToolChoice, *, seed: int, temp: float
    ) -> CallFinished | None:
        """The first call of the reply to a request, held by the grammar."""
        readers: list[CallReplyReader] = []
        sampling = Sampling(temp=temp, seed=seed, max_tokens=400)
        events = self.engine.generate(
            self._messages(protocol, request), sampling, tools=protocol.replies(choice, readers)
        )
        with closing(events):  # type: ignore[type-var]  # it is a generator
            for event in events:
                if isinstance(event, TextDelta):  # an answer
                    return None
                if isinstance(event, Finished) and event.reason is not Reason.STOP:
                    return None
        return next((each for each in readers[0].calls if isinstance(each, CallFinished)), None)

    def call_without_grammar(self, protocol: ToolProtocol, request: str) -> CallFinished | None:
        """The same without a grammar: what the model writes by itself, read as the envelope."""
        sampling = Sampling(temp=0.0, max_tokens=100)
        events = self.engine.generate(self._messages(protocol, request), sampling)
        text = ""
        with closing(events):  # type: ignore[type-var]  # it is a generator
            for event in events:
                text += event.text if isinstance(event, TextDelta) else ""
                if text.strip()[:1] not in ("", "{"):  # no envelope
                    return None
        parser = EnvelopeSyntax().parser(protocol.grammars.schemas)
        found = [*parser.feed(text), *parser.close()]
        return next((event for event in found if isinstance(event, CallFinished)), None)

    @staticmethod
    def _messages(protocol: ToolProtocol, request: str) -> list[ChatMessage]:
        system = protocol.system_prompt("")
        head = [ChatMessage("system", system)] if system else []
        return [*head, ChatMessage("user", request)]


def invalid_calls(
    starter: StarterCalls, seeds: Sequence[int]
) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Schemas whose call is not valid, with what came instead."""
    for seed in seeds:
        if seed % 50 == 0:  # it takes a while
            print(f"schema {seed}", file=sys.stderr, flush=True)
        chance = random.Random(seed)
        schema = random_schema(chance)
        name = chance.choice(WORDS)
        other = Tool("other", "Something else.", random_schema(chance), lambda _: "")
        tool = Tool(name, f"Set the {name}.", schema, lambda _: "")
        choice = ToolChoice(may_answer=False, names=(name,))
        request = f"Use {name} with {chance.choice(WORDS)} and {chance.randint(1, 99)}."
        protocol = protocol_for(starter.engine, [tool, other], choice)
        protocol = replace(protocol, system="")  # only the grammar is measured, and in less time
        call = starter.call(protocol, request, choice, seed=seed, temp=1.0)
        if call is None or call.name != name or not _is_valid(call.arguments, schema):
            yield schema, call


def _is_valid(arguments: Any, schema: Mapping[str, Any]) -> bool:
    checker = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return bool(checker.is_valid(json.loads(json.dumps(arguments))))


def four_tools(folder: Path) -> Sequence[Tool]:
    """The tools that requests are about."""
    return (
        calculator_tool(),
        date_time_tool(),
        read_file_tool(Roots([folder])),
        search_chats_tool(lambda _text, _most: ()),
    )


def right_tools(starter: StarterCalls) -> Iterator[tuple[str, str, str, str]]:
    """Of each request its tool, the text, and the tools called with and without the grammar."""
    with tempfile.TemporaryDirectory() as folder:
        tools = four_tools(Path(folder))
        protocol = protocol_for(starter.engine, tools, ToolChoice())
        for name, request in REQUESTS:
            held = starter.call(protocol, request, ToolChoice(), seed=0, temp=0.0)
            free = starter.call_without_grammar(protocol, request)
            yield name, request, held.name if held else "", free.name if free else ""


def rows(*, is_talkative: bool = False) -> Iterator[Row]:
    """The rows of the table."""
    starter = StarterCalls()
    try:
        found = list(right_tools(starter))
        for name, request, held, free in found if is_talkative else ():
            print(f"{name:<14}{held or '-':<14}{free or '-':<14}{request}")
        right = sum(name == called for name, _, called, _ in found)
        by_itself = sum(name == called for name, _, _, called in found)
        yield Row(
            f"the starter's tool for {len(found)} plain requests: right with the envelope",
            f"{right}",
            f"≥ {GAIN:g}× of {by_itself} without",
            reached=right >= GAIN * by_itself,
        )
        invalid = list(invalid_calls(starter, range(SCHEMAS)))
        for schema, call in invalid if is_talkative else ():
            print(json.dumps(schema), call)
        yield Row(
            f"calls valid by {SCHEMAS} random schemas, under the grammar",
            f"{SCHEMAS - len(invalid)}",
            f"{SCHEMAS}",
            reached=not invalid,
        )
    finally:
        starter.close()


if __name__ == "__main__":
    for row in rows(is_talkative=True):
        print(row)
    sys.exit()
