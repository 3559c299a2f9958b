"""Regular expressions of JSON schemas, as GBNF.

What GBNF can say: literals, classes, groups, alternatives, repetitions, anchors at the ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

ANY = "char"  # the rule for one character inside a JSON string
DOT = "dot"  # the same without line breaks, which are escapes there

Range: TypeAlias = tuple[str, str]  # first and last character

_CLASSES: dict[str, list[Range]] = {
    "d": [("0", "9")],
    "w": [("a", "z"), ("A", "Z"), ("0", "9"), ("_", "_")],
    "s": [(" ", " ")],
}
# What a JSON string must escape.
_ESCAPED: list[Range] = [("\x00", "\x1f"), ('"', '"'), ("\\", "\\"), ("\x7f", "\x7f")]
_MAX_REPEAT = 1000


class PatternUnsupported(ValueError):
    """The pattern uses something that a grammar cannot say."""


def literal(text: str) -> str:
    """``text`` as a GBNF literal."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(character, character) for character in text) + '"'


def pattern_to_gbnf(pattern: str) -> str:
    """The strings that match ``pattern``, as they stand inside a JSON string's quotes.

    As in JSON Schema, a pattern without anchors may match anywhere.

    Raises:
        PatternUnsupported: Look-around, back references, or characters that JSON escapes.
    """
    parser = _Parser(pattern)
    expression = parser.alternatives(top=True)
    if parser.place < len(pattern):
        raise PatternUnsupported(pattern[parser.place])
    return expression


@dataclass(slots=True)
class _Parser:
    """Recursive descent over a pattern; ``place`` is the next character."""

    pattern: str
    place: int = 0

    def alternatives(self, *, top: bool = False) -> str:
        branches = [self.branch(top=top)]
        while self._take("|"):
            branches.append(self.branch(top=top))
        return " | ".join(branch or '""' for branch in branches)

    def branch(self, *, top: bool) -> str:
        """A sequence; at the top, open at the ends that no anchor closes."""
        items: list[str] = []
        if top and not self._take("^"):
            items.append(f"{ANY}*")
        closed = False
        while self.place < len(self.pattern) and self._next() not in "|)":
            if top and self._take("$"):
                closed = True
                break
            items.append(self.atom() + self.repetition())
        if top and not closed:
            items.append(f"{ANY}*")
        return " ".join(items)

    def atom(self) -> str:
        character = self._advance()
        if character == ".":
            return DOT
        if character == "[":
            return self._class()
        if character == "(":
            return self._group()
        if character == "\\":
            return self._escaped()
        if character in "^$*+?{":
            raise PatternUnsupported(character)
        return self._plain(character)

    def repetition(self) -> str:
        found = re.compile(r"[*+?]|\{\d+(?:,\d*)?\}").match(self.pattern, self.place)
        if found is None:
            return ""
        self.place = found.end()
        if any(int(number) > _MAX_REPEAT for number in re.findall(r"\d+", found[0])):
            raise PatternUnsupported(found[0])
        self._take("?")  # a lazy repetition matches the same strings
        return found[0]

    def _group(self) -> str:
        if self._take("?") and not self._take(":"):
            raise PatternUnsupported("(?")
        inner = self.alternatives()
        if not self._take(")"):
            raise PatternUnsupported("(")
        return f"({inner})"

    def _class(self) -> str:
        negated = self._take("^")
        ranges: list[Range] = []
        while not self._take("]"):
            ranges += self._range()
        return _excluding(ranges) if negated else _class_of(ranges)

    def _range(self) -> list[Range]:
        """One member of a class: a named class, a range or a character, as pairs of ends."""
        first = self._advance()
        if first == "\\":
            first = self._advance()
            if first in _CLASSES:
                return _CLASSES[first]
            if first.isalnum():
                raise PatternUnsupported(f"\\{first}")
        if not re.compile(r"-[^\]\\]").match(self.pattern, self.place):
            return [(first, first)]
        self._advance()
        last = self._advance()
        if last < first:
            raise PatternUnsupported(f"{first}-{last}")
        return [(first, last)]

    def _escaped(self) -> str:
        name = self._advance()
        if name in _CLASSES:
            return _class_of(_CLASSES[name])
        if name.lower() in _CLASSES:
            return _excluding(_CLASSES[name.lower()])
        if name.isalnum():
            raise PatternUnsupported(f"\\{name}")
        return self._plain(name)

    def _plain(self, character: str) -> str:
        if ord(character) < 32:
            raise PatternUnsupported(character)
        # Inside a JSON string a quote and a backslash are escaped once more.
        return literal("\\" + character if character in '"\\' else character)

    def _next(self) -> str:
        return self.pattern[self.place]

    def _advance(self) -> str:
        if self.place >= len(self.pattern):
            raise PatternUnsupported("end of pattern")
        self.place += 1
        return self.pattern[self.place - 1]

    def _take(self, character: str) -> bool:
        if self.place < len(self.pattern) and self.pattern[self.place] == character:
            self.place += 1
            return True
        return False


def _class_of(ranges: list[Range]) -> str:
    """A GBNF class of those characters that need no escape in JSON."""
    for low, high in _ESCAPED:
        ranges = [part for one in ranges for part in _without(one, low, high)]
    if not ranges:
        raise PatternUnsupported("[]")
    return f"[{_members(ranges)}]"


def _excluding(ranges: Sequence[Range]) -> str:
    return f"[^{_members([*ranges, *_ESCAPED])}]"


def _without(ends: Range, low: str, high: str) -> list[Range]:
    """What is left of a range without another."""
    first, last = ends
    if last < low or high < first:
        return [ends]
    before = [(first, chr(ord(low) - 1))] if first < low else []
    after = [(chr(ord(high) + 1), last)] if high < last else []
    return before + after


def _members(ranges: Sequence[Range]) -> str:
    codes = ((f"\\U{ord(first):08X}", f"\\U{ord(last):08X}") for first, last in ranges)
    return "".join(first if first == last else f"{first}-{last}" for first, last in codes)
