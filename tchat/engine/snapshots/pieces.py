"""The pieces that a state is saved in, and saving them while the prompt is still being read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

MORE = 16  # tokens; for fewer, no file is added
PIECE = 512  # tokens of a segment; between two of them writing can be broken off
SHARE = 0.05  # of the time that reading a prompt takes, for saving it meanwhile
GUESS = 0.1  # seconds that a piece takes to save, as long as none was


def spans(start: int, stop: int, head: int) -> Iterator[tuple[int, int]]:
    """Spans from ``start`` to ``stop`` that end at multiples of `PIECE`, and at ``head``."""
    while start < stop:
        end = min(stop, (start // PIECE + 1) * PIECE)
        if start + MORE <= head < end:
            end = head
        yield start, end
        start = end


@dataclass(slots=True)
class SaveProgress:
    """What was saved of a prompt while it is read, and what that took.

    Attributes:
        stop: Tokens that are saved, or that it was tried for.
    """

    stop: int = 0
    _started: float = field(default_factory=time.perf_counter)
    _spent: float = 0.0
    _last: float = GUESS

    @property
    def affordable(self) -> bool:
        """Whether saving one more piece takes little of the time so far."""
        read = time.perf_counter() - self._started - self._spent
        return self._spent + self._last <= SHARE * read

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time that saving a piece takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._last = time.perf_counter() - started
            self._spent += self._last
