"""How a template writes a call whose arguments stand apart, each in a notation of its own.

Found as in `differential`: calls are rendered, and what stands around keys and values is compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import takewhile
from typing import Any

from tchat.tools.syntaxes.differential import (
    KEY,
    KEY_2,
    SECOND_TOOL,
    TOOL,
    Render,
    RenderedCalls,
    from_trigger,
    without_last_tags,
)
from tchat.tools.syntaxes.protocol import CallFinished, CallStarted, CallSyntax

_TEXT, _TEXT_2 = "zqfirstvalue", "zqsecondvalue"
# Values that show how a type is written, by JSON type.
_SAMPLES: Mapping[str, Any] = {
    "integer": 70717,
    "boolean": True,
    "null": None,
    "array": ["zqitem", 70717],
    "object": {"zqinner": 70717},
}


class ValueNotation(Enum):
    """How a value is written."""

    RAW = auto()  # a text as it is, up to what stands behind it
    JSON = auto()
    PYTHON = auto()  # texts in single quotes; True, False, None


@dataclass(frozen=True, slots=True)
class ValueForm:
    """How values of a type are written: the texts between the key and the value, and behind it."""

    notation: ValueNotation
    before: str
    behind: str

    def written(self, value: Any) -> str:
        """A value with the texts around it."""
        texts: dict[ValueNotation, Callable[[Any], str]] = {
            ValueNotation.RAW: str,
            ValueNotation.PYTHON: repr,
            ValueNotation.JSON: lambda each: json.dumps(each, ensure_ascii=False),
        }
        return self.before + texts[self.notation](value) + self.behind


@dataclass(frozen=True, slots=True)
class ArgumentShape:
    """A whole call whose arguments stand apart.

    Attributes:
        before: Up to the arguments; `name_in` puts a tool's name in.
        key_start: Before each key.
        between: Between two arguments.
        behind: Behind the arguments.
        forms: By JSON type; a type that is missing cannot be held by a grammar.
    """

    before: str
    key_start: str
    between: str
    behind: str
    forms: Mapping[str, ValueForm]

    def name_in(self, text: str, name: str) -> str:
        """``before`` or ``behind`` with the name of a tool."""
        return text.replace(TOOL, name)

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """A call as the template writes it; each argument's type has a form."""
        texts = (
            self.key_start + key + self.forms[type_of(value)].written(value)
            for key, value in arguments.items()
        )
        body = self.name_in(self.before, name) + self.between.join(texts)
        return body + self.name_in(self.behind, name)


def type_of(value: Any) -> str:
    """The JSON type of a value; whole numbers are integers."""
    kinds: tuple[tuple[type, str], ...] = (
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (list, "array"),
        (dict, "object"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")


def argument_shape_by_rendering(syntax: CallSyntax, render: Render) -> ArgumentShape | None:
    """How a template writes a call of ``syntax``; None where that cannot be told."""
    template = RenderedCalls(render)
    call = template.call([TOOL], {KEY: _TEXT, KEY_2: _TEXT_2}) or ""
    places = [call.find(word) for word in (KEY, _TEXT, KEY_2, _TEXT_2)]
    if -1 in places or places != sorted(places):
        return None
    key, text, key_2, text_2 = places
    head, middle = call[:key], call[text + len(_TEXT) : key_2]
    end = call[text_2 + len(_TEXT_2) :]
    key_start = _common_suffix(from_trigger(head, syntax), middle)
    rest = middle[: len(middle) - len(key_start)]
    behind_value = _common_prefix(rest, end)
    if not behind_value:
        return None
    before_value = call[key + len(KEY) : text]
    text_form = _text_form(before_value, behind_value)
    before = from_trigger(head[: len(head) - len(key_start)], syntax)
    between = rest[len(behind_value) :]
    forms = {"string": text_form, **dict(_other_forms(template, key_start, between))}
    for behind in without_last_tags(end[len(behind_value) :]):
        shape = ArgumentShape(before, key_start, between, behind, forms)
        if _is_read(shape, syntax, [{}]) and _is_read(shape, syntax, [{KEY: "a b"}]):
            return _with_forms_that_are_read(shape, syntax)
    return None


def _with_forms_that_are_read(shape: ArgumentShape, syntax: CallSyntax) -> ArgumentShape:
    samples: dict[str, list[Any]] = {name: [value] for name, value in _SAMPLES.items()}
    samples |= {"string": ["a", "b c"], "number": [0.5, 3], "boolean": [True, False]}
    forms = {
        name: form
        for name, form in shape.forms.items()
        if all(
            _is_read(shape, syntax, [{KEY: value}, {KEY: value, KEY_2: value}], name)
            for value in samples[name]
        )
    }
    return replace(shape, forms=forms)


def _text_form(before: str, behind: str) -> ValueForm:
    """A text in quotes is JSON or Python, and the quotes are its own."""
    for quote, notation in (('"', ValueNotation.JSON), ("'", ValueNotation.PYTHON)):
        if before.endswith(quote) and behind.startswith(quote):
            return ValueForm(notation, before[:-1], behind[1:])
    return ValueForm(ValueNotation.RAW, before, behind)


def _other_forms(
    template: RenderedCalls, key_start: str, between: str
) -> Iterator[tuple[str, ValueForm]]:
    for name, value in _SAMPLES.items():
        call = template.call([TOOL], {KEY: value, KEY_2: value}) or ""
        _, found, behind = call.partition(KEY)
        written, second, _ = behind.partition(between + key_start + KEY_2)
        if not found or not second:
            continue
        compact = json.dumps(value, separators=(",", ":"))
        for text in (json.dumps(value), compact, repr(value)):
            before, is_there, end = written.rpartition(text)
            if is_there:
                is_word = name in {"boolean", "null"} and text == repr(value)
                form = ValueForm(
                    ValueNotation.PYTHON if is_word else ValueNotation.JSON, before, end
                )
                yield name, form
                if name == "integer":
                    yield "number", form
                break


def _common_suffix(one: str, other: str) -> str:
    return _common_prefix(one[::-1], other[::-1])[::-1]


def _common_prefix(one: str, other: str) -> str:
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return "".join(character for character, _ in pairs)


def _is_read(
    shape: ArgumentShape,
    syntax: CallSyntax,
    calls: Sequence[Mapping[str, Any]],
    kind: str = "string",
) -> bool:
    """Whether the syntax reads calls of a shape with arguments of one type."""
    properties = {KEY: {"type": kind}, KEY_2: {"type": kind}}
    for arguments in calls:
        parser = syntax.parser({SECOND_TOOL: {"type": "object", "properties": properties}})
        events = [*parser.feed(shape.call(SECOND_TOOL, arguments)), *parser.close()]
        kinds = [type(event) for event in events]
        finished = [(e.name, e.arguments) for e in events if isinstance(e, CallFinished)]
        if kinds != [CallStarted, CallFinished] or finished != [(SECOND_TOOL, arguments)]:
            return False
    return True
