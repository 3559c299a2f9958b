"""Ranges and multiples of decimal numbers, as regular languages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from tchat.engine.grammar.automata import Language, Languages
from tchat.engine.grammar.charset import charset

_MOST_DIGITS = 64
_MOST_DECIMALS = 20
_MOST_MULTIPLE = 1000  # states of the automaton
_EXACT_DIGITS = 15  # of a 64-bit float; with more a number could round to an excluded bound


class MultipleUnsupported(ValueError):
    """The multiple has too many digits for an automaton."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Inclusive or exclusive ends of a range, and what numbers must be multiples of."""

    lows: tuple[tuple[Decimal, bool], ...] = ()  # bound, whether it is excluded
    highs: tuple[tuple[Decimal, bool], ...] = ()
    multiples: tuple[Decimal, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it allows every number."""
        return not (self.lows or self.highs or self.multiples)

    @property
    def keeps_sign_only(self) -> bool:
        """Whether nothing but the sign is bound, so that exponents change nothing."""
        return not self.multiples and all(bound == 0 for bound, _ in (*self.lows, *self.highs))

    @property
    def within_reach(self) -> Bounds:
        """Without the ends that have more digits than a number is written with here."""
        lows, highs = (
            tuple(end for end in ends if end[0].adjusted() < _MOST_DIGITS)
            for ends in (self.lows, self.highs)
        )
        return replace(self, lows=lows, highs=highs)

    @property
    def without_multiples(self) -> Bounds:
        """The range alone."""
        return replace(self, multiples=())


def bounds_of(schemas: Iterable[Mapping[str, Any]]) -> Bounds:
    """What the schemas together ask of a number."""
    lows: list[tuple[Decimal, bool]] = []
    highs: list[tuple[Decimal, bool]] = []
    multiples: list[Decimal] = []
    for schema in schemas:
        for name, ends in (("inimum", lows), ("aximum", highs)):
            bound = schema.get("m" + name)
            exclusive = schema.get("exclusiveM" + name)
            if bound is not None:
                ends.append((decimal(bound), exclusive is True))  # a boolean in draft 4
            if exclusive is not None and not isinstance(exclusive, bool):
                ends.append((decimal(exclusive), True))
        if "multipleOf" in schema:
            multiples.append(decimal(schema["multipleOf"]))
    return Bounds(tuple(lows), tuple(highs), tuple(multiples))


def decimal(number: float) -> Decimal:
    """A JSON number as it was written."""
    return Decimal(repr(number))


@dataclass(slots=True)
class Numbers:
    """Builds the languages of numbers without exponents."""

    make: Languages

    def within(self, bounds: Bounds, *, integer: bool) -> Language:
        """The numbers, as JSON writes them, that ``bounds`` allow.

        Raises:
            MultipleUnsupported: See there.
        """
        parts = [self._syntax(bounds, integer=integer)]
        parts += [self._over(bound, excluded=out) for bound, out in bounds.lows]
        parts += [self._under(bound, excluded=out) for bound, out in bounds.highs]
        parts += [self._multiple(one) for one in bounds.multiples]
        return self.make.both(parts)

    def with_exponent(self, bounds: Bounds) -> Language:
        """As `within`, with an exponent behind; only where that keeps the sign only."""
        make, digits = self.make, self._digits
        exponent = make.sequence(
            [
                self._one("eE"),
                make.choice([make.empty, self._one("+-")]),
                digits(1, 2),
            ]
        )
        return make.sequence(
            [self.within(bounds, integer=False), make.choice([make.empty, exponent])]
        )

    def _syntax(self, bounds: Bounds, *, integer: bool) -> Language:
        make = self.make
        longest = _MOST_DIGITS if not bounds.multiples else _EXACT_DIGITS
        natural = make.choice(
            [self._one("0"), make.sequence([self._one("123456789"), self._digits(0, longest - 1)])]
        )
        sign = make.choice([make.empty, self._one("-")])
        if integer:
            return make.sequence([sign, natural])
        decimals = _MOST_DECIMALS
        ends = (*bounds.lows, *bounds.highs)
        if any(out and bound for bound, out in ends) or bounds.multiples:
            whole = max((len(str(abs(int(bound)))) for bound, _ in ends), default=1)
            decimals = max(1, _EXACT_DIGITS - whole)
        return make.sequence([sign, natural, self._fraction(self._digits(1, decimals))])

    def _over(self, bound: Decimal, *, excluded: bool) -> Language:
        make = self.make
        if bound > 0 or (bound == 0 and excluded):
            return self._least(bound, excluded=excluded)
        if bound == 0:  # without -0
            return self._unsigned()
        negative = make.sequence(
            [self._one("-"), self._most(bound.copy_negate(), excluded=excluded)]
        )
        return make.choice([negative, self._unsigned()])

    def _under(self, bound: Decimal, *, excluded: bool) -> Language:
        make = self.make
        if bound > 0 or (bound == 0 and not excluded):
            anything = make.sequence([self._one("-"), self._unsigned()])
            return make.choice([anything, self._most(bound, excluded=excluded)])
        return make.sequence([self._one("-"), self._least(bound.copy_negate(), excluded=excluded)])

    def _multiple(self, of: Decimal) -> Language:
        numerator, exponent = int(of.scaleb(-_exponent(of))), _exponent(of)
        if exponent > 0:
            numerator, exponent = numerator * 10**exponent, 0
        if numerator > _MOST_MULTIPLE or -exponent > _EXACT_DIGITS:
            raise MultipleUnsupported(str(of))
        return self.make.multiple(numerator, -exponent)

    def _least(self, bound: Decimal, *, excluded: bool) -> Language:
        """Unsigned numbers from ``bound`` on."""
        make, (whole, rest) = self.make, _digits_of(bound)
        longer = make.sequence([self._one("123456789"), self._digits(len(whole), -1)])
        fraction = self._fraction(self._digits(1, -1))
        branches = [make.sequence([longer, fraction])]
        for place, digit in enumerate(whole):
            above = self._between(int(digit) + 1, 9)
            head = make.text(whole[:place])
            tail = self._digits(len(whole) - place - 1, len(whole) - place - 1)
            branches.append(make.sequence([head, above, tail, fraction]))
        zeros, any_digits = make.repeat(self._one("0"), 0), self._digits(0, -1)
        some = make.sequence([zeros, self._between(1, 9), self._digits(0, -1)])
        exact = make.text(rest)
        more = [
            make.sequence([make.text(rest[:place]), self._between(int(d) + 1, 9), any_digits])
            for place, d in enumerate(rest)
        ]
        more.append(make.sequence([exact, some if excluded else self._digits(0, -1)]))
        behind = make.sequence([self._one("."), make.choice(more)])
        if not rest and not excluded:
            behind = make.choice([make.empty, behind])
        branches.append(make.sequence([make.text(whole), behind]))
        return make.choice(branches)

    def _most(self, bound: Decimal, *, excluded: bool) -> Language:
        """Unsigned numbers up to ``bound``."""
        make, (whole, rest) = self.make, _digits_of(bound)
        fraction = self._fraction(self._digits(1, -1))
        branches = []
        if len(whole) > 1:
            shorter = make.sequence([self._one("123456789"), self._digits(0, len(whole) - 2)])
            branches.append(make.sequence([make.choice([self._one("0"), shorter]), fraction]))
        for place, digit in enumerate(whole):
            lowest = 1 if place == 0 and len(whole) > 1 else 0
            below = self._between(lowest, int(digit) - 1)
            tail = self._digits(len(whole) - place - 1, len(whole) - place - 1)
            branches.append(make.sequence([make.text(whole[:place]), below, tail, fraction]))
        zeros, any_digits = make.repeat(self._one("0"), 0), self._digits(0, -1)
        less = [
            make.sequence([make.text(rest[:place]), self._between(0, int(d) - 1), any_digits])
            for place, d in enumerate(rest)
        ]
        less += [make.text(rest[:place]) for place in range(1, len(rest))]
        if not excluded:
            less.append(make.sequence([make.text(rest), zeros]))
        behind = make.sequence([self._one("."), make.choice(less)])
        if rest or not excluded:
            behind = make.choice([make.empty, behind])
        branches.append(make.sequence([make.text(whole), behind]))
        return make.choice(branches)

    def _unsigned(self) -> Language:
        return self.make.sequence([self._one("0123456789"), self.make.everything])

    def _fraction(self, digits: Language) -> Language:
        make = self.make
        return make.choice([make.empty, make.sequence([self._one("."), digits])])

    def _digits(self, least: int, most: int) -> Language:
        return self.make.repeat(self._one("0123456789"), least, most)

    def _between(self, low: int, high: int) -> Language:
        return self._one("0123456789"[low : high + 1])

    def _one(self, characters: str) -> Language:
        return self.make.of(charset((ord(one), ord(one)) for one in characters))


def _exponent(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def _digits_of(bound: Decimal) -> tuple[str, str]:
    """The digits before and behind the point, the latter without trailing zeros."""
    whole, _, rest = format(bound, "f").partition(".")
    return str(int(whole)), rest.rstrip("0")
