"""Sizes, counts and times as text."""

from __future__ import annotations

import time
from collections.abc import Callable

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


class Eta:
    """Progress text of a stage of work; asked again, the ETA counts down.

    Args:
        clock: Seconds, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage = ""
        self._began = self._moved = (0.0, 0)  # when, and how much was done

    def words(self, stage: str, done: int, total: int) -> str:
        """For example ``reading 12/80 · 40 s left``; a stage without a total has no count."""
        if not total:
            return stage
        now = self._clock()
        if stage != self._stage or done < self._moved[1]:
            self._stage, self._began, self._moved = stage, (now, done), (now, done)
        elif done > self._moved[1]:
            self._moved = now, done
        words = f"{stage} {done}/{total}"
        (began, first), (moved, _) = self._began, self._moved
        if done == first:
            return words
        left = (total - done) * (moved - began) / (done - first) - (now - moved)
        return f"{words} · {span(left)} left" if left >= 1 else words


def span(seconds: float) -> str:
    """For example ``40 s`` or ``3 min``."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
