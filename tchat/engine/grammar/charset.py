"""Sets of code points, as sorted disjoint ranges."""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections.abc import Iterable
from typing import TypeAlias

CharSet: TypeAlias = tuple[tuple[int, int], ...]

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
    """The set of all code points in ``ranges``, which may overlap."""
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


def minus(one: CharSet, other: CharSet) -> CharSet:
    """What is in ``one`` and not in ``other``."""
    left: list[tuple[int, int]] = []
    for low, high in one:
        start = low
        for first, last in other:
            if last < start or first > high:
                continue
            if first > start:
                left.append((start, first - 1))
            start = last + 1
        if start <= high:
            left.append((start, high))
    return tuple(left)


def common(one: CharSet, other: CharSet) -> CharSet:
    """What is in both."""
    return minus(one, minus(one, other))


def has(one: CharSet, point: int) -> bool:
    """Whether a code point is in the set."""
    return any(low <= point <= high for low, high in one)


def any_case(one: CharSet) -> CharSet:
    """The set with the other case of each of its letters; of large sets only ASCII's."""
    small = sum(high - low + 1 for low, high in one) <= 1000
    part = one if small else common(one, ((0, 0x7F),))
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
    """The characters of a Unicode general category; None for a name that is none."""
    name = name.removeprefix("General_Category=").removeprefix("gc=")
    if name == "ASCII":
        return ((0, 0x7F),)
    if name in ("Any", "Assigned"):
        return ANY if name == "Any" else minus(ANY, _category("Cn"))
    short = _LONG.get(name, name)
    known = short in _CATEGORIES or any(one[0] == short for one in _CATEGORIES)
    return _category(short) if known else None


@functools.cache
def _category(short: str) -> CharSet:
    """0.1 s, since the standard library has no table by category."""
    ranges: list[tuple[int, int]] = []
    start = -1
    for point in range(sys.maxunicode + 2):
        inside = point <= sys.maxunicode and unicodedata.category(chr(point)).startswith(short)
        if inside and start < 0:
            start = point
        elif not inside and start >= 0:
            ranges.append((start, point - 1))
            start = -1
    return common(tuple(ranges), ANY)
