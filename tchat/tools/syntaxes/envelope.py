"""Calls of models whose template knows none: a reply that is one JSON object.

``{"answer": "…"}`` or ``{"tool": "NAME", "arguments": {…}}``. Under a grammar made from
`envelope_schema`, every reply is valid; the answer streams as it is written.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tchat.tools.syntaxes.arguments import as_arguments, decoded
from tchat.tools.syntaxes.protocol import (
    CallEvent,
    CallParser,
    ReasoningPiece,
    ReplyStart,
    Schemas,
    TextPiece,
)
from tchat.tools.syntaxes.reader import BrokenCall, Parse, Reader, Steps
from tchat.tools.syntaxes.reply import Calls, PieceWriter
from tchat.translation import tr

ANSWER, TOOL, ARGUMENTS = "answer", "tool", "arguments"
_THINKING = ("<think>", "</think>")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_HEX = re.compile(r"[0-9A-Fa-f]{4}\Z")


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Who decides whether a tool is called.

    Args:
        may_answer: Whether the model may answer instead.
        names: The tools to choose from; empty for all.
    """

    may_answer: bool = True
    names: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, tools: Iterable[str]) -> ToolChoice | None:
        """``auto``, ``required``, the name of a tool, or ``none``, which is None.

        Raises:
            KeyError: There is no such tool.
        """
        if text == "none":
            return None
        if text in ("auto", "required"):
            return cls(may_answer=text == "auto")
        if text not in tools:
            raise KeyError(text)
        return cls(may_answer=False, names=(text,))


def envelope_schema(tools: Schemas, choice: ToolChoice = ToolChoice()) -> dict[str, Any]:
    """The JSON schema of a reply that answers, or calls one of ``tools``.

    Definitions that a tool's schema refers to move to the top, under names of their own.
    """
    definitions: dict[str, Any] = {}
    branches: list[dict[str, Any]] = []
    if choice.may_answer:
        branches.append(_object({ANSWER: {"type": "string"}}))
    for number, (name, schema) in enumerate(tools.items()):
        if choice.names and name not in choice.names:
            continue
        arguments = _hoisted(schema, f"tool{number}", definitions)
        branches.append(_object({TOOL: {"const": name}, ARGUMENTS: arguments}))
    if not branches:
        return _object({ANSWER: {"type": "string"}})
    whole = branches[0] if len(branches) == 1 else {"anyOf": branches}
    return {**whole, "$defs": definitions} if definitions else whole


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _hoisted(schema: Mapping[str, Any], prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """A tool's schema whose references point into ``definitions``, to which it adds its own."""
    own = copy.deepcopy(dict(schema)) or {"type": "object"}
    own.pop("$schema", None)
    own.setdefault("type", "object")
    if _has_reference(own):
        for word in ("$defs", "definitions"):
            for name, each in dict(own.pop(word, None) or {}).items():
                definitions[f"{prefix}.{name}"] = _redirected(each, prefix)
        if _refers_to_itself(own, definitions):
            definitions[prefix] = _redirected(own, prefix)
            return {"$ref": f"#/$defs/{prefix}"}
    redirected: dict[str, Any] = _redirected(own, prefix)
    return redirected


def _has_reference(schema: Any) -> bool:
    return any(key == "$ref" for key, _ in _walk(schema))


def _refers_to_itself(*schemas: Any) -> bool:
    return any(key == "$ref" and value == "#" for each in schemas for key, value in _walk(each))


def _walk(schema: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            yield str(key), value
            yield from _walk(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _walk(value)


def _redirected(schema: Any, prefix: str) -> Any:
    """A schema with its local references moved."""
    if isinstance(schema, list):
        return [_redirected(each, prefix) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    moved = {key: _redirected(value, prefix) for key, value in schema.items()}
    reference = moved.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        name = re.sub(r"^#(/\$defs/|/definitions/)?", "", reference)
        moved["$ref"] = f"#/$defs/{prefix}.{name}" if name else f"#/$defs/{prefix}"
    return moved


@dataclass(frozen=True, slots=True)
class EnvelopeSyntax:
    """A `CallSyntax` that works with every model, held by a grammar."""

    name: str = "envelope"
    triggers: tuple[str, ...] = ()
    head_triggers: tuple[str, ...] = ("{",)

    def start_after(self, prompt: str) -> ReplyStart:
        """See `CallSyntax`."""
        is_open = prompt.rstrip().endswith(_THINKING[0])
        return ReplyStart.REASONING if is_open else ReplyStart.OPEN

    def parser(self, tools: Schemas, start: ReplyStart = ReplyStart.OPEN) -> CallParser:
        """See `CallSyntax`."""
        events: list[CallEvent] = []
        reader = Reader()
        return Parse(reader, events, _Envelope(reader, tools, events).read(start))


class _Envelope:
    """Reads one reply."""

    def __init__(self, reader: Reader, tools: Schemas, events: list[CallEvent]) -> None:
        self._reader = reader
        self._calls = Calls(tools, events, reader)
        self._events = events
        self._text = PieceWriter(events, TextPiece)
        self._thought = PieceWriter(events, ReasoningPiece)

    def read(self, start: ReplyStart) -> Steps[None]:
        reader = self._reader
        space = ""
        if start is ReplyStart.OPEN:
            space = yield from reader.space()
        if start is ReplyStart.REASONING or (yield from reader.literal(_THINKING[0])):
            self._thought.cut()
            reader.in_reasoning = True
            yield from reader.until(_THINKING[1:], self._thought.write)
            reader.in_reasoning = False
            space = yield from reader.space()
        reader.forget()
        if start is ReplyStart.ANSWER or (yield from reader.peek()) != "{":
            # Without a grammar, models forget the envelope.
            self._text.write(space)
            yield from reader.until((), self._text.write)
            self._text.close()
            return
        try:
            yield from self._object()
        except BrokenCall as problem:
            yield from reader.until(())
            self._calls.fail(reader.since(0), str(problem))

    def _object(self) -> Steps[None]:
        reader, calls = self._reader, self._calls
        yield from reader.literal("{")
        arguments: dict[str, Any] = {}
        answered = False
        end = ","
        while end == ",":
            key = yield from self._key()
            if key == ANSWER and (yield from reader.literal('"')):
                answered = True
                yield from self._answer()
            else:
                value = decoded((yield from reader.json_text()))
                if key == TOOL:
                    calls.start(str(value))
                elif key == ARGUMENTS:
                    arguments = as_arguments(value)
            yield from reader.space()
            end = yield from reader.literal(",", "}")
        if not calls.has_started and answered:
            return  # even if it was cut off
        if not end:
            raise BrokenCall(tr("it is not a JSON object"))
        if not calls.has_started:
            raise BrokenCall(tr("it names no tool"))
        calls.finish(arguments)

    def _key(self) -> Steps[Any]:
        yield from self._reader.space()
        key = decoded((yield from self._reader.json_text()))
        yield from self._reader.space()
        if not (yield from self._reader.literal(":")):
            raise BrokenCall(tr("it is not a JSON object"))
        yield from self._reader.space()
        return key

    def _answer(self) -> Steps[None]:
        """The characters of a JSON string, as they come."""
        while (yield from self._reader.until(('"', "\\"), self._write)) == "\\":
            self._write((yield from self._escaped()))
        self._reader.forget()

    def _write(self, text: str) -> None:
        if text:
            self._events.append(TextPiece(text))

    def _escaped(self) -> Steps[str]:
        """The character that an escape stands for."""
        sign = yield from self._reader.take(1)
        if sign != "u":
            return _ESCAPES.get(sign, sign)
        digits = yield from self._reader.take(4)
        text = chr(int(digits, 16)) if _HEX.match(digits) else ""
        if "\ud800" <= text <= "\udbff" and (yield from self._reader.literal("\\u")):
            digits = yield from self._reader.take(4)
            text += chr(int(digits, 16)) if _HEX.match(digits) else ""
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
