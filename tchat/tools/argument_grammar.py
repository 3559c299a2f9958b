"""GBNF of calls whose arguments stand apart, each in its own notation: Qwen3-Coder, GLM, LFM2 …

Arguments come in the order of the schema, the optional ones or not. Texts are free up to the mark
that ends them; other values are held by their schemas.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tchat.errors import UsageError
from tchat.tools.syntaxes.argument_shape import ArgumentShape, ValueForm, ValueNotation, type_of

_PYTHON_TEXT = r"""( [^'\\\x00-\x1F] | "\\" ['"\\nrt] )*"""
_WORDS = {ValueNotation.PYTHON: {"boolean": ("True", "False"), "null": ("None",)}}
_TYPES = frozenset({"string", "integer", "number", "boolean", "null", "array", "object"})


@dataclass(frozen=True, slots=True)
class ArgumentRules:
    """Makes the rules of a call.

    Attributes:
        shape: How the template writes calls.
        behind: Behind the arguments, without what ends the reply.
        value_rules: Makes the rules of JSON values by a schema, under names that begin with a
            prefix; the rule of the value is the prefix and ``root``.
    """

    shape: ArgumentShape
    behind: str
    value_rules: Callable[[Mapping[str, Any], str], str]

    def head(self, name: str, prefix: str) -> list[str]:
        """The rule of what stands before the arguments of a call of the tool ``name``."""
        return [f"{prefix}root ::= {literal(self.shape.name_in(self.shape.before, name))}"]

    def call(self, name: str, schema: Mapping[str, Any], prefix: str) -> list[str] | None:
        """Rules of a call of the tool ``name``; the first is ``{prefix}root``.

        None where the arguments are not named, or one is of a type that no form is known of.
        """
        properties = schema.get("properties")
        if not isinstance(properties, Mapping):
            return None
        required = schema.get("required") or ()
        shape, found = self.shape, list[str]()
        for number, (key, own) in enumerate(properties.items()):
            value = self._value(own, schema, f"{prefix}v{number}-")
            if value is None:
                return None
            start, rule, more = value
            before = literal(shape.key_start + key + start.before)
            behind = literal(start.behind)
            found.append(f"{prefix}a{number} ::= {_joined(before, rule, behind)}")
            found += more
        head = literal(shape.name_in(shape.before, name))
        end = literal(shape.name_in(self.behind, name))
        places = [key in required for key in properties]
        first = f"{prefix}first0" if places else ""
        return [
            f"{prefix}root ::= {_joined(head, first, end)}",
            *_sequence(places, prefix, literal(shape.between)),
            *found,
        ]

    def _value(
        self, own: Any, schema: Mapping[str, Any], prefix: str
    ) -> tuple[ValueForm, str, list[str]] | None:
        """The form of a value, the expression of it, and the rules that this needs."""
        own = own if isinstance(own, Mapping) else {}
        listed = own["enum"] if isinstance(own.get("enum"), list) else None
        listed = [own["const"]] if "const" in own else listed
        kinds = {type_of(value) for value in listed} if listed else _types(own)
        if len(kinds) != 1:  # of several types: a text, which is checked later
            listed, kinds = None, {"string"}
        (kind,) = kinds
        form = self.shape.forms.get(kind)
        if form is None:
            return None
        words = _WORDS.get(form.notation, {}).get(kind, ())
        if listed:
            written = [form.written(value) for value in listed]
            words = tuple(each[len(form.before) : len(each) - len(form.behind)] for each in written)
        if words:
            return form, f"({' | '.join(map(literal, words))})", []
        if form.notation is ValueNotation.RAW:
            return form, f"{prefix}0", list(text_rules(form.behind.strip(), prefix))
        if form.notation is ValueNotation.PYTHON:
            return form, f'"\'" {_PYTHON_TEXT} "\'"', []
        definitions = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
        try:
            return form, f"{prefix}root", [self.value_rules({**definitions, **own}, prefix)]
        except UsageError:  # such as a reference to another part of the tool's schema
            return None


def _types(schema: Mapping[str, Any]) -> set[str]:
    named = schema.get("type")
    kinds = {named} if isinstance(named, str) else set(named if isinstance(named, list) else ())
    if not kinds and "properties" in schema:
        return {"object"}
    return kinds & _TYPES if kinds <= _TYPES else set()


def _sequence(required: Sequence[bool], prefix: str, between: str) -> Iterator[str]:
    """Rules for arguments in order: ``first`` before any was written, ``more`` behind one."""
    last = len(required)
    for number, is_required in enumerate(required):
        following = f"{prefix}more{number + 1}" if number + 1 < last else ""
        skipped = f"{prefix}first{number + 1}" if number + 1 < last else '""'
        here = _joined(f"{prefix}a{number}", following)
        yield f"{prefix}first{number} ::= {here}" + ("" if is_required else f" | {skipped}")
        if number:
            behind = following or '""'
            more = _joined(between, here)
            yield f"{prefix}more{number} ::= {more}" + ("" if is_required else f" | {behind}")


def text_rules(end: str, prefix: str) -> Iterator[str]:
    """Rules of any text that does not hold ``end``; rule ``N`` has its first N characters behind.

    The automaton of Knuth, Morris and Pratt, a rule for each state.
    """
    for state in range(len(end)):
        targets = {each: _next_state(end, state, each) for each in sorted(set(end))}
        special = [each for each, target in targets.items() if target]
        steps = ['""', f"[^{''.join(map(_in_class, special))}\\x00] {prefix}0"]
        steps += (
            f"{literal(each)} {prefix}{targets[each]}"
            for each in special
            if targets[each] < len(end)
        )
        yield f"{prefix}{state} ::= {' | '.join(steps)}"


def _next_state(end: str, state: int, character: str) -> int:
    """The length of the longest beginning of ``end`` that the text then ends with."""
    text = end[:state] + character
    return next(size for size in range(len(text), -1, -1) if text.endswith(end[:size]))


def _in_class(character: str) -> str:
    return f"\\{character}" if character in "\\]^-" else character


def literal(text: str) -> str:
    """A text as GBNF writes it; empty for nothing."""
    return json.dumps(text, ensure_ascii=False) if text else ""


def _joined(*parts: str) -> str:
    return " ".join(filter(None, parts)) or '""'
