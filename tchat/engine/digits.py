"""Ranges of integers, as GBNF."""

from __future__ import annotations

_MAX_DIGITS = 16


def integers(low: int | None, high: int | None) -> str:
    """The integers from ``low`` to ``high``, as digits; None is open, to 16 digits."""
    limit = 10**_MAX_DIGITS - 1
    low = -max(limit, abs(high or 0)) if low is None else low
    high = max(limit, abs(low)) if high is None else high
    branches = []
    if low < 0:
        branches.append(f'"-" ({_naturals(max(1, -high), -low)})')
    if high >= 0:
        branches.append(_naturals(max(0, low), high))
    return " | ".join(branches)


def _naturals(low: int, high: int) -> str:
    """Integers from ``low`` to ``high``, both at least 0, without leading zeros."""
    branches = []
    for digits in range(len(str(low)), len(str(high)) + 1):
        first = max(low, 10 ** (digits - 1) if digits > 1 else 0)
        last = min(high, 10**digits - 1)
        branches.append(_same_length(str(first), str(last)))
    return " | ".join(branches)


def _same_length(low: str, high: str) -> str:
    """Digit strings from ``low`` to ``high``, which have the same length."""
    rest = len(low) - 1
    if not low.strip("0") and not high.strip("9"):
        return "[0-9]" + (f"{{{len(low)}}}" if rest else "")
    if not rest:
        return f"[{low}-{high}]"
    if low[0] == high[0]:
        return f'"{low[0]}" ({_same_length(low[1:], high[1:])})'
    branches = []
    first, last = int(low[0]), int(high[0])
    if low[1:].strip("0"):
        branches.append(f'"{first}" ({_same_length(low[1:], "9" * rest)})')
        first += 1
    if high[1:].strip("9"):
        last -= 1
    if first <= last:
        branches.append(f"[{first}-{last}] [0-9]{{{rest}}}")
    if high[1:].strip("9"):
        branches.append(f'"{high[0]}" ({_same_length("0" * rest, high[1:])})')
    return " | ".join(branches)
