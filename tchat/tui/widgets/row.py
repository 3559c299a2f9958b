"""One row of facts that folds where the terminal is narrow, and is drawn only when it changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from textual.content import Content
from textual.events import Resize
from textual.widget import Widget

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
