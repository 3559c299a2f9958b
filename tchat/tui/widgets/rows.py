"""Rows of facts: one row that folds in a narrow terminal, bars, and lists of properties."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from textwrap import wrap
from typing import NamedTuple, TypeAlias

from textual.content import Content
from textual.events import Resize
from textual.geometry import Size
from textual.widget import Widget

from tchat.sanitize import single_line

GAP = 2  # least cells between the two ends


class Part(NamedTuple):
    """A fact on a row.

    Attributes:
        forms: From the longest to the shortest; an empty last form leaves the fact out.
        keep: For each form but the last, how long it is kept: the smaller goes first.
        lead: What parts it from the fact before it.
    """

    forms: tuple[Content, ...]
    keep: tuple[int, ...] = ()
    lead: str = " · "


Ends: TypeAlias = tuple[Sequence[Part], Sequence[Part]]


def fit(left: Sequence[Part], right: Sequence[Part], width: int) -> Content:
    """The parts on a row of ``width`` cells, at its two ends.

    Where they do not fit, the forms with the smallest ``keep`` among all parts give way first.
    """
    parts = [*left, *right]
    chosen = [0] * len(parts)
    steps = sorted((keep, index) for index, part in enumerate(parts) for keep in part.keep)
    while _width(left, right, chosen) > width and steps:
        chosen[steps.pop(0)[1]] += 1
    begin, end = _joined(left, chosen), _joined(right, chosen[len(left) :])
    gap = width - begin.cell_length - end.cell_length
    if gap < 0:
        return (begin + " " + end).truncate(width, ellipsis=True)
    return begin + " " * gap + end


def _width(left: Sequence[Part], right: Sequence[Part], chosen: Sequence[int]) -> int:
    begin, end = _joined(left, chosen), _joined(right, chosen[len(left) :])
    return begin.cell_length + end.cell_length + GAP * bool(begin and end)


def _joined(parts: Sequence[Part], chosen: Sequence[int]) -> Content:
    row = Content("")
    for part, form in zip(parts, chosen, strict=False):
        if content := part.forms[form]:
            row = row + part.lead + content if row else content
    return row


class Row(Widget):
    """A widget of one row; a subclass says what is in it."""

    DEFAULT_CSS = """
    Row { height: 1; padding: 0 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._ends: Ends = ((), ())
        self._row = Content("")

    def parts(self) -> Ends:
        """What stands at the left end and at the right end."""
        raise NotImplementedError

    def update_parts(self) -> None:
        """Show `parts` as they are now; draws only when the row looks different."""
        self._ends = self.parts()
        self._fit()

    def render(self) -> Content:
        """The row as it was fitted."""
        return self._row

    def on_resize(self, _: Resize) -> None:
        """Fold or unfold."""
        self._fit()

    def _fit(self) -> None:
        row = fit(*self._ends, self.content_size.width)
        if not row.is_same(self._row):
            self._row = row
            self.refresh()


class PartsRow(Row):
    """A row of the parts that it is given."""

    def __init__(self, parts: Sequence[Part] = (), *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._parts = parts
        self.update_parts()

    def show(self, parts: Sequence[Part]) -> None:
        """Show these at the left end."""
        self._parts = parts
        self.update_parts()

    def parts(self) -> Ends:
        """Those it was given."""
        return self._parts, ()


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


LONGEST = 400  # characters of a value
NAMES = 17  # cells of a name

Property: TypeAlias = tuple[str, str]


class Lines(Widget):
    """A widget of as many lines as it needs."""

    DEFAULT_CSS = "Lines { height: auto; padding: 0 1; }"

    def lines(self, width: int) -> list[Content]:
        """What is shown, in lines of at most ``width`` cells."""
        raise NotImplementedError

    @property
    def plain(self) -> str:
        """All that is shown, as text."""
        return "\n".join(line.plain for line in self.lines(200))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """How many lines there are."""
        return len(self.lines(width))

    def render(self) -> Content:
        """The lines."""
        return Content("\n").join(self.lines(self.content_size.width))


class PropertyList(Lines):
    """Names and values; a long value goes on beneath its beginning."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._properties: Sequence[Property] = ()

    def show(self, properties: Sequence[Property]) -> None:
        """Show these, raw; one without a name takes the whole width."""
        self._properties = properties
        self.refresh(layout=True)

    def lines(self, width: int) -> list[Content]:
        """Each property in as many lines as it needs."""
        return property_lines(self._properties, width)


def property_lines(properties: Sequence[Property], width: int) -> list[Content]:
    """Names and values in lines of at most ``width`` cells."""
    return [line for each in properties for line in _lines(each, width)]


def _lines(row: Property, width: int) -> list[Content]:
    """A property in as many lines as it needs."""
    name, value = single_line(row[0]), single_line(row[1], LONGEST)
    indent = NAMES if name else 0
    first, *more = wrap(value, max(10, width - indent)) or [""]
    begun = Content.assemble((f"{name:<{indent}}", "$muted"), first)
    return [begun, *(Content(" " * indent + line) for line in more)]
