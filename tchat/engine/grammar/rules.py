"""Grammar rules as expressions, their text in GBNF, and JSON as rules.

JSON has primitives, constants, and strings of an automaton. Alternatives that no text can match are
removed before the rules are written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tchat.engine.grammar.automata import (
    ANY,
    CharSet,
    DfaState,
    charset,
    difference,
    intersect,
    of_text,
)

# llama.cpp's parser refuses repetitions from 2,000 rules on.
_MOST_REPEATED = 1000
_MOST_TIMES = 10_000_000  # no reply repeats anything more often
_LARGE = 20  # ranges
_DEEPEST_TREE = 50  # llama.cpp's parser recurses into parentheses
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


@dataclass(frozen=True, slots=True)
class Text:
    """Literal text."""

    text: str


@dataclass(frozen=True, slots=True)
class CharClass:
    """One character of a set."""

    chars: CharSet


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to a rule."""

    name: str


@dataclass(frozen=True, slots=True)
class Chain:
    """Parts, one after the other."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One of several alternatives; none at all match nothing."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part several times; ``most`` None is without end."""

    part: Expression
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Gbnf:
    """A rule's body as it is written."""

    text: str


Expression: TypeAlias = Text | CharClass | Ref | Chain | Alternatives | Repeat | Gbnf

EMPTY = Text("")
IMPOSSIBLE = Alternatives(())


def chain(*parts: Expression) -> Expression:
    """A sequence of ``parts``."""
    flat: list[Expression] = []
    for part in parts:
        members = part.parts if isinstance(part, Chain) else (part,)
        for one in members:
            last = flat[-1] if flat else None
            if isinstance(one, Text) and isinstance(last, Text):
                flat[-1] = Text(last.text + one.text)
            elif one != EMPTY:
                flat.append(one)
    return flat[0] if len(flat) == 1 else Chain(tuple(flat)) if flat else EMPTY


def choice(parts: Iterable[Expression]) -> Expression:
    """One of ``parts``, without duplicates."""
    members = (
        one for part in parts for one in (part.parts if isinstance(part, Alternatives) else (part,))
    )
    unique = tuple(dict.fromkeys(members))
    return unique[0] if len(unique) == 1 else Alternatives(unique)


def prefix_tree(texts: Iterable[str]) -> Expression:
    """One of many texts, as a prefix tree: its cost per token does not grow with their number."""
    ordered = sorted(set(texts))
    return _tree(ordered, 0, 0) if ordered else IMPOSSIBLE


def _tree(texts: list[str], at: int, depth: int) -> Expression:
    """``texts`` are sorted and share their first ``at`` characters."""
    if len(texts) == 1 or depth > _DEEPEST_TREE:
        return choice(Text(text[at:]) for text in texts)
    first, last = texts[0], texts[-1]
    shared = at
    while shared < len(first) and first[shared] == last[shared]:
        shared += 1
    prefix = Text(first[at:shared])
    ends = len(first) == shared
    groups: dict[str, list[str]] = {}
    for text in texts[ends:]:
        groups.setdefault(text[shared], []).append(text)
    branches = [_tree(group, shared, depth + 1) for group in groups.values()]
    return chain(prefix, Alternatives((*([EMPTY] if ends else []), *branches)))


@dataclass(slots=True)
class Rules:
    """Rules by name, from which a grammar is written."""

    bodies: dict[str, Expression] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # of the names given out
    classes: dict[Expression, Ref] = field(default_factory=dict)
    sets: int = 2000  # of properties that can still be distinguished for any order

    def reserve(self, preferred: str) -> str:
        """A free name like ``preferred``; its rule matches nothing until it is set."""
        name = re.sub(r"[^A-Za-z0-9]+", "-", preferred).strip("-")[:24] or "rule"
        number = self.counts.get(name, 0)
        self.counts[name] = number + 1
        unique = f"{name}-{number}" if number else name
        if unique in self.bodies:
            return self.reserve(f"{name}-x")
        self.bodies[unique] = IMPOSSIBLE
        return unique

    def add(self, preferred: str, body: Expression) -> Ref:
        """A rule with a name like ``preferred``."""
        name = self.reserve(preferred)
        self.bodies[name] = body
        return Ref(name)

    def shared(self, body: Expression) -> Expression:
        """``body``, as a shared rule of its own where it is large."""
        members = body.parts if isinstance(body, Alternatives) else (body,)
        if sum(len(part.chars) for part in members if isinstance(part, CharClass)) < _LARGE:
            return body
        if body not in self.classes:
            self.classes[body] = self.add("chars", body)
        return self.classes[body]

    def _possible(self) -> set[str]:
        """The names of the rules that some text matches."""
        users: dict[str, list[str]] = {}
        done = set(PRIMITIVES)
        for name, body in self.bodies.items():
            for used in set(_references(body)):
                users.setdefault(used, []).append(name)
        waiting = list(self.bodies)
        while waiting:
            name = waiting.pop()
            if name not in done and _can_match(self.bodies[name], done):
                done.add(name)
                waiting += users.get(name, ())
        return done

    def pruned(self) -> Rules:
        """The rules, and primitives, that are reachable from ``root`` and match some text."""
        done = self._possible()
        bodies: dict[str, Expression] = {}
        waiting = ["root"]
        while waiting:
            name = waiting.pop()
            if name in done and name not in bodies:
                body = PRIMITIVES.get(name) or self.bodies[name]
                bodies[name] = _prune(body, done)
                waiting += reversed(list(_references(bodies[name])))
        return Rules(bodies)

    def text(self) -> str:
        """The grammar in GBNF, the root first."""
        return "".join(f"{name} ::= {_gbnf(body)}\n" for name, body in self.bodies.items())


def _references(body: Expression) -> Iterable[str]:
    waiting = [body]
    while waiting:
        match waiting.pop():
            case Ref(name):
                yield name
            case Gbnf(text):
                yield from (word for word in re.findall("[a-z]+", text) if word in PRIMITIVES)
            case Chain(parts) | Alternatives(parts):
                waiting += reversed(parts)
            case Repeat(part):
                waiting.append(part)


def _can_match(body: Expression, done: set[str]) -> bool:
    match body:
        case Ref(name):
            return name in done
        case Chain(parts):
            return all(_can_match(part, done) for part in parts)
        case Alternatives(parts):
            return any(_can_match(part, done) for part in parts)
        case Repeat(part, least):
            return least == 0 or _can_match(part, done)
        case CharClass(chars):
            return bool(chars)
        case Text() | Gbnf():
            return True


def _prune(body: Expression, done: set[str]) -> Expression:
    """``body`` without the parts that match no text."""
    match body:
        case Chain(parts):
            return chain(*(_prune(part, done) for part in parts))
        case Alternatives(parts):
            return choice(_prune(part, done) for part in parts if _can_match(part, done))
        case Repeat(part, least, most):
            return Repeat(_prune(part, done), least, most) if _can_match(part, done) else EMPTY
        case _:
            return body


def is_nullable(body: Expression) -> bool:
    """Whether ``body`` matches the empty text, unless by a rule that it refers to."""
    match body:
        case Text(text):
            return not text
        case Chain(parts):
            return all(map(is_nullable, parts))
        case Alternatives(parts):
            return any(map(is_nullable, parts))
        case Repeat(part, least):
            return least == 0 or is_nullable(part)
        case Ref() | CharClass() | Gbnf():
            return False


def _gbnf(body: Expression) -> str:
    """As GBNF, without parentheses around alternatives at the top."""
    match body:
        case Alternatives(parts):
            return " | ".join(_gbnf(part) for part in parts)
        case Chain(parts):
            return " ".join(
                _grouped(part) if isinstance(part, Alternatives) else _gbnf(part) for part in parts
            )
        case Repeat(part, least, most):
            return _grouped(part) + _times(least, most)
        case Text(text):
            return _literal(text)
        case CharClass(chars):
            return _class(chars)
        case Ref(text) | Gbnf(text):
            return text


def _grouped(body: Expression) -> str:
    text = _gbnf(body)
    if isinstance(body, CharClass | Ref):
        return text
    return text if isinstance(body, Text) and body.text else f"({text})"


def _times(least: int, most: int | None) -> str:
    if most is None:
        return {0: "*", 1: "+"}.get(least, f"{{{least},}}")
    if least == most:
        return f"{{{least}}}"
    return "?" if (least, most) == (0, 1) else f"{{{least},{most}}}"


def repeated(part: Expression, least: int, most: int | None) -> Expression:
    """``part`` repeated, in repetitions that llama.cpp's parser accepts."""
    if most is not None and most < least:
        return IMPOSSIBLE
    least, most = min(least, _MOST_TIMES), None if most is None or most > _MOST_TIMES else most
    if max(least, most or 0) <= _MOST_REPEATED:
        return EMPTY if most == 0 else part if least == most == 1 else Repeat(part, least, most)
    block = 256
    whole = Repeat(part, block, block)
    before = chain(
        repeated(whole, least // block, least // block),
        repeated(part, least % block, least % block),
    )
    if most is None:
        return chain(before, Repeat(part, 0, None))
    blocks, rest = divmod(most - least, block)
    below = repeated(part, 0, block - 1)
    upto = choice(
        [
            *([chain(repeated(whole, 0, blocks - 1), below)] if blocks else []),
            chain(repeated(whole, blocks, blocks), repeated(part, 0, rest)),
        ]
    )
    return chain(before, upto)


def _literal(text: str) -> str:
    shown = (_ESCAPES.get(one) or (one if one.isprintable() else _code(ord(one))) for one in text)
    return f'"{"".join(shown)}"'


def _class(chars: CharSet) -> str:
    outside = difference(ANY, chars)
    if not outside:
        return "."
    # In negated classes beyond ASCII, llama.cpp refuses characters split between tokens.
    negated = len(outside) < len(chars) and outside[-1][1] < 0x80
    members = "".join(
        _code(low) if low == high else f"{_code(low)}-{_code(high)}"
        for low, high in (outside if negated else chars)
    )
    return f"[{'^' if negated else ''}{members}]"


def _code(point: int) -> str:
    character = chr(point)
    if character.isascii() and character.isalnum():
        return character
    return f"\\x{point:02X}" if point < 256 else f"\\U{point:08X}"


def one_of(text: str) -> CharClass:
    """One character of a text."""
    return CharClass(charset((ord(one), ord(one)) for one in text))


WS, VALUE, STRING, CHAR = Ref("ws"), Ref("value"), Ref("string"), Ref("char")
OBJECT, ARRAY, NUMBER, INTEGER = Ref("object"), Ref("array"), Ref("number"), Ref("integer")
_DEEPEST_CONSTANT = 40

# White space has at most one line break, or a small model writes nothing else; numbers end, for the
# same reason, and exponents have two digits, since more may overflow. Surrogates are in pairs only.
# `wide` is the escape of a non-ASCII character, behind the backslash.
_PAIRED = r'[Dd] [8-9A-Ba-b] [0-9A-Fa-f]{2} "\\u" [Dd] [C-Fc-f] [0-9A-Fa-f]{2}'
_BELOW_SURROGATES = "[Dd] [0-7] [0-9A-Fa-f]{2}"
PRIMITIVES = {
    name: Gbnf(text)
    for name, text in {
        "ws": r'"" | " " | "\n" [\x09\x20]{0,20}',
        "char": r'[^\x00-\x1F\x22\x5C\x7F] | "\\" [\x22\x2F\x5Cbfnrt] | "\\u" '
        rf"([0-9A-CE-Fa-ce-f] [0-9A-Fa-f]{{3}} | {_BELOW_SURROGATES} | {_PAIRED})",
        "wide": rf'"u" ({_PAIRED} | [1-9A-CE-Fa-ce-f] [0-9A-Fa-f]{{3}} | {_BELOW_SURROGATES}'
        ' | "0" [1-9A-Fa-f] [0-9A-Fa-f]{2} | "00" [8-9A-Fa-f] [0-9A-Fa-f])',
        "escape": r'"\\" ([\x22\x2F\x5Cbfnrt] | "u00" [0-1] [0-9A-Fa-f] | wide)',
        "string": r'"\"" char* "\""',
        "integer": '"-"? ("0" | [1-9] [0-9]{0,63})',
        "fraction": '"." [0-9]{1,20}',
        "exponent": r"[Ee] [\x2B\x2D]? [0-9]{1,2}",
        "number": "integer fraction? exponent?",
        "null": '"null"',
        "boolean": '"true" | "false"',
        "object": '"{" ws (pair ("," ws pair)*)? "}"',
        "pair": 'string ws ":" ws value ws',
        "array": '"[" ws (value ws ("," ws value ws)*)? "]"',
        "value": "object | array | string | number | boolean | null",
    }.items()
}

_HEX = one_of("0123456789abcdefABCDEF")
_CONTROLS: CharSet = ((0, 0x1F),)
_PLAIN: CharSet = difference(ANY, (*_CONTROLS, (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x7F)))
_WIDE: CharSet = difference(ANY, ((0, 0x7F),))
# Sets that contain all of these, as most do, share a rule for the escapes.
_ESCAPABLE: CharSet = (*_CONTROLS, (0x22, 0x22), (0x2F, 0x2F), (0x5C, 0x5C), *_WIDE)
_SHORT = {'"': '"', "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}


def constant(value: Any, depth: int = 0) -> Expression:
    """A JSON value, with optional white space between its parts."""
    if not isinstance(value, dict | list) or not value or depth > _DEEPEST_CONSTANT:
        return prefix_tree(_spellings(value))
    parts: list[Expression] = []
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    members = value.items() if isinstance(value, dict) else [(None, one) for one in value]
    for key, member in members:
        parts += [Text(","), WS] if parts else [Text(opening), WS]
        if key is not None:
            parts += [prefix_tree(_spellings(key)), WS, Text(":"), WS]
        parts += [constant(member, depth + 1), WS]
    return chain(*parts, Text(closing))


def constants(values: Sequence[Any]) -> Expression:
    """One of several values; scalars as one prefix tree."""
    flat = [one for one in values if not isinstance(one, dict | list) or not one]
    texts = [spelled for one in flat for spelled in _spellings(one)]
    nested = [constant(one) for one in values if isinstance(one, dict | list) and one]
    return choice([*([prefix_tree(texts)] if texts else []), *nested])


def _spellings(value: Any) -> list[str]:
    text = json.dumps(value, ensure_ascii=False)
    ascii_text = json.dumps(value)
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e16
    return [text, *({ascii_text} - {text}), *([str(int(value))] if whole else [])]


def json_chars(chars: CharSet) -> Expression:
    """A character of a set, as JSON strings may write it."""
    plain = intersect(chars, _PLAIN)
    if not difference(_ESCAPABLE, chars):
        return choice([CharClass(plain), Ref("escape")])
    escaped = [letter for one, letter in _SHORT.items() if intersect(chars, of_text(one))]
    controls = not difference(_CONTROLS, chars)
    usual = charset((*_PLAIN, *of_text("".join(_SHORT)), *(_CONTROLS if controls else ())))
    rare = difference(chars, usual)
    codes = (point for low, high in rare for point in range(low, high + 1))
    behind = [chain(Text("u"), _hex(point)) for point in codes]
    if controls:
        behind.insert(0, chain(Text("u00"), one_of("01"), _HEX))
    if escaped:
        behind.insert(0, one_of("".join(escaped)))
    if not difference(_WIDE, chars):
        behind.append(Ref("wide"))
    written = [chain(Text("\\"), choice(behind))] if behind else []
    return choice([CharClass(plain), *written] if plain else written)


def _hex(point: int) -> Expression:
    digits = f"{point:04x}"
    return chain(*(one_of(digit + digit.upper()) for digit in digits))


@dataclass(slots=True)
class AutomatonRules:
    """The texts of an automaton, with a rule for each state that several others lead to."""

    rules: Rules
    name: str
    states: Sequence[DfaState]
    in_string: bool
    _entered: list[int] = field(init=False)
    _names: dict[int, str] = field(init=False, default_factory=dict)
    _waiting: list[int] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._entered = [0] * len(self.states)
        for state in self.states:
            for _, target in state.moves:
                self._entered[target] += 1

    def expression(self) -> Expression:
        """The expression of the first state; other states become rules as needed."""
        whole = self._after(0)
        while self._waiting:
            number = self._waiting.pop()
            self.rules.bodies[self._names[number]] = self._body(number)
        return whole

    def _after(self, number: int) -> Expression:
        """What may follow in a state; states that only one other leads to are inlined."""
        parts: list[Expression] = []
        while True:
            accepts, moves = self.states[number]
            if accepts and (run := self._run(number)) is not None:
                return chain(*parts, run)
            if accepts or len(moves) != 1 or (parts and self._entered[number] > 1):
                return chain(*parts, self._named(number))
            if not parts and self._entered[number] > 0:
                return self._named(number)
            (chars, number), *_ = moves
            parts.append(self._write(chars))

    def _write(self, chars: CharSet) -> Expression:
        return self.rules.shared(json_chars(chars) if self.in_string else CharClass(chars))

    def _named(self, number: int) -> Expression:
        if number not in self._names:
            self._names[number] = self.rules.reserve(self.name)
            self._waiting.append(number)
        return Ref(self._names[number])

    def _body(self, number: int) -> Expression:
        accepts, moves = self.states[number]
        branches = [chain(self._write(chars), self._after(target)) for chars, target in moves]
        return choice([*([EMPTY] if accepts else []), *branches])

    def _run(self, number: int) -> Expression | None:
        """The repetition of a state with only one set of characters; None for other states."""
        chars: CharSet = ()
        for count in range(len(self.states)):
            accepts, moves = self.states[number]
            if not moves:
                return repeated(self._write(chars), 0, count) if count else EMPTY
            if not accepts or len(moves) > 1 or (count and moves[0][0] != chars):
                return None
            chars, target = moves[0]
            if target == number and not count:
                return Repeat(self._write(chars), 0, None)
            number = target
        return None
