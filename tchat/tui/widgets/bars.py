"""Bars: how full the context is, with a word beside the colour, and a sparkline of speeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum

from textual.content import Content

FILLED, EMPTY = "━", "╌"
# From these shares of the context on.
_FILLING, _NEARLY_FULL = 0.75, 0.9


class Level(Enum):
    """How near the context is to overflowing; the value is the theme's colour and the word."""

    OK = ("$gauge-ok", "")
    FILLING = ("$gauge-warn", "! filling up")
    NEARLY_FULL = ("$gauge-full", "!! nearly full")
    OVER = ("$gauge-full", "✗ does not fit")

    @property
    def colour(self) -> str:
        """Name of the theme's variable."""
        return self.value[0]

    @property
    def word(self) -> str:
        """What is said of it, with a sign in front; empty while all is well."""
        return self.value[1]

    @property
    def sign(self) -> str:
        """The sign alone, for narrow rows."""
        return self.word.partition(" ")[0]


def level_of(used: int, context: int) -> Level:
    """The level of ``used`` tokens in a context of ``context``; both are token counts."""
    if used > context:
        return Level.OVER
    share = share_of(used, context)
    if share >= _NEARLY_FULL:
        return Level.NEARLY_FULL
    return Level.FILLING if share >= _FILLING else Level.OK


def share_of(used: int, context: int) -> float:
    """``used`` of ``context`` as 0..1; 0 where there is no context."""
    return min(1.0, max(0.0, used / context)) if context > 0 else 0.0


def bar(share: float, width: int) -> str:
    """A bar of ``width`` cells, the ``share`` (0..1) of it filled; any share above 0 shows."""
    filled = round(share * width)
    if share > 0 and width:
        filled = max(1, filled)
    return FILLED * filled + EMPTY * (width - filled)


def context_bar(used: int, context: int, width: int) -> Content:
    """The bar of a context, in the colour of its level, with the percentage behind it."""
    share = share_of(used, context)
    colour = level_of(used, context).colour
    return Content.assemble((bar(share, width), colour), f" {share:.0%}")


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
