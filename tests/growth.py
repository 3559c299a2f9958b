"""How time grows with size, as a ratio of processor times: a busy machine does not change it."""

from __future__ import annotations

import time
from collections.abc import Callable

ROUNDS = 3


def growth(work: Callable[[int], object], size: int, factor: int = 8) -> float:
    """How many times as much processor time an item costs at ``size`` as at ``size // factor``.

    1 is linear, ``factor`` is quadratic. Each is the least of three, since a first call may fill
    caches and the garbage collector may come in between.
    """
    return _least(work, size) / (_least(work, size // factor) * factor)


def _least(work: Callable[[int], object], size: int) -> float:
    seconds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work(size)
        seconds.append(time.process_time() - started)
    return max(min(seconds), 1e-4)  # below the clock's own steps
