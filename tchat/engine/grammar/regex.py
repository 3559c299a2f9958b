"""The regular expressions of JSON schemas (ECMA-262), parsed.

The tree becomes a pattern of Python's ``re``, for validation, and a language, for the grammar. Of a
pattern whose automaton would be too large, the grammar has the structure instead: each group is a
rule, since llama.cpp's parser refuses nested repetitions whose product is large.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from tchat.engine.grammar.automata import (
    ANY,
    BEGIN,
    DIGITS,
    END,
    LINE_ENDS,
    SPACE,
    WORD,
    CharSet,
    Language,
    Languages,
    any_case,
    category,
    charset,
    difference,
)
from tchat.engine.grammar.rules import (
    EMPTY,
    Alternatives,
    Chain,
    Expression,
    Ref,
    Repeat,
    Rules,
    chain,
    choice,
    is_nullable,
    json_chars,
    repeated,
)
from tchat.translation import tr

_DEEPEST = 100  # nested groups
_MOST_TIMES_DIGITS = 9  # of the count of a repetition
_CLASSES = {"d": DIGITS, "w": WORD, "s": SPACE}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_QUANTIFIER = r"[*+?]|\{(\d+)(?:(,)(\d*))?\}"
_LOOKS = {"?=": (True, False), "?!": (True, True), "?<=": (False, False), "?<!": (False, True)}
_PYTHON_ANCHORS = {"^": "^", "$": r"\Z", "b": r"(?a:\b)", "B": r"(?a:\B)"}
_MOST_SPLIT = 64  # alternatives that are written out around a condition


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
    if parser.index < len(pattern):
        raise PatternUnsupported(tr("unmatched ) at {index}", index=parser.index))
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
        raise PatternUnsupported(tr("a repetition without end"))
    return int(digits)


class _RegexParser:
    """A recursive descent parser; ``index`` is the next character."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.index = 0
        self._any_case = self._accept("(?i)")

    def alternatives(self, depth: int) -> Pattern:
        if depth > _DEEPEST:
            raise PatternUnsupported(tr("nested too deeply"))
        branches = [self._branch(depth)]
        while self._accept("|"):
            branches.append(self._branch(depth))
        return branches[0] if len(branches) == 1 else Alternation(tuple(branches))

    def _branch(self, depth: int) -> Pattern:
        parts: list[Pattern] = []
        while self.index < len(self.pattern) and self.pattern[self.index] not in "|)":
            parts.append(self._repetition(self._atom(depth)))
        return parts[0] if len(parts) == 1 else Concatenation(tuple(parts))

    def _repetition(self, part: Pattern) -> Pattern:
        found = self._match(_QUANTIFIER)
        if found is None:
            return part
        if isinstance(part, Anchor | Lookaround):
            raise PatternUnsupported(tr("nothing to repeat at {start}", start=found.start()))
        self._accept("?")  # a lazy repetition matches the same texts
        if self._match(_QUANTIFIER):
            raise PatternUnsupported(tr("multiple repeat at {index}", index=self.index))
        least, most = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}.get(found[0], (0, 0))
        if found[1]:
            least = _times(found[1])
            most = least if not found[2] else _times(found[3]) if found[3] else -1
            if 0 <= most < least:
                raise PatternUnsupported(tr("a repetition of {low}–{high}", low=least, high=most))
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
        if character in "*+?{" and re.compile(_QUANTIFIER).match(self.pattern, self.index - 1):
            raise PatternUnsupported(tr("nothing to repeat at {index}", index=self.index - 1))
        return self._plain(ord(character))

    def _group(self, depth: int) -> Pattern:
        look: tuple[bool, bool] | None = None
        name, captures, cased = "", True, self._any_case
        for opening, found in _LOOKS.items():
            if self._accept(opening):
                look = found
        if look is None and self._accept("?"):
            captures = False
            if named := self._match(r"P?<([A-Za-z_]\w*)>"):
                name, captures = named[1], True
            elif self._accept("i:"):
                self._any_case = True
            elif not self._accept(":"):
                raise PatternUnsupported(tr("an unknown group at {index}", index=self.index))
        inner = self.alternatives(depth + 1)
        self._any_case = cased
        if not self._accept(")"):
            raise PatternUnsupported(tr("a group without )"))
        if look is not None:
            return Lookaround(inner, *look)
        return CaptureGroup(inner, name) if captures else Concatenation((inner,))

    def _class(self) -> Pattern:
        negated = self._accept("^")
        ranges: list[tuple[int, int]] = []
        while not self._accept("]"):
            first = self._member()
            before = self.index
            if self._accept("-") and self.pattern[self.index : self.index + 1] not in ("", "]"):
                last = self._member()
                if isinstance(first, int) and isinstance(last, int):
                    if last < first:
                        raise PatternUnsupported(tr("a range that runs backwards"))
                    ranges.append((first, last))
                    continue
            self.index = before
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
        if self._accept("b"):
            return 8
        return self._escaped(self._advance())

    def _escape(self) -> Pattern:
        name = self._advance()
        if name in "bB":
            return Anchor(name)
        if name in "AZz":  # anchors of other dialects that schemas use
            return Anchor("^" if name == "A" else "$")
        if name == "k" and (named := self._match(r"<(\w+)>")):
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
        if name == "c" and self.index < len(self.pattern) and self.pattern[self.index].isalpha():
            return ord(self._advance()) % 32
        if name in "xu":
            return self._code_point(name)
        return ord(name)

    def _category(self, *, negated: bool) -> CharSet:
        found = self._match(r"\{\^?([\w=]+)\}")
        chars = category(found[1]) if found else None
        if found is None or chars is None:
            raise PatternUnsupported(tr("an unknown Unicode property"))
        return difference(ANY, chars) if negated != ("^" in found[0]) else chars

    def _code_point(self, kind: str) -> int:
        digits = r"([0-9a-fA-F]{2})" if kind == "x" else r"([0-9a-fA-F]{4})|\{([0-9a-fA-F]{1,6})\}"
        found = self._match(digits)
        if found is None:
            return ord(kind)
        point = int(found[1] or found[2], 16)
        # A pair of surrogates is one character.
        if 0xD800 <= point <= 0xDBFF and (low := self._match(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")):
            return 0x10000 + ((point - 0xD800) << 10) + int(low[1], 16) - 0xDC00
        if point > 0x10FFFF:
            raise PatternUnsupported(tr("no code point"))
        return point

    def _plain(self, point: int) -> Pattern:
        one = ((point, point),)
        return CharNode(any_case(one) if self._any_case else one)

    def _advance(self) -> str:
        if self.index >= len(self.pattern):
            raise PatternUnsupported(tr("the pattern ends too early"))
        self.index += 1
        return self.pattern[self.index - 1]

    def _match(self, regex: str) -> re.Match[str] | None:
        found = re.compile(regex).match(self.pattern, self.index)
        self.index = found.end() if found else self.index
        return found

    def _accept(self, text: str) -> bool:
        if self.pattern.startswith(text, self.index):
            self.index += len(text)
            return True
        return False


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


def marked(languages: Languages, text: Language) -> Language:
    """``text`` between BEGIN and END."""
    begin, end = (languages.char(((mark, mark),)) for mark in (BEGIN, END))
    return languages.sequence([begin, text, end])


def match_language(languages: Languages, tree: Pattern) -> Language:
    """The texts, between BEGIN and END, that a pattern matches anywhere.

    Raises:
        PatternUnsupported: A backreference, or a condition inside a repetition.
    """
    begin, end = (languages.char(((mark, mark),)) for mark in (BEGIN, END))
    filling = languages.repeat(languages.char(ANY), 0)
    suffix = languages.union([languages.empty, languages.sequence([filling, end])])
    prefix = languages.union([languages.empty, languages.sequence([begin, filling])])
    found = _Matcher(languages, prefix, suffix).walk([tree], prefix)
    return languages.intersection([found, marked(languages, filling)])


@dataclass(slots=True)
class _Matcher:
    """Walks a pattern, with the language of the text before it."""

    languages: Languages
    prefix: Language
    suffix: Language
    split: int = 0

    def walk(  # noqa: PLR0911  one for each kind
        self, nodes: list[Pattern], before: Language, *, starts: bool = False
    ) -> Language:
        """``before``, then ``nodes``, then the suffix; ``starts`` is right behind a ``^``."""
        make = self.languages
        for index, node in enumerate(nodes):
            rest = nodes[index + 1 :]
            if not _has_condition(node):
                before = make.sequence([before, self.plain(node)])
                starts = node == Anchor("^")
                continue
            walk = partial(self.walk, before=before, starts=starts)
            match node:
                case CaptureGroup(part):
                    return walk([part, *rest])
                case Concatenation(parts):
                    return walk([*parts, *rest])
                case Alternation(parts):
                    self.split += len(parts)
                    if self.split > _MOST_SPLIT:
                        raise PatternUnsupported(tr("too many alternatives with conditions"))
                    return make.union([walk([part, *rest]) for part in parts])
                case Repetition(part, least, most) if 0 <= most <= 1:
                    return make.union([walk([part, *rest]), *([] if least else [walk(rest)])])
                case Lookaround():
                    return self._look(node, rest, before, starts=starts)
                case Anchor(kind):
                    return self._boundary(rest, before, inside=kind == "B")
                case _:
                    raise PatternUnsupported(tr("a condition inside a repetition"))
        return make.sequence([before, self.suffix])

    def plain(self, node: Pattern) -> Language:
        """The language of a part without conditions."""
        make = self.languages
        match node:
            case CharNode(chars):
                return make.char(chars)
            case Concatenation(parts):
                return make.sequence([self.plain(part) for part in parts])
            case Alternation(parts):
                return make.union([self.plain(part) for part in parts])
            case Repetition(part, least, most):
                return make.repeat(self.plain(part), least, most)
            case CaptureGroup(part):
                return self.plain(part)
            case Anchor(kind) if kind in "^$":
                mark = BEGIN if kind == "^" else END
                return make.char(((mark, mark),))
            case _:
                raise PatternUnsupported(tr("a back reference"))

    def _look(
        self, node: Lookaround, rest: list[Pattern], before: Language, *, starts: bool
    ) -> Language:
        make = self.languages
        if starts and node.ahead:  # a second ^ adds nothing
            node = Lookaround(_without_start(node.part), node.ahead, node.negative)
        if _has_condition(node.part) or Anchor("^" if node.ahead else "$") in _nodes(node.part):
            raise PatternUnsupported(tr("a condition inside a condition"))
        if node.ahead:
            seen = make.sequence([self.plain(node.part), self.suffix])
            after = self.walk(rest, make.empty, starts=starts)
            allowed = make.complement(seen) if node.negative else seen
            return make.sequence([before, make.intersection([allowed, after])])
        seen = make.sequence([self.prefix, self.plain(node.part)])
        before = make.intersection([make.complement(seen) if node.negative else seen, before])
        return self.walk(rest, before, starts=starts)

    def _boundary(self, rest: list[Pattern], before: Language, *, inside: bool) -> Language:
        make = self.languages
        ends = make.sequence([make.everything, make.char(WORD)])
        begins = make.sequence([make.char(WORD), make.everything])
        sides = [(ends, begins), (make.complement(ends), make.complement(begins))]
        if not inside:
            sides = [(ends, make.complement(begins)), (make.complement(ends), begins)]
        after = self.walk(rest, make.empty)
        return make.union(
            make.sequence([make.intersection([left, before]), make.intersection([right, after])])
            for left, right in sides
        )


def _without_start(node: Pattern) -> Pattern:
    """``node`` without ``^`` at its start."""
    match node:
        case Anchor("^"):
            return Concatenation(())
        case Concatenation((first, *others)):
            return Concatenation((_without_start(first), *others))
        case CaptureGroup(part):
            return _without_start(part)
        case Alternation(parts):
            return Alternation(tuple(_without_start(part) for part in parts))
        case _:
            return node


_BOUNDARIES = (Anchor("b"), Anchor("B"))


def _has_condition(node: Pattern) -> bool:
    return any(isinstance(each, Lookaround) or each in _BOUNDARIES for each in _nodes(node))


def _nodes(tree: Pattern) -> Iterator[Pattern]:
    """All nodes of a pattern."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        match node:
            case Concatenation(parts) | Alternation(parts):
                waiting += parts
            case Repetition(part) | CaptureGroup(part) | Lookaround(part):
                waiting.append(part)


def lengths(languages: Languages, least: int, most: int | None) -> Language:
    """Texts with a length in these limits, between BEGIN and END."""
    any_char = languages.char(ANY)
    return marked(languages, languages.repeat(any_char, least, -1 if most is None else most))


def structural_rule(rules: Rules, name: str, tree: Pattern) -> Expression:
    """The JSON strings that a pattern matches anywhere, without quotes, by rules for its groups.

    Raises:
        PatternUnsupported: It has conditions, backreferences, or anchors inside.
    """
    filling = repeated(json_chars(ANY), 0, None)
    whole: list[Expression] = []
    for branch in tree.parts if isinstance(tree, Alternation) else (tree,):
        parts = branch.parts if isinstance(branch, Concatenation) else (branch,)
        first = bool(parts) and parts[0] == Anchor("^")
        last = bool(parts) and parts[-1] == Anchor("$") and len(parts) > first
        inner = [_expression(rules, name, part) for part in parts[first : len(parts) - last]]
        whole.append(chain(*([] if first else [filling]), *inner, *([] if last else [filling])))
    return rules.add(name, choice(whole))


def _expression(rules: Rules, name: str, tree: Pattern) -> Expression:
    match tree:
        case CharNode(chars):
            return json_chars(chars)
        case Concatenation(parts):
            return chain(*(_expression(rules, name, part) for part in parts))
        case Alternation(parts):
            return choice(_expression(rules, name, part) for part in parts)
        case CaptureGroup(part):
            return _expression(rules, name, part)
        case Repetition(part, least, most):
            inner = _expression(rules, name, part)
            if is_nullable(inner):  # endless repetition of nothing
                inner, least = _not_empty(inner), 0
            if not isinstance(inner, Ref):
                inner = rules.add(name, inner)
            times = repeated(inner, least, None if most < 0 else most)
            # A rule, or it would be repeated in the text for every repetition around it.
            return rules.add(name, times) if least else times
        case _:
            raise PatternUnsupported(tr("a condition inside the pattern"))


def _not_empty(body: Expression) -> Expression:
    """``body`` without the empty text."""
    match body:
        case Alternatives(parts):
            return choice(_not_empty(part) for part in parts if part != EMPTY)
        case Repeat(part, least, most):
            if is_nullable(part):
                return repeated(_not_empty(part), 1, most)
            return repeated(part, max(least, 1), most)
        case Chain(parts):
            if not is_nullable(body):
                return body
            head, tail = parts[0], chain(*parts[1:])
            return choice([chain(_not_empty(head), tail), _not_empty(tail)])
        case _:
            return body
