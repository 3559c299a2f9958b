"""Parse the regular expressions of JSON schemas (ECMA-262).

The tree becomes a language, for the grammar, and a pattern of Python's ``re``, for validation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from tchat.engine.grammar.automata import (
    ANY,
    DIGITS,
    LINE_ENDS,
    SPACE,
    WORD,
    CharSet,
    any_case,
    category,
    charset,
    difference,
)

_DEEPEST = 100  # nested groups
_MOST_TIMES_DIGITS = 9  # of the count of a repetition
_CLASSES = {"d": DIGITS, "w": WORD, "s": SPACE}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_QUANTIFIER = re.compile(r"[*+?]|\{(\d+)(?:(,)(\d*))?\}")


class PatternUnsupported(ValueError):
    """The pattern is no regular expression of ECMA-262, or describes no regular language."""


@dataclass(frozen=True, slots=True)
class CharNode:
    """One character of a set."""

    chars: CharSet


@dataclass(frozen=True, slots=True)
class Concatenation:
    """A sequence of parts."""

    parts: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Alternation:
    """One of several alternatives."""

    parts: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Repetition:
    """A repetition; ``most`` -1 is without limit."""

    part: Pattern
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class CaptureGroup:
    """Parentheses that capture."""

    part: Pattern
    name: str = ""


@dataclass(frozen=True, slots=True)
class Anchor:
    """``^``, ``$``, ``b`` or ``B``."""

    kind: str


@dataclass(frozen=True, slots=True)
class Lookaround:
    """A lookahead or lookbehind."""

    part: Pattern
    ahead: bool
    negative: bool


@dataclass(frozen=True, slots=True)
class Backreference:
    """A backreference to a group."""

    name: str


Pattern: TypeAlias = (
    CharNode
    | Concatenation
    | Alternation
    | Repetition
    | CaptureGroup
    | Anchor
    | Lookaround
    | Backreference
)


def parse_pattern(pattern: str) -> Pattern:
    """Parse a pattern.

    Raises:
        PatternUnsupported: It is no regular expression.
    """
    parser = _RegexParser(pattern)
    tree = parser.alternatives(0)
    if parser.place < len(pattern):
        raise PatternUnsupported(f"unmatched ) at {parser.place}")
    return tree


def python_pattern(pattern: str) -> str:
    """The same pattern for Python's ``re``.

    Raises:
        PatternUnsupported: It is valid in neither dialect.
    """
    try:
        text = _python(parse_pattern(pattern))
    except PatternUnsupported:
        text = pattern
    try:
        re.compile(text)
    except (re.error, OverflowError, ValueError, RecursionError) as error:
        raise PatternUnsupported(str(error)) from error
    return text


def _times(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    if len(digits) > _MOST_TIMES_DIGITS:
        raise PatternUnsupported("a repetition without end")
    return int(digits)


class _RegexParser:
    """A recursive descent parser; ``place`` is the next character."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.place = 0
        self._any_case = self._take("(?i)")

    def alternatives(self, depth: int) -> Pattern:
        if depth > _DEEPEST:
            raise PatternUnsupported("nested too deeply")
        branches = [self._branch(depth)]
        while self._take("|"):
            branches.append(self._branch(depth))
        return branches[0] if len(branches) == 1 else Alternation(tuple(branches))

    def _branch(self, depth: int) -> Pattern:
        parts: list[Pattern] = []
        while self.place < len(self.pattern) and self.pattern[self.place] not in "|)":
            parts.append(self._repetition(self._atom(depth)))
        return parts[0] if len(parts) == 1 else Concatenation(tuple(parts))

    def _repetition(self, part: Pattern) -> Pattern:
        found = _QUANTIFIER.match(self.pattern, self.place)
        if found is None:
            return part
        if isinstance(part, Anchor | Lookaround):
            raise PatternUnsupported(f"nothing to repeat at {self.place}")
        self.place = found.end()
        self._take("?")  # a lazy repetition matches the same texts
        if _QUANTIFIER.match(self.pattern, self.place):
            raise PatternUnsupported(f"multiple repeat at {self.place}")
        least, most = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}.get(found[0], (0, 0))
        if found[1]:
            least = _times(found[1])
            most = least if not found[2] else _times(found[3]) if found[3] else -1
            if 0 <= most < least:
                raise PatternUnsupported(f"a repetition from {least} to {most}")
        return Repetition(part, least, most)

    def _atom(self, depth: int) -> Pattern:
        character = self._advance()
        if character == ".":
            return CharNode(difference(ANY, LINE_ENDS))
        if character in "^$":
            return Anchor(character)
        if character == "[":
            return self._class()
        if character == "(":
            return self._group(depth)
        if character == "\\":
            return self._escape()
        if character in "*+?" or (
            character == "{" and _QUANTIFIER.match(self.pattern, self.place - 1)
        ):
            raise PatternUnsupported(f"nothing to repeat at {self.place - 1}")
        return self._plain(ord(character))

    def _group(self, depth: int) -> Pattern:
        look: tuple[bool, bool] | None = None
        name, captures, cased = "", True, self._any_case
        for opening, found in _LOOKS.items():
            if self._take(opening):
                look = found
        if look is None and self._take("?"):
            captures = False
            if named := re.compile(r"P?<([A-Za-z_]\w*)>").match(self.pattern, self.place):
                self.place, name, captures = named.end(), named[1], True
            elif self._take("i:"):
                self._any_case = True
            elif not self._take(":"):
                raise PatternUnsupported(f"an unknown group at {self.place}")
        inner = self.alternatives(depth + 1)
        self._any_case = cased
        if not self._take(")"):
            raise PatternUnsupported("a group without )")
        if look is not None:
            return Lookaround(inner, *look)
        return CaptureGroup(inner, name) if captures else Concatenation((inner,))

    def _class(self) -> Pattern:
        negated = self._take("^")
        ranges: list[tuple[int, int]] = []
        while not self._take("]"):
            first = self._member()
            before = self.place
            if self._take("-") and self.pattern[self.place : self.place + 1] not in ("", "]"):
                last = self._member()
                if isinstance(first, int) and isinstance(last, int):
                    if last < first:
                        raise PatternUnsupported("a range that runs backwards")
                    ranges.append((first, last))
                    continue
            self.place = before
            ranges += [(first, first)] if isinstance(first, int) else first
        chars = charset(ranges)
        chars = any_case(chars) if self._any_case else chars
        return CharNode(
            difference(ANY, chars) if negated else difference(chars, ((0xD800, 0xDFFF),))
        )

    def _member(self) -> int | CharSet:
        character = self._advance()
        if character != "\\":
            return ord(character)
        if self._take("b"):
            return 8
        return self._escaped(self._advance())

    def _escape(self) -> Pattern:
        name = self._advance()
        if name in "bB":
            return Anchor(name)
        if name in "AZz":  # anchors of other dialects that schemas use
            return Anchor("^" if name == "A" else "$")
        if name == "k" and (named := re.compile(r"<(\w+)>").match(self.pattern, self.place)):
            self.place = named.end()
            return Backreference(named[1])
        if name in "123456789":
            return Backreference(name)
        found = self._escaped(name)
        return self._plain(found) if isinstance(found, int) else CharNode(found)

    def _escaped(self, name: str) -> int | CharSet:  # noqa: PLR0911  one for each kind
        if name in _CLASSES:
            return _CLASSES[name]
        if name.lower() in _CLASSES:
            return difference(ANY, _CLASSES[name.lower()])
        if name in "pP":
            return self._category(negated=name == "P")
        if name in _CONTROLS:
            return ord(_CONTROLS[name])
        if name == "c" and self.place < len(self.pattern) and self.pattern[self.place].isalpha():
            return ord(self._advance()) % 32
        if name in "xu":
            return self._code_point(name)
        return ord(name)

    def _category(self, *, negated: bool) -> CharSet:
        found = re.compile(r"\{\^?([\w=]+)\}").match(self.pattern, self.place)
        chars = category(found[1]) if found else None
        if found is None or chars is None:
            raise PatternUnsupported("an unknown Unicode property")
        self.place = found.end()
        return difference(ANY, chars) if negated != ("^" in found[0]) else chars

    def _code_point(self, kind: str) -> int:
        digits = r"([0-9a-fA-F]{2})" if kind == "x" else r"([0-9a-fA-F]{4})|\{([0-9a-fA-F]{1,6})\}"
        found = re.compile(digits).match(self.pattern, self.place)
        if found is None:
            return ord(kind)
        self.place = found.end()
        point = int(found[1] or found[2], 16)
        low = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})").match(self.pattern, self.place)
        if 0xD800 <= point <= 0xDBFF and low:  # a pair of surrogates is one character
            self.place = low.end()
            return 0x10000 + ((point - 0xD800) << 10) + int(low[1], 16) - 0xDC00
        if point > 0x10FFFF:
            raise PatternUnsupported("no code point")
        return point

    def _plain(self, point: int) -> Pattern:
        one = ((point, point),)
        return CharNode(any_case(one) if self._any_case else one)

    def _advance(self) -> str:
        if self.place >= len(self.pattern):
            raise PatternUnsupported("the pattern ends too early")
        self.place += 1
        return self.pattern[self.place - 1]

    def _take(self, text: str) -> bool:
        if self.pattern.startswith(text, self.place):
            self.place += len(text)
            return True
        return False


_LOOKS = {"?=": (True, False), "?!": (True, True), "?<=": (False, False), "?<!": (False, True)}


def _python(tree: Pattern) -> str:  # noqa: PLR0911  one for each kind
    match tree:
        case CharNode(chars):
            return _python_class(chars)
        case Concatenation(parts):
            texts = (
                f"(?:{_python(one)})" if isinstance(one, Alternation) else _python(one)
                for one in parts
            )
            return "".join(texts)
        case Alternation(parts):
            return "|".join(map(_python, parts))
        case Repetition(part, least, most):
            inner = _python(part)
            single = isinstance(part, CharNode | CaptureGroup)
            counts = {(0, -1): "*", (1, -1): "+", (0, 1): "?"}.get((least, most))
            times = counts or f"{{{least},{'' if most < 0 else most}}}"
            return (inner if single else f"(?:{inner})") + times
        case CaptureGroup(part, name):
            return f"(?P<{name}>{_python(part)})" if name else f"({_python(part)})"
        case Lookaround(part, ahead, negative):
            opening = ("" if ahead else "<") + ("!" if negative else "=")
            return f"(?{opening}{_python(part)})"
        case Backreference(name):
            return f"(?:\\{name})" if name.isdecimal() else f"(?P={name})"
        case Anchor(kind):
            return _PYTHON_ANCHORS[kind]


_PYTHON_ANCHORS = {"^": "^", "$": r"\Z", "b": r"(?a:\b)", "B": r"(?a:\B)"}


def _python_class(chars: CharSet) -> str:
    if len(chars) == 1 and chars[0][0] == chars[0][1]:
        return re.escape(chr(chars[0][0]))
    if not chars:
        return r"(?!)"
    names = {DIGITS: "[0-9]", difference(ANY, LINE_ENDS): r"[^\n\r\u2028\u2029]", ANY: r"[\s\S]"}
    inside = "".join(f"{_python_code(low)}-{_python_code(high)}" for low, high in chars)
    return names.get(chars) or f"[{inside}]"


def _python_code(point: int) -> str:
    character = chr(point)
    return character if character.isalnum() and point < 128 else f"\\U{point:08x}"
