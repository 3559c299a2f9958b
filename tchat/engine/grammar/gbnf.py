"""Check GBNF grammars before llama.cpp sees them.

Own code, since llama.cpp's parser reports errors only on standard error, never ends on ``{5,2}``,
takes ``{0,3000}`` for no limit, and recurses into groups and rules until the process crashes. It
accepts every grammar that passes here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple, TypeAlias

from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.translation import N_, tr

LONGEST = 1 << 20  # characters
HINT = N_("GBNF is described in llama.cpp's grammars/README.md")
_MOST_REPEATED = 1999  # rules that one repetition may make
_MOST_ELEMENTS = 1_000_000
_DEEPEST_GROUP = 200
_DEEPEST_RULE = 10_000  # rules that begin with each other
_MOST_FIRST_RULES = 1_000_000

_SPACE = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_SPACE_AND_LINES = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_NAME = re.compile(r"[A-Za-z0-9-]+")
_ESCAPE = r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[trn\\\"\[\]-])"
_LITERAL = re.compile(rf'"((?:{_ESCAPE}|[^"\\])*)"')
_CLASS = re.compile(rf"\[\^?((?:{_ESCAPE}|[^\]\\])*)\]")
_CHARACTER = re.compile(rf"{_ESCAPE}|.", re.DOTALL)
_TOKEN = re.compile(r"!?<(?:\[(\d+)\]|([^>]*))>")
_TIMES = re.compile(r"\{[ \t\r\n]*(\d+)[ \t\r\n]*(?:(,)[ \t\r\n]*(\d*)[ \t\r\n]*)?\}|([*+?])")


class _Fault(Exception):
    """An error in the grammar, and its position."""

    def __init__(self, reason: str, position: int = -1) -> None:
        super().__init__(reason)
        self.reason, self.position = reason, position


class _Refer(NamedTuple):
    """A reference to a rule, by its number."""

    rule: int


# References, and None for an item that takes a character or a token.
_Sequence: TypeAlias = "list[_Refer | None]"


class TokenName(NamedTuple):
    """A token in a grammar: by its number, or by its text."""

    number: int | None
    text: str


def require_grammar(source: str, name: str = N_("the grammar")) -> tuple[TokenName, ...]:
    """Check a grammar; returns the tokens in it.

    Args:
        source: GBNF with a rule ``root``.
        name: Its name in the error message.

    Raises:
        UsageError: It does not parse, with line and column; or its repetitions, nesting or
            recursion would hang or crash llama.cpp.
    """
    if len(source) > LONGEST:
        raise UsageError(
            tr(
                "{name} has {source:,} characters, {longest:,} are allowed",
                name=name,
                source=len(source),
                longest=LONGEST,
            ),
            tr("write it shorter, with rules for what repeats"),
        )
    found = _checked(source)
    if isinstance(found, str):
        raise UsageError(tr("{name} cannot be used: {found}", name=tr(name), found=found), tr(HINT))
    return found


def is_valid_grammar(source: str) -> bool:
    """Whether `require_grammar` accepts a grammar."""
    return len(source) <= LONGEST and not isinstance(_checked(source), str)


@functools.lru_cache(maxsize=4)
def _checked(source: str) -> tuple[TokenName, ...] | str:
    """The tokens, or the error; cached, since every reply of a session has the same grammar."""
    reader = _GbnfParser(source)
    try:
        reader.read()
        _refuse_left_recursion(reader)
    except _Fault as fault:
        if fault.position < 0:
            return fault.reason
        line = source.count("\n", 0, fault.position) + 1
        column = fault.position - source.rfind("\n", 0, fault.position)
        return tr(
            "line {line}, column {column}: {reason}", line=line, column=column, reason=fault.reason
        )
    return tuple(dict.fromkeys(reader.tokens))


@dataclass(slots=True)
class _OpenGroup:
    """A group, or a rule, that is being parsed."""

    rule: int
    before: int  # how many rules come before it
    position: int
    alternatives: list[_Sequence] = field(default_factory=lambda: [[]])
    last: int = 0  # where the last item of the sequence begins
    made: int = 1  # rules that the last item made


class _GbnfParser:
    """Parses a grammar into the rules that llama.cpp's parser makes."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.rules: list[list[_Sequence] | None] = []
        self.names: dict[str, int] = {}
        self.tokens: list[TokenName] = []
        self._used: dict[int, int] = {}  # where a rule is first named
        self._position = 0
        self._elements = 0

    def read(self) -> None:
        """Parse all rules; raises `_Fault`."""
        if "\0" in self.source:
            raise _Fault(tr("it holds a NUL character"), self.source.index("\0"))
        self._skip(lines=True)
        while self._position < len(self.source):
            self._rule()
        if "root" not in self.names:
            raise _Fault(tr("there is no rule `root`"))
        for name, number in self.names.items():
            if self.rules[number] is None:
                raise _Fault(
                    tr("the rule `{name}` is not defined", name=single_line(name, 40)),
                    self._used[number],
                )

    def name_of(self, number: int) -> str:
        """The name of a rule; of a group, the nearest rule before it."""
        named = {rule: name for name, rule in self.names.items()}
        return next(named[one] for one in range(number, -1, -1) if one in named)

    def _rule(self) -> None:
        start = self._position
        name = self._name()
        self._skip(lines=False)
        if not self.source.startswith("::=", self._position):
            raise _Fault(tr("expecting ::="), self._position)
        self._position += 3
        self._skip(lines=True)
        number = self._number(name, start)
        self.rules[number] = self._alternatives(number)
        if self._position < len(self.source) and self.source[self._position] not in "\r\n":
            raise _Fault(tr("expecting the end of the line"), self._position)
        self._skip(lines=True)

    def _alternatives(self, number: int) -> list[_Sequence]:
        """The alternatives of a rule; those of its groups become rules of their own."""
        stack = [_OpenGroup(number, len(self.rules), self._position)]
        while True:
            top, nested = stack[-1], len(stack) > 1
            character = self.source[self._position : self._position + 1]
            if character == "|":
                self._position += 1
                self._skip(lines=True)
                top.alternatives.append([])
                top.last, top.made = 0, 1
            elif character == "(":
                if len(stack) > _DEEPEST_GROUP:
                    raise _Fault(tr("groups are nested too deeply"), self._position)
                before, position = len(self.rules), self._position
                self._position += 1
                self._skip(lines=True)
                stack.append(_OpenGroup(self._new(), before, position))
            elif character == ")" and nested:
                stack.pop()
                self.rules[top.rule] = top.alternatives
                self._item(stack[-1], [_Refer(top.rule)], max(1, len(self.rules) - top.before))
                self._position += 1
                self._skip(lines=len(stack) > 1)
            elif self._atom(top, character):
                self._skip(lines=nested)
            elif nested:
                raise _Fault(tr("expecting ) of the group that begins here"), top.position)
            else:
                return top.alternatives

    def _atom(self, top: _OpenGroup, character: str) -> bool:
        """Parse an item or a repetition; returns whether there was one."""
        if character == '"':
            text = self._match(_LITERAL, tr("a literal does not end, or has an unknown escape"))
            self._item(top, [None] * len(_CHARACTER.findall(text[1])))
        elif character == "[":
            members = self._match(_CLASS, tr("a class does not end, or has an unknown escape"))
            if not members[1]:
                raise _Fault(tr("an empty class"), members.start())
            self._item(top, [None])
            self._count(len(members[1]))
        elif character == ".":
            self._position += 1
            self._item(top, [None])
        elif character in ("<", "!"):
            token = self._match(_TOKEN, tr("expecting a token such as <[42]> or <|end|>"))
            self.tokens.append(TokenName(int(token[1]) if token[1] else None, token[2] or ""))
            self._item(top, [None])
        elif character and character in "*+?{":
            self._repeat(top)
        elif _NAME.match(self.source, self._position):
            position = self._position
            self._item(top, [_Refer(self._number(self._name(), position))])
        else:
            return False
        return True

    def _item(self, top: _OpenGroup, items: _Sequence, made: int = 1) -> None:
        sequence = top.alternatives[-1]
        top.last, top.made = len(sequence), made
        self._count(len(items))
        sequence += items

    def _repeat(self, top: _OpenGroup) -> None:
        position = self._position
        times = self._match(_TIMES, tr("expecting a repetition such as {2}, {2,} or {2,5}"))
        sequence = top.alternatives[-1]
        part = sequence[top.last :]
        if not part:
            raise _Fault(tr("there is nothing to repeat"), position)
        least, most = self._bounds(times)
        if most is not None and most < least:
            raise _Fault(
                tr("a repetition from {least} to {most}", least=least, most=most), position
            )
        rules = (most or least) or 1
        if max(rules, least) > _MOST_REPEATED or top.made * rules > _MOST_REPEATED:
            raise _Fault(
                tr(
                    "it repeats too much: {most_repeated:,} times at most, with those inside",
                    most_repeated=_MOST_REPEATED,
                ),
                position,
            )
        optional = 1 if most is None else most - least
        self._count(len(part) * max(least, 1) + (len(part) + 2) * optional)
        del sequence[top.last :]
        sequence += part * least
        following: _Sequence = []
        for _ in range(optional):
            number = self._new()
            again: _Sequence = [_Refer(number)] if most is None else following
            self.rules[number] = [[*part, *again], []]
            following = [_Refer(number)]
        sequence += following
        top.made *= rules

    def _bounds(self, times: re.Match[str]) -> tuple[int, int | None]:
        if times[4]:
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[times[4]]
        if max(len(times[1]), len(times[3] or "")) > 9:
            raise _Fault(tr("it repeats too much"), times.start())
        least = int(times[1])
        return least, least if not times[2] else int(times[3]) if times[3] else None

    def _name(self) -> str:
        return self._match(_NAME, tr("expecting the name of a rule"))[0]

    def _number(self, name: str, position: int) -> int:
        if name not in self.names:
            self.names[name] = self._new()
            self._used[self.names[name]] = position
        return self.names[name]

    def _new(self) -> int:
        self._count(1)
        self.rules.append(None)
        return len(self.rules) - 1

    def _count(self, elements: int) -> None:
        self._elements += elements
        if self._elements > _MOST_ELEMENTS:
            raise _Fault(tr("it expands to too many rules"), self._position)

    def _match(self, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
        found = pattern.match(self.source, self._position)
        if found is None:
            raise _Fault(expected, self._position)
        self._position = found.end()
        return found

    def _skip(self, *, lines: bool) -> None:
        found = (_SPACE_AND_LINES if lines else _SPACE).match(self.source, self._position)
        if found is not None:
            self._position = found.end()


def _refuse_left_recursion(reader: _GbnfParser) -> None:
    """Raise `_Fault` where a rule can begin with itself, or with too many others."""
    rules = [alternatives or [] for alternatives in reader.rules]
    empty = _may_be_empty(rules)
    first_rules = {
        number: list(_begins_with(alternatives, empty)) for number, alternatives in enumerate(rules)
    }
    try:
        order = tuple(TopologicalSorter(first_rules).static_order())
    except CycleError as error:
        name = single_line(reader.name_of(error.args[1][0]), 40)
        raise _Fault(
            tr(
                "left recursion: the rule `{name}` can begin with itself, or repeats without "
                "end what may be empty",
                name=name,
            )
        ) from error
    counts: dict[int, int] = {}
    depths: dict[int, int] = {}
    for number in order:
        counts[number] = 1 + sum(counts[one] for one in first_rules[number])
        depths[number] = 1 + max((depths[one] for one in first_rules[number]), default=0)
        if depths[number] > _DEEPEST_RULE:
            raise _Fault(tr("too many rules begin with each other"))
        if counts[number] > _MOST_FIRST_RULES:
            raise _Fault(tr("its rules can begin in too many ways"))


def _may_be_empty(rules: list[list[_Sequence]]) -> set[int]:
    users: dict[int, list[int]] = {}
    for number, alternatives in enumerate(rules):
        for sequence in alternatives:
            if None not in sequence:
                for item in sequence:
                    users.setdefault(item.rule if item else -1, []).append(number)
    empty: set[int] = set()
    waiting = [number for number, found in enumerate(rules) if [] in found]
    while waiting:
        number = waiting.pop()
        if number in empty:
            continue
        if any(all(item and item.rule in empty for item in one) for one in rules[number]):
            empty.add(number)
            waiting += users.get(number, ())
    return empty


def _begins_with(alternatives: list[_Sequence], empty: set[int]) -> Iterator[int]:
    for sequence in alternatives:
        for item in sequence:
            if item is None:
                break
            yield item.rule
            if item.rule not in empty:
                break
