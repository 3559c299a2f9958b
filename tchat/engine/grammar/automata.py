"""Character sets, regular languages, and the automata that decide them.

Languages have intersection and complement by Brzozowski's derivatives: a state of the automaton is
the language of what may still follow, so patterns, lengths and exclusions combine as an algebra.
"""

from __future__ import annotations

import functools
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

CharSet: TypeAlias = tuple[tuple[int, int], ...]  # ranges in order, which do not overlap

BEGIN, END = 0x110000, 0x110001  # before the first and behind the last character
# What a JSON string can hold: every code point but the surrogates.
ANY: CharSet = ((0, 0xD7FF), (0xE000, 0x10FFFF))
DIGITS: CharSet = ((0x30, 0x39),)
WORD: CharSet = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
SPACE: CharSet = (
    *((0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A)),
    *((0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)
LINE_ENDS: CharSet = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))


def charset(ranges: Iterable[tuple[int, int]]) -> CharSet:
    """The set of the code points in ``ranges``, which may overlap."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def of_text(characters: str) -> CharSet:
    """The set of the characters of a text."""
    return charset((ord(one), ord(one)) for one in characters)


def difference(one: CharSet, other: CharSet) -> CharSet:
    """The difference."""
    left: list[tuple[int, int]] = []
    for low, high in one:
        start = low
        # From the last range that begins at or before ``low``: only it may reach over it.
        for place in range(max(bisect_right(other, (low, END)) - 1, 0), len(other)):
            first, last = other[place]
            if first > high:
                break
            if last < start:
                continue
            if first > start:
                left.append((start, first - 1))
            start = last + 1
        if start <= high:
            left.append((start, high))
    return tuple(left)


def intersect(one: CharSet, other: CharSet) -> CharSet:
    """The intersection."""
    return difference(one, difference(one, other))


def contains(one: CharSet, point: int) -> bool:
    """Whether a code point is in the set."""
    place = bisect_right(one, (point, END)) - 1
    return place >= 0 and point <= one[place][1]


def any_case(one: CharSet) -> CharSet:
    """The set with both cases of its letters; of large sets only ASCII letters."""
    small = sum(high - low + 1 for low, high in one) <= 1000
    part = one if small else intersect(one, ((0, 0x7F),))
    texts = (chr(point) for low, high in part for point in range(low, high + 1))
    cased = (form for text in texts for form in (text.lower(), text.upper()) if len(form) == 1)
    return charset([*one, *of_text("".join(cased))])


# Names of general categories that patterns use beside the short ones.
_LONG = {
    "Letter": "L", "Lowercase_Letter": "Ll", "Uppercase_Letter": "Lu", "Titlecase_Letter": "Lt",
    "Modifier_Letter": "Lm", "Other_Letter": "Lo", "Mark": "M", "Number": "N",
    "Decimal_Number": "Nd", "digit": "Nd", "Punctuation": "P", "punct": "P", "Symbol": "S",
    "Separator": "Z", "Space_Separator": "Zs", "Other": "C", "Control": "Cc", "cntrl": "Cc",
    "Currency_Symbol": "Sc", "Math_Symbol": "Sm", "Dash_Punctuation": "Pd",
}  # fmt: skip
# fmt: off
_CATEGORIES = frozenset([
    "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe",
    "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cn",
])
# fmt: on


def category(name: str) -> CharSet | None:
    """The characters of a Unicode general category; None for an unknown name."""
    name = name.removeprefix("General_Category=").removeprefix("gc=")
    if name == "ASCII":
        return ((0, 0x7F),)
    if name in ("Any", "Assigned"):
        return ANY if name == "Any" else difference(ANY, _category("Cn"))
    short = _LONG.get(name, name)
    known = short in _CATEGORIES or any(one[0] == short for one in _CATEGORIES)
    return _category(short) if known else None


@functools.cache
def _category(short: str) -> CharSet:
    """Takes 0.1 s, since the standard library has no table by category."""
    ranges: list[tuple[int, int]] = []
    start = -1
    for point in range(sys.maxunicode + 2):
        inside = point <= sys.maxunicode and unicodedata.category(chr(point)).startswith(short)
        if inside and start < 0:
            start = point
        elif not inside and start >= 0:
            ranges.append((start, point - 1))
            start = -1
    return intersect(tuple(ranges), ANY)


_MOST_WORK = 250_000  # parts of languages processed by one `Languages`


class TooManyStates(Exception):
    """The automaton would be larger than allowed."""


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """A set of texts; languages that are built alike are one object."""

    kind: str
    parts: tuple[Language, ...] = ()
    chars: CharSet = ()
    counts: tuple[int, ...] = ()  # of a repetition: least and most; -1 is without end
    nullable: bool = False  # whether the empty text is in it
    number: int = 0


class DfaState(NamedTuple):
    """A state of an automaton: whether a text may end here, and its transitions."""

    accepts: bool
    moves: tuple[tuple[CharSet, int], ...]


@dataclass(slots=True)
class Languages:
    """Builds languages; each operation simplifies."""

    _known: dict[tuple[object, ...], Language] = field(default_factory=dict)
    _derived: dict[tuple[Language, int], Language] = field(default_factory=dict)
    _firsts: dict[Language, frozenset[CharSet]] = field(default_factory=dict)
    _work: int = 0

    @property
    def nothing(self) -> Language:
        """No text at all."""
        return self._made("nothing", nullable=False)

    @property
    def empty(self) -> Language:
        """The empty text only."""
        return self._made("empty", nullable=True)

    @property
    def everything(self) -> Language:
        """Every text."""
        return self.complement(self.nothing)

    def char(self, chars: CharSet) -> Language:
        """One character of a set."""
        return self._made("chars", chars=chars, nullable=False) if chars else self.nothing

    def text(self, text: str) -> Language:
        """One text."""
        return self.sequence([self.char(((ord(one), ord(one)),)) for one in text])

    def sequence(self, parts: Sequence[Language]) -> Language:
        """A concatenation."""
        result = self.empty
        for part in reversed(parts):
            result = self._pair(part, result)
        return result

    def union(self, parts: Iterable[Language]) -> Language:
        """The union."""
        members = self._members("choice", parts, leave_out=self.nothing)
        if self.everything in members:
            return self.everything
        if len(members) < 2:
            return members[0] if members else self.nothing
        return self._made("choice", members, nullable=any(one.nullable for one in members))

    def intersection(self, parts: Iterable[Language]) -> Language:
        """The intersection."""
        members = self._members("both", parts, leave_out=self.everything)
        if self.nothing in members:
            return self.nothing
        if len(members) < 2:
            return members[0] if members else self.everything
        return self._made("both", members, nullable=all(one.nullable for one in members))

    def complement(self, part: Language) -> Language:
        """The complement."""
        if part.kind == "no":
            return part.parts[0]
        return self._made("no", (part,), nullable=not part.nullable)

    def repeat(self, part: Language, least: int, most: int = -1) -> Language:
        """A repetition; ``most`` -1 is without limit."""
        if most == 0 or part.kind == "empty":
            return self.empty
        if part.kind == "nothing":
            return self.nothing if least else self.empty
        if least == most == 1:
            return part
        if part.nullable:
            least = 0
        if part.kind == "repeat" and part.counts == (0, -1):
            return part
        return self._made("repeat", (part,), counts=(least, most), nullable=least == 0)

    def multiple(self, of: int, decimals: int, rest: int = 0, written: int = -1) -> Language:
        """Decimal numbers that are multiples of ``of`` / 10 ** ``decimals``.

        Args:
            of: The numerator.
            decimals: The exponent.
            rest: Remainder of the digits before.
            written: Digits after the point so far; -1 without a point.
        """
        missing = decimals - max(written, 0)
        ends = written != 0 and rest * 10 ** max(missing, 0) % of == 0
        return self._made("multiple", counts=(of, decimals, rest, written), nullable=ends)

    def derived(self, one: Language, point: int) -> Language:
        """The derivative: what may follow in ``one`` after a character."""
        key = (one, point)
        if key not in self._derived:
            self._derived[key] = self._derive(one, point)
        return self._derived[key]

    def automaton(self, marked: Language, limit: int) -> list[DfaState] | None:
        """The automaton of the texts t with BEGIN t END in ``marked``; None when there are none.

        Raises:
            TooManyStates: It has more than ``limit`` states, or takes too long to find.
        """
        start = self.derived(marked, BEGIN)
        numbers, waiting = {start: 0}, [start]
        states: list[DfaState] = []
        for current in waiting:
            moves: dict[int, list[tuple[int, int]]] = {}
            for chars in self._classes(current):
                if self._work > _MOST_WORK:
                    raise TooManyStates
                after = self.derived(current, chars[0][0])
                if after.kind == "nothing":
                    continue
                if after not in numbers:
                    if len(numbers) >= limit:
                        raise TooManyStates
                    numbers[after] = len(numbers)
                    waiting.append(after)
                moves.setdefault(numbers[after], []).extend(chars)
            accepts = self.derived(current, END).nullable
            found = ((charset(chars), target) for target, chars in moves.items())
            states.append(DfaState(accepts, tuple(found)))
        return _alive(states)

    def _pair(self, first: Language, second: Language) -> Language:
        if "nothing" in (first.kind, second.kind):
            return self.nothing
        if first.kind == "empty":
            return second
        if second.kind == "empty":
            return first
        if first.kind == "pair":
            return self._pair(first.parts[0], self._pair(first.parts[1], second))
        nullable = first.nullable and second.nullable
        return self._made("pair", (first, second), nullable=nullable)

    def _members(
        self, kind: str, parts: Iterable[Language], leave_out: Language
    ) -> tuple[Language, ...]:
        flat = {one for part in parts for one in (part.parts if part.kind == kind else (part,))}
        self._work += len(flat)
        return tuple(sorted(flat - {leave_out}, key=lambda one: one.number))

    def _made(
        self,
        kind: str,
        parts: tuple[Language, ...] = (),
        *,
        chars: CharSet = (),
        counts: tuple[int, ...] = (),
        nullable: bool,
    ) -> Language:
        key = (kind, parts, chars, counts)
        if key not in self._known:
            number = len(self._known)
            self._known[key] = Language(kind, parts, chars, counts, nullable, number)
        return self._known[key]

    def _derive(  # noqa: PLR0911  one for each kind
        self, one: Language, point: int
    ) -> Language:
        match one.kind:
            case "chars":
                return self.empty if contains(one.chars, point) else self.nothing
            case "pair":
                first, second = one.parts
                after = self._pair(self.derived(first, point), second)
                if not first.nullable:
                    return after
                return self.union([after, self.derived(second, point)])
            case "choice":
                return self.union([self.derived(part, point) for part in one.parts])
            case "both":
                return self.intersection([self.derived(part, point) for part in one.parts])
            case "no":
                return self.complement(self.derived(one.parts[0], point))
            case "repeat":
                (part,), (least, most) = one.parts, one.counts
                left = self.repeat(part, max(least - 1, 0), most - 1 if most > 0 else -1)
                return self._pair(self.derived(part, point), left)
            case "multiple":
                return self._next_digit(*one.counts, point=point)
            case _:
                return self.nothing

    def _next_digit(
        self, of: int, decimals: int, rest: int, written: int, *, point: int
    ) -> Language:
        if point == ord("-") and written == -1 and rest == 0:
            return self.multiple(of, decimals, rest, written)
        if point == ord(".") and written == -1:
            return self.multiple(of, decimals, rest, 0)
        if not ord("0") <= point <= ord("9"):
            return self.nothing
        digit = point - ord("0")
        if written >= decimals:  # only zeros may follow
            return self.multiple(of, decimals, rest, max(written, 1)) if not digit else self.nothing
        after = written + 1 if written >= 0 else written
        return self.multiple(of, decimals, (rest * 10 + digit) % of, after)

    def _classes(self, one: Language) -> list[CharSet]:
        """Sets of characters, each with one derivative of ``one``."""
        sets = list(self._first(one))
        borders = sorted({edge for each in sets for low, high in each for edge in (low, high + 1)})
        groups: dict[frozenset[int], list[tuple[int, int]]] = {}
        for low, after in zip([0, *borders], [*borders, END + 1], strict=True):
            inside = frozenset(index for index, each in enumerate(sets) if contains(each, low))
            if low < after:
                groups.setdefault(inside, []).append((low, after - 1))
        found = (intersect(tuple(group), ANY) for group in groups.values())
        return [chars for chars in found if chars]

    def _first(self, one: Language) -> frozenset[CharSet]:
        if one not in self._firsts:
            self._firsts[one] = self._first_of(one)
        return self._firsts[one]

    def _first_of(self, one: Language) -> frozenset[CharSet]:
        if one.kind == "chars":
            return frozenset([one.chars])
        if one.kind == "multiple":
            points = [*range(ord("0"), ord("9") + 1), ord("."), ord("-")]
            return frozenset(((point, point),) for point in points)
        if one.kind == "pair" and not one.parts[0].nullable:
            return self._first(one.parts[0])
        return frozenset(chars for part in one.parts for chars in self._first(part))


def _alive(states: Sequence[DfaState]) -> list[DfaState] | None:
    """The states from which a text can end, renumbered."""
    before: list[list[int]] = [[] for _ in states]
    for number, state in enumerate(states):
        for _, target in state.moves:
            before[target].append(number)
    alive = {number for number, state in enumerate(states) if state.accepts}
    waiting = list(alive)
    while waiting:
        found = set(before[waiting.pop()]) - alive
        alive |= found
        waiting += found
    if 0 not in alive:
        return None
    numbers = {old: new for new, old in enumerate(sorted(alive))}
    return [
        DfaState(
            states[old].accepts,
            tuple((chars, numbers[to]) for chars, to in states[old].moves if to in numbers),
        )
        for old in sorted(alive)
    ]
