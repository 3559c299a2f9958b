"""Rows of facts: one row that folds in a narrow terminal, bars, and lists of properties."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, TypeAlias

from textual.content import Content
from textual.events import Resize
from textual.geometry import Size
from textual.widget import Widget

from tchat.sanitize import single_line
from tchat.translation import N_, tr

GAP = 2  # least cells between the two ends


class Part(NamedTuple):
    """A fact in a row.

    Attributes:
        forms: From the longest to the shortest; an empty last form leaves the fact out.
        keep: A priority for each form but the last: the smallest gives way first.
        lead: What separates it from the fact before it.
    """

    forms: tuple[Content, ...]
    keep: tuple[int, ...] = ()
    lead: str = " · "


def part(*texts: str, keep: tuple[int, ...] = (), lead: str = " · ", style: str = "") -> Part:
    """A part whose forms are ``texts`` in one style."""
    return Part(tuple(Content.styled(text, style) for text in texts), keep, lead)


Ends: TypeAlias = tuple[Sequence[Part], Sequence[Part]]


def fit(left: Sequence[Part], right: Sequence[Part], width: int) -> Content:
    """The parts on a row of ``width`` cells, at its two ends.

    Where they do not fit, the form with the smallest ``keep`` of all parts gives way first.
    """
    parts = [*left, *right]
    chosen = [0] * len(parts)
    steps = sorted((keep, index) for index, part in enumerate(parts) for keep in part.keep)
    while True:
        begin, end = _joined(left, chosen), _joined(right, chosen[len(left) :])
        gap = width - begin.cell_length - end.cell_length
        if gap >= GAP * bool(begin and end) or not steps:
            break
        chosen[steps.pop(0)[1]] += 1
    if gap < 0:
        return (begin + " " + end).truncate(width, ellipsis=True)
    return begin + " " * gap + end


def _joined(parts: Sequence[Part], chosen: Sequence[int]) -> Content:
    row = Content("")
    for part, form in zip(parts, chosen, strict=False):
        if content := part.forms[form]:
            row = row + part.lead + content if row else content
    return row


class Row(Widget):
    """A widget of one row; a subclass gives its parts."""

    DEFAULT_CSS = """
    Row { height: 1; padding: 0 1; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._ends: Ends = ((), ())
        self._row = Content("")

    def parts(self) -> Ends:
        """The parts of the left end and of the right end."""
        raise NotImplementedError

    def update_parts(self) -> None:
        """Show `parts` as they are now; the row is drawn only when it looks different."""
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

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._shown: Ends = ((), ())

    def show(self, left: Sequence[Part], right: Sequence[Part] = ()) -> None:
        """Show these parts at the two ends."""
        self._shown = left, right
        self.update_parts()

    def parts(self) -> Ends:
        """The parts that it was given."""
        return self._shown


FILLED, EMPTY = "━", "╌"
_FILLING, _NEARLY_FULL = 0.75, 0.9  # shares of the context


class Level(Enum):
    """How full the context is; the value is a variable of the theme and a word."""

    OK = ("$gauge-ok", "")
    FILLING = ("$gauge-warn", N_("! filling up"))
    NEARLY_FULL = ("$gauge-full", N_("!! nearly full"))
    OVER = ("$gauge-full", N_("✗ does not fit"))

    @property
    def colour(self) -> str:
        """The variable of the theme."""
        return self.value[0]

    @property
    def word(self) -> str:
        """The word behind its sign; empty for `OK`."""
        return self.value[1] and tr(self.value[1])

    @property
    def sign(self) -> str:
        """The sign alone."""
        return self.word.partition(" ")[0]


def level_of(used: int, context: int) -> Level:
    """The level of ``used`` tokens in a context of ``context`` tokens."""
    if used > context:
        return Level.OVER
    share = share_of(used, context)
    if share >= _NEARLY_FULL:
        return Level.NEARLY_FULL
    return Level.FILLING if share >= _FILLING else Level.OK


def share_of(used: int, context: int) -> float:
    """``used`` of ``context`` as 0..1; 0 without a context."""
    return min(1.0, max(0.0, used / context)) if context > 0 else 0.0


def bar(share: float, width: int) -> str:
    """A bar of ``width`` cells, filled to ``share`` (0..1), by at least a cell above 0."""
    filled = max(round(share * width), share > 0)
    return FILLED * filled + EMPTY * (width - filled)


def context_bar(used: int, context: int, width: int) -> Content:
    """The bar of a context, in the colour of its level, with the percentage behind it."""
    share = share_of(used, context)
    return Content.assemble((bar(share, width), level_of(used, context).colour), f" {share:.0%}")


BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float]) -> str:
    """One character for each value, from zero to the largest; NaN and infinity count as zero."""
    shown = [value if math.isfinite(value) and value > 0 else 0.0 for value in values]
    top = max(shown, default=0.0) or 1.0
    return "".join(BARS[round(value / top * (len(BARS) - 1))] for value in shown)


LONGEST = 400  # characters of a value
NAMES = 17  # cells of a name

Property: TypeAlias = tuple[str, str]


class Lines(Widget):
    """A widget as tall as its lines."""

    DEFAULT_CSS = "Lines { height: auto; padding: 0 1; }"

    def lines(self, width: int) -> list[Content]:
        """The lines, at most ``width`` cells wide."""
        raise NotImplementedError

    @property
    def plain(self) -> str:
        """The text of all lines."""
        return "\n".join(line.plain for line in self.lines(200))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """How many lines there are."""
        return len(self.lines(width))

    def render(self) -> Content:
        """The lines."""
        return Content("\n").join(self.lines(self.content_size.width))


class PropertyList(Lines):
    """Names and values; a long value is wrapped below its start."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._properties: Sequence[Property] = ()

    def show(self, properties: Sequence[Property]) -> None:
        """Show properties, raw; one without a name takes the whole width."""
        self._properties = properties
        self.refresh(layout=True)

    def lines(self, width: int) -> list[Content]:
        """The wrapped properties."""
        return property_lines(self._properties, width)


def property_lines(properties: Sequence[Property], width: int) -> list[Content]:
    """Names and values in lines of at most ``width`` cells."""
    return [line for each in properties for line in _lines(each, width)]


def _lines(row: Property, width: int) -> list[Content]:
    name, value = single_line(row[0]), single_line(row[1], LONGEST)
    indent = NAMES if name else 0
    first, *more = Content(value).wrap(max(10, width - indent)) or [Content("")]
    label = Content.styled(name, "$muted")
    label = label.pad_right(max(0, indent - label.cell_length))
    return [label + first, *(line.pad_left(indent) for line in more)]
