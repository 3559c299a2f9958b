"""JSON as rules: primitives, constants, and strings of an automaton."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tchat.engine.grammar.automata import ANY, CharSet, DfaState, difference, intersect, of_text
from tchat.engine.grammar.rules import (
    EMPTY,
    CharClass,
    Expression,
    Ref,
    Repeat,
    Rules,
    Text,
    chain,
    choice,
    one_of,
    optional,
    prefix_tree,
    repeated,
)

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
