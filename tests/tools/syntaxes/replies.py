"""Replies read whole and in chunks, which must give the same."""

from __future__ import annotations

import random
from typing import Any

from tchat.tools.syntaxes import (
    CallBroken,
    CallEvent,
    CallFinished,
    CallStarted,
    CallSyntax,
    ReasoningPiece,
    ReplyStart,
    TextPiece,
    joined,
    syntax_for,
)

TOOLS: dict[str, dict[str, Any]] = {
    "weather": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "units": {"enum": ["metric", "imperial"]},
            "hourly": {"type": "boolean"},
            "place": {"type": "object"},
        },
        "required": ["city"],
    },
    "now": {"type": "object", "properties": {}},
    "python": {"type": "object", "properties": {"code": {"type": "string"}}},
}


def known(template: str) -> CallSyntax:
    """The syntax of a template with these marks."""
    syntax = syntax_for(template)
    assert syntax is not None
    return syntax


def read(
    syntax: CallSyntax,
    text: str,
    *,
    start: ReplyStart = ReplyStart.OPEN,
    tools: dict[str, dict[str, Any]] = TOOLS,
    cuts: int = 12,
) -> list[CallEvent]:
    """The events of a reply; however it is cut, they are the same."""
    whole = _read(syntax, [text], start, tools)
    assert _read(syntax, list(text), start, tools) == whole
    for seed in range(cuts):
        assert _read(syntax, cut(text, random.Random(seed)), start, tools) == whole
    return whole


def _read(
    syntax: CallSyntax, chunks: list[str], start: ReplyStart, tools: dict[str, dict[str, Any]]
) -> list[CallEvent]:
    parser = syntax.parser(tools, start)
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return joined([*events, *parser.close()])


def cut(text: str, chance: random.Random) -> list[str]:
    chunks = []
    while text:
        size = chance.randint(1, 9)
        chunks.append(text[:size])
        text = text[size:]
    return chunks


def told(events: list[CallEvent]) -> list[object]:
    """Events in short: text, reasoning in brackets, calls as pairs, broken calls by their name."""
    found: list[object] = []
    for event in events:
        match event:
            case TextPiece(text):
                found.append(text)
            case ReasoningPiece(text):
                found.append([text])
            case CallFinished(_, name, arguments, ""):
                found.append((name, arguments))
            case CallFinished(_, name, arguments, call_id):
                found.append((name, arguments, call_id))
            case CallBroken(_, name, raw):
                found.append({"broken": name, "raw": raw})
            case CallStarted():
                pass
    return found
