"""The envelope of models whose template knows no calls: its schema, and how it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tchat.engine.grammar.json_schema import to_gbnf
from tchat.engine.grammar.validate import validate
from tchat.tools.syntaxes import (
    CallFinished,
    EnvelopeSyntax,
    ReplyStart,
    TextPiece,
    ToolChoice,
    envelope_schema,
)
from tests.engine.grammar.accepting import Acceptor
from tests.tools.syntaxes.replies import TOOLS, read, told

CASES: list[tuple[str, list[object]]] = [
    ('{"answer": "It rains.\\nA lot."}', ["It rains.\nA lot."]),
    ('{"tool": "weather", "arguments": {"city": "Oslo"}}', [("weather", {"city": "Oslo"})]),
    ('{"arguments": {"city": "Oslo"}, "tool": "weather"}', [("weather", {"city": "Oslo"})]),
    ('\n{"tool": "now"}\n', [("now", {})]),
    ('<think>\nWhere?</think>\n{"answer": "Oslo"}', [["Where?"], "Oslo"]),
    ('{"answer": "\\"\\\\ \\u00e9\\ud83d\\ude00\\ud83dx\\t/"}', ['"\\ é😀\ufffdx\t/']),
    ('{"answer": "It is cut o', ["It is cut o"]),
    ('{"answer": "It is cut \\u00', ["It is cut "]),
    ("No envelope at all.\n", ["No envelope at all.\n"]),
    ('{"tool": "weather", "arg', [{"broken": "weather", "raw": '{"tool": "weather", "arg'}]),
    ('{"city": "Oslo"}', [{"broken": "", "raw": '{"city": "Oslo"}'}]),
    ("{}", [{"broken": "", "raw": "{}"}]),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_an_envelope_is_read_alike_however_it_is_cut(text: str, expected: list[object]) -> None:
    assert told(read(EnvelopeSyntax(), text)) == expected


def test_an_answer_streams() -> None:
    parser = EnvelopeSyntax().parser(TOOLS)

    assert parser.feed('{"answer": "It ') == [TextPiece("It ")]
    assert parser.feed("rains") == [TextPiece("rains")]


def test_a_prompt_may_open_the_reasoning() -> None:
    syntax = EnvelopeSyntax()

    assert syntax.start_after("<|assistant|><think>\n") is ReplyStart.REASONING
    events = read(syntax, 'Where?</think>{"tool": "now"}', start=ReplyStart.REASONING)
    assert told(events) == [["Where?"], ("now", {})]


def branches(schema: dict[str, Any]) -> list[str]:
    """What a reply may be: the names of tools, or an answer."""
    found = []
    for branch in schema.get("anyOf", [schema]):
        properties = branch["properties"]
        found.append(properties["tool"]["const"] if "tool" in properties else "answer")
    return found


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ["answer", "weather", "now", "python"]),
        ("required", ["weather", "now", "python"]),
        ("now", ["now"]),
    ],
)
def test_a_choice_of_tools_limits_what_may_be_written(choice: str, expected: list[str]) -> None:
    parsed = ToolChoice.parse(choice, TOOLS)

    assert parsed is not None
    schema = envelope_schema(TOOLS, parsed)
    assert branches(schema) == expected
    assert "root ::=" in to_gbnf(schema).text


def test_no_choice_and_unknown_tools_are_told() -> None:
    assert ToolChoice.parse("none", TOOLS) is None
    with pytest.raises(KeyError):
        ToolChoice.parse("wether", TOOLS)
    assert branches(envelope_schema({})) == ["answer"]


def test_definitions_of_tools_stay_apart() -> None:
    """Two tools may define different things under one name, and trees refer to themselves."""
    tools: dict[str, dict[str, Any]] = {
        "one": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$defs": {"Id": {"type": "integer"}},
            "type": "object",
            "properties": {"id": {"$ref": "#/$defs/Id"}},
            "required": ["id"],
        },
        "two": {
            "definitions": {"Id": {"type": "string"}},
            "type": "object",
            "properties": {"id": {"$ref": "#/definitions/Id"}},
        },
        "tree": {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
        },
    }
    before = json.dumps(tools)

    schema = envelope_schema(tools)

    assert json.dumps(tools) == before
    assert schema["$defs"]["tool0.Id"] == {"type": "integer"}
    assert schema["$defs"]["tool1.Id"] == {"type": "string"}
    arguments = [b["properties"]["arguments"] for b in schema["anyOf"][1:]]
    assert arguments[0]["properties"]["id"] == {"$ref": "#/$defs/tool0.Id"}
    assert arguments[1]["properties"]["id"] == {"$ref": "#/$defs/tool1.Id"}
    assert arguments[2] == {"$ref": "#/$defs/tool2"}
    assert "root ::=" in to_gbnf(schema).text


@pytest.fixture(scope="module")
def accepts(tiny_model: Path) -> Iterator[Acceptor]:
    """Whether llama.cpp, sampling by a grammar, could write a text and end there."""
    with Acceptor(tiny_model) as acceptor:
        yield acceptor


@pytest.mark.parametrize(
    ("text", "is_allowed"),
    [
        ('{"answer": "It rains."}', True),
        ('{"tool": "weather", "arguments": {"city": "Oslo", "days": 3}}', True),
        ('{"tool": "now", "arguments": {}}', True),
        ('{"tool": "wether", "arguments": {"city": "Oslo"}}', False),
        ('{"tool": "weather", "arguments": {"days": 3}}', False),
        ('{"tool": "weather", "arguments": {"city": 3}}', False),
        ('{"tool": "weather"}', False),
        ('{"answer": 3}', False),
        ("It rains.", False),
    ],
)
def test_the_grammar_of_the_schema_allows_answers_and_whole_calls(
    accepts: Acceptor, text: str, is_allowed: bool
) -> None:
    assert accepts(to_gbnf(envelope_schema(TOOLS)).text, text) is is_allowed


def test_whatever_the_grammar_allows_is_an_answer_or_a_valid_call(accepts: Acceptor) -> None:
    tools = {
        "move": {
            "type": "object",
            "properties": {
                "to": {"enum": ["north", "south"]},
                "steps": {"type": "integer", "minimum": 1, "maximum": 9},
                "path": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
            },
            "required": ["to", "steps"],
            "additionalProperties": False,
        },
        "stop": {"type": "object", "properties": {}, "additionalProperties": False},
    }
    for choice, required in ((ToolChoice(), False), (ToolChoice(may_answer=False), True)):
        grammar = to_gbnf(envelope_schema(tools, choice)).text
        texts = [accepts.written(grammar, Random(seed), 400) for seed in range(60)]
        written = [text for text in texts if text is not None]
        assert len(written) > 20
        for text in written:
            events = read(EnvelopeSyntax(), text, tools=tools, cuts=1)
            calls = [event for event in events if isinstance(event, CallFinished)]
            for call in calls:
                validate(json.dumps(call.arguments), tools[call.name])
            answers = [event for event in events if isinstance(event, TextPiece)]
            assert calls or not required
            assert calls or answers or json.loads(text) == {"answer": ""}
