"""Sizes, numbers of weights, and counts with their noun, as text."""

from __future__ import annotations

_BYTES = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))
_WEIGHTS = (("T", 10**12), ("B", 10**9), ("M", 10**6), ("k", 10**3))

ROUNDED_UP = 0.9995  # of a unit: else 999.6 kB would be written as 1000 kB


def size_text(size: int) -> str:
    """Bytes in decimal units: ``98 MB``, ``4.9 GB``; empty for 0."""
    return f"{_short(size, _BYTES, 'B', ' ')}" if size > 0 else ""


def count_text(count: int) -> str:
    """A number of weights as in model names: ``135M``, ``1.5B``; empty for 0."""
    return _short(count, _WEIGHTS, "", "") if count > 0 else ""


def _short(number: int, units: tuple[tuple[str, int], ...], smallest: str, gap: str) -> str:
    for unit, factor in units:
        if number >= factor * ROUNDED_UP:
            value = number / factor
            return f"{value:.1f}{gap}{unit}" if value < 9.95 else f"{value:.0f}{gap}{unit}"
    return f"{number}{gap}{smallest}"


def counted(count: int, one: str, more: str = "") -> str:
    """A count with its noun: ``1 reply``, ``1,200 replies``.

    Args:
        count: How many.
        one: The noun for one of them, with its verb where one follows: ``row is``.
        more: For any other count; empty adds an s.
    """
    return f"{count:,} {one if count == 1 else more or one + 's'}"
