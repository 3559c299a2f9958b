"""Sizes, counts and times as text."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

from tchat.translation import tr

_BYTES = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))
_WEIGHTS = (("T", 10**12), ("B", 10**9), ("M", 10**6), ("k", 10**3))

_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?(?:([kmgt])(i)?)?b?", re.IGNORECASE)

ROUNDED_UP = 0.9995  # of a unit: else 999.6 kB would be written as 1000 kB


def size_text(size: int) -> str:
    """Bytes in decimal units: ``98 MB``, ``4.9 GB``; empty for 0."""
    return f"{_short(size, _BYTES, 'B', ' ')}" if size > 0 else ""


def parse_size(text: str) -> int:
    """The bytes that a text such as ``8GB``, ``700 MB``, ``1.5G`` or ``4 GiB`` means.

    Raises:
        ValueError: It means none.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    number, prefix, binary = match.groups()
    power = "kmgt".index(prefix.lower()) + 1 if prefix else 0
    return int(float(number) * (1024 if binary else 1000) ** power)


def count_text(count: int) -> str:
    """A number of weights as in model names: ``135M``, ``1.5B``; empty for 0."""
    return _short(count, _WEIGHTS, "", "") if count > 0 else ""


def _short(number: int, units: tuple[tuple[str, int], ...], smallest: str, gap: str) -> str:
    for unit, factor in units:
        if number >= factor * ROUNDED_UP:
            value = number / factor
            return f"{value:.1f}{gap}{unit}" if value < 9.95 else f"{value:.0f}{gap}{unit}"
    return f"{number}{gap}{smallest}"


def listed(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are: ``a, b and 3 more``."""
    shown = ", ".join(names[:most])
    if len(names) <= most:
        return shown
    return tr("{names} and {count:,} more", names=shown, count=len(names) - most)


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
        return f"{words} · {tr('{time} left', time=duration_text(left))}" if left >= 1 else words


def duration_text(seconds: float) -> str:
    """``9 s``, ``2 min 5 s``, ``1 h 20 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def measured_text(seconds: float) -> str:
    """A duration with two digits where it is short: ``0.04 s``, ``3.1 s``, ``38 s``."""
    if seconds < 1:
        return f"{seconds:.2g} s" if seconds >= 0.01 else "0.01 s"
    return f"{seconds:.1f} s" if seconds < 10 else duration_text(seconds)


def speed_text(rate: float) -> str:
    """Tokens per second as text: ``0.4``, ``3.1``, ``34``; empty for 0."""
    if rate <= 0:
        return ""
    return f"{rate:.0f}" if rate >= 9.95 else f"{rate:.1f}"


def rate_text(rate: float) -> str:
    """A decode speed with its unit: ``54 tok/s``, ``3.1 tok/s``."""
    return f"{speed_text(rate) or 0} tok/s"


def gigabytes(size: int) -> str:
    """Bytes of memory with two decimals: ``5.47 GB``."""
    return f"{size / 10**9:.2f} GB"


def when(seconds: float) -> str:
    """A time since the epoch in the local zone, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def clock_text(seconds: float) -> str:
    """Seconds as text: ``8 s``, ``1:05``."""
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 60 else f"{whole // 60}:{whole % 60:02}"
