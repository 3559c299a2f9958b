"""A row of small bars for values over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """The last ``width`` of ``values``, one character each, from zero to the largest of them.

    What is negative or no number is drawn as zero.
    """
    shown = [value if math.isfinite(value) and value > 0 else 0.0 for value in values[-width:]]
    if width <= 0 or not shown:
        return ""
    top = max(shown)
    if top == 0:
        return BARS[0] * len(shown)
    return "".join(BARS[round(value / top * (len(BARS) - 1))] for value in shown)
