"""Grammar rules as expressions, their text in GBNF, and JSON as rules.

JSON has primitives, constants, and strings of an automaton. Alternatives that no text can match are
removed before the rules are written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
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


Expression: TypeAlias = Text | CharClass | Ref | Chain | Alternatives | Repeat

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


def optional(part: Expression) -> Expression:
    """``part`` or nothing."""
    return Repeat(part, 0, 1)


def prefix_tree(texts: Iterable[str]) -> Expression:
    """One of many texts, as a prefix tree: its cost per token does not grow with their number."""
    ordered = sorted(set(texts))
    return _tree(ordered, 0, 0) if ordered else IMPOSSIBLE


def _tree(texts: list[str], at: int, depth: int) -> Expression:
    """``texts`` are sorted and share their first ``at`` characters."""
    if len(texts) == 1 or depth > _DEEPEST_TREE:
        return (
            Alternatives(tuple(Text(text[at:]) for text in texts))
            if texts[1:]
            else Text(texts[0][at:])
        )
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

    def reserve(self, wanted: str) -> str:
        """A free name like ``wanted``; its rule matches nothing until it is set."""
        name = re.sub(r"[^A-Za-z0-9]+", "-", wanted).strip("-")[:24] or "rule"
        number = self.counts.get(name, 0)
        self.counts[name] = number + 1
        unique = f"{name}-{number}" if number else name
        if unique in self.bodies:
            return self.reserve(f"{name}-x")
        self.bodies[unique] = IMPOSSIBLE
        return unique

    def add(self, wanted: str, body: Expression) -> Ref:
        """A rule with a name like ``wanted``."""
        name = self.reserve(wanted)
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

    def possible(self) -> set[str]:
        """The names of the rules that some text matches."""
        users: dict[str, list[str]] = {}
        for name, body in self.bodies.items():
            for used in set(_references(body)):
                users.setdefault(used, []).append(name)
        done: set[str] = set()
        waiting = list(self.bodies)
        while waiting:
            name = waiting.pop()
            if name not in done and _can_match(self.bodies[name], done):
                done.add(name)
                waiting += users.get(name, ())
        return done

    def pruned(self) -> Rules:
        """The rules that are reachable from ``root`` and match some text."""
        done = self.possible()
        bodies: dict[str, Expression] = {}
        waiting = ["root"]
        while waiting:
            name = waiting.pop()
            if name in done and name not in bodies:
                bodies[name] = _prune(self.bodies[name], done)
                waiting += reversed(list(_references(bodies[name])))
        return Rules(bodies)

    def text(self) -> str:
        """The grammar in GBNF, the root first."""
        return "".join(f"{name} ::= {_gbnf(body)}\n" for name, body in self.bodies.items())


def _parts(body: Expression) -> tuple[Expression, ...]:
    match body:
        case Chain(parts) | Alternatives(parts):
            return parts
        case Repeat(part):
            return (part,)
        case _:
            return ()


def _references(body: Expression) -> Iterable[str]:
    waiting = [body]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Ref):
            yield one.name
        waiting += reversed(_parts(one))


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
        case Text():
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
        case Ref() | CharClass():
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
            return literal(text)
        case CharClass(chars):
            return _class(chars)
        case Ref(name):
            return name


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


def literal(text: str) -> str:
    """``text`` as a GBNF literal."""
    return '"' + "".join(_ESCAPES.get(one) or _printable(one) for one in text) + '"'


def _printable(character: str) -> str:
    return character if character.isprintable() else _code(ord(character))


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


def with_primitives(rules: Rules, primitives: Mapping[str, Expression]) -> Rules:
    """``rules`` with the ``primitives`` that they use."""
    bodies = dict(rules.bodies)
    waiting = list(rules.bodies.values())
    while waiting:
        for name in _references(waiting.pop()):
            if name in primitives and name not in bodies:
                bodies[name] = primitives[name]
                waiting.append(primitives[name])
    return Rules(bodies)


def one_of(text: str) -> CharClass:
    """One character of a text."""
    return CharClass(charset((ord(one), ord(one)) for one in text))


WS, VALUE, STRING, CHAR = Ref("ws"), Ref("value"), Ref("string"), Ref("char")
OBJECT, ARRAY, NUMBER, INTEGER = Ref("object"), Ref("array"), Ref("number"), Ref("integer")
PAIR = Ref("pair")
_MOST_DIGITS = 64  # of one number; a small model would write endless digits
_DEEPEST_CONSTANT = 40

_DIGIT = one_of("0123456789")
_HEX = one_of("0123456789abcdefABCDEF")
_PLAIN: CharSet = difference(ANY, (*((0, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x7F)),))
_CONTROLS: CharSet = ((0, 0x1F),)
_WIDE: CharSet = difference(ANY, ((0, 0x7F),))
# Sets that contain all of these, as most do, share a rule for the escapes.
_ESCAPABLE: CharSet = (*_CONTROLS, (0x22, 0x22), (0x2F, 0x2F), (0x5C, 0x5C), *_WIDE)
_SHORT = {'"': '"', "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}


def _natural() -> Expression:
    return choice([Text("0"), chain(one_of("123456789"), Repeat(_DIGIT, 0, _MOST_DIGITS - 1))])


# Surrogates only in pairs: alone they are invalid.
_PAIRED = chain(
    one_of("dD"), one_of("89abAB"), Repeat(_HEX, 2, 2),
    Text("\\u"), one_of("dD"), one_of("cdefCDEF"), Repeat(_HEX, 2, 2),
)  # fmt: skip
_ALONE = choice(
    [
        chain(one_of("0123456789abcefABCEF"), Repeat(_HEX, 3, 3)),
        chain(one_of("dD"), one_of("01234567"), Repeat(_HEX, 2, 2)),
    ]
)

PRIMITIVES: dict[str, Expression] = {
    # At most one line break, or a small model writes nothing else.
    "ws": choice([EMPTY, Text(" "), chain(Text("\n"), Repeat(one_of(" \t"), 0, 20))]),
    "char": choice(
        [
            CharClass(_PLAIN),
            chain(Text("\\"), one_of("".join(_SHORT.values()))),
            chain(Text("\\u"), choice([_ALONE, _PAIRED])),
        ]
    ),
    # The escape of a non-ASCII character, behind the backslash.
    "wide": chain(
        Text("u"),
        choice(
            [
                _PAIRED,
                chain(one_of("123456789abcefABCEF"), Repeat(_HEX, 3, 3)),
                chain(one_of("dD"), one_of("01234567"), Repeat(_HEX, 2, 2)),
                chain(Text("0"), one_of("123456789abcdefABCDEF"), Repeat(_HEX, 2, 2)),
                chain(Text("00"), one_of("89abcdefABCDEF"), _HEX),
            ]
        ),
    ),
    "escape": chain(
        Text("\\"),
        choice(
            [
                one_of("".join(_SHORT.values())),
                chain(Text("u00"), one_of("01"), _HEX),
                Ref("wide"),
            ]
        ),
    ),
    "string": chain(Text('"'), Repeat(CHAR, 0, None), Text('"')),
    "integer": chain(optional(Text("-")), _natural()),
    "fraction": chain(Text("."), Repeat(_DIGIT, 1, 20)),
    # Two digits, since more may overflow.
    "exponent": chain(one_of("eE"), optional(one_of("-+")), Repeat(_DIGIT, 1, 2)),
    "number": chain(INTEGER, optional(Ref("fraction")), optional(Ref("exponent"))),
    "null": Text("null"),
    "boolean": choice([Text("true"), Text("false")]),
    "object": chain(
        Text("{"), WS, optional(chain(PAIR, Repeat(chain(Text(","), WS, PAIR), 0, None))), Text("}")
    ),
    "pair": chain(STRING, WS, Text(":"), WS, VALUE, WS),
    "array": chain(
        Text("["),
        WS,
        optional(chain(VALUE, WS, Repeat(chain(Text(","), WS, VALUE, WS), 0, None))),
        Text("]"),
    ),
    "value": choice([OBJECT, ARRAY, STRING, NUMBER, Ref("boolean"), Ref("null")]),
}


def constant(value: Any) -> Expression:
    """A JSON value, with optional white space between its parts."""
    return _constant(value, 0)


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


def _constant(value: Any, depth: int) -> Expression:
    if not isinstance(value, dict | list) or not value or depth > _DEEPEST_CONSTANT:
        return prefix_tree(_spellings(value))
    parts: list[Expression] = []
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    members = value.items() if isinstance(value, dict) else [(None, one) for one in value]
    for key, member in members:
        parts += [Text(","), WS] if parts else [Text(opening), WS]
        if key is not None:
            parts += [prefix_tree(_spellings(key)), WS, Text(":"), WS]
        parts += [_constant(member, depth + 1), WS]
    return chain(*parts, Text(closing))


def json_chars(chars: CharSet) -> Expression:
    """A character of a set, as JSON strings may write it."""
    plain = intersect(chars, _PLAIN)
    if not difference(_ESCAPABLE, chars):
        return choice([CharClass(plain), Ref("escape")])
    escaped = [letter for one, letter in _SHORT.items() if intersect(chars, of_text(one))]
    controls = not difference(_CONTROLS, chars)
    rare = difference(chars, (*_PLAIN, *of_text("".join(_SHORT)), *(_CONTROLS if controls else ())))
    codes = (point for low, high in rare for point in range(low, high + 1))
    behind: list[Expression] = [
        *([one_of("".join(escaped))] if escaped else []),
        *([chain(Text("u00"), one_of("01"), _HEX)] if controls else []),
        *(chain(Text("u"), _hex(point)) for point in codes),
        *([Ref("wide")] if not difference(_WIDE, chars) else []),
    ]
    return choice(
        [
            *([CharClass(plain)] if plain else []),
            *([chain(Text("\\"), choice(behind))] if behind else []),
        ]
    )


def _hex(point: int) -> Expression:
    digits = f"{point:04x}"
    return chain(*(one_of(digit + digit.upper()) for digit in digits))


def automaton_rules(
    rules: Rules, name: str, states: Sequence[DfaState], *, in_string: bool
) -> Expression:
    """The texts of an automaton, with a rule for each state that several others lead to."""
    spell = json_chars if in_string else CharClass

    def write(chars: CharSet) -> Expression:
        return rules.shared(spell(chars))

    return _Automaton(rules, name, states, write).expression()


@dataclass(slots=True)
class _Automaton:
    rules: Rules
    name: str
    states: Sequence[DfaState]
    write: Callable[[CharSet], Expression]
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
            parts.append(self.write(chars))

    def _named(self, number: int) -> Expression:
        if number not in self._names:
            self._names[number] = self.rules.reserve(self.name)
            self._waiting.append(number)
        return Ref(self._names[number])

    def _body(self, number: int) -> Expression:
        accepts, moves = self.states[number]
        branches = [chain(self.write(chars), self._after(target)) for chars, target in moves]
        return choice([*([EMPTY] if accepts else []), *branches])

    def _run(self, number: int) -> Expression | None:
        """The repetition of a state with only one set of characters; None for other states."""
        chars: CharSet = ()
        for count in range(len(self.states)):
            accepts, moves = self.states[number]
            if not moves:
                return repeated(self.write(chars), 0, count) if count else EMPTY
            if not accepts or len(moves) > 1 or (count and moves[0][0] != chars):
                return None
            chars, target = moves[0]
            if target == number and not count:
                return Repeat(self.write(chars), 0, None)
            number = target
        return None
