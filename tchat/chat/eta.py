"""Progress text with an ETA."""

from __future__ import annotations

import time
from collections.abc import Callable


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
