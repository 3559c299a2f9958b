"""The columns of a fuzzy list that is a table: a head, and columns that leave by importance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.widget import Widget

GAP = "  "
LEAST_NAME, LEAST_LAST = 20, 12  # cells before a column is left out
EASY_NAME, EASY_LAST = 28, 24  # cells before one is left out that is less important than the last
SIGN = 2  # cells behind the title for the sign of the order
SPREAD = 3  # cells that a column gets on top where there is room


class TableColumn(NamedTuple):
    """A column of a table.

    Attributes:
        title: In the head; translated.
        keep: Where there is no room, the column with the smallest leaves first.
        is_right: Whether it is aligned to the right.
        key: Given by a click on the head; empty where that does nothing.
        parts: What separates the parts of its texts, which are shown whole or not at all.
    """

    title: str
    keep: int = 0
    is_right: bool = False
    key: str = ""
    parts: str = ""


def share_width(
    columns: Sequence[TableColumn], longest: Sequence[int], room: int
) -> tuple[int, ...]:
    """The cells of each column in a line of ``room`` cells; 0 for one that is left out.

    The first column is never left out. The last one, then the first one shrink before another is,
    by little for one that is less important than the last, else by much. ``longest`` holds the
    cells of the longest text of each.
    """
    natural = [
        max(cells, cell_len(column.title) + SIGN * bool(column.key)) if cells else 0
        for column, cells in zip(columns, longest, strict=True)
    ]
    kept = [place for place, cells in enumerate(natural) if cells or not place]
    while True:
        spare = room - sum(natural[place] for place in kept) - len(GAP) * (len(kept) - 1)
        last = kept[-1] if len(kept) > 1 and kept[-1] == len(columns) - 1 else None
        is_easy = last is not None and any(
            columns[place].keep < columns[last].keep for place in kept[1:]
        )
        least = EASY_LAST if is_easy else LEAST_LAST
        can_give = natural[-1] - min(natural[-1], least) if last is not None else 0
        name_gives = natural[0] - min(natural[0], EASY_NAME if is_easy else LEAST_NAME)
        if spare + can_give + name_gives >= 0 or len(kept) == 1:
            break
        kept.remove(min(kept[1:], key=lambda place: columns[place].keep))
    widths = [cells if place in kept else 0 for place, cells in enumerate(natural)]
    if spare < 0:
        given = min(-spare, can_give)
        if last is not None:
            widths[last] -= given
        widths[0] = max(0, min(widths[0] + spare + given, room))
    elif len(kept) > 1:
        more = min(SPREAD, spare // len(kept))
        widths = [cells + more if cells else 0 for cells in widths]
    return tuple(widths)


def aligned(text: str, cells: int, column: TableColumn | None) -> str:
    """``text`` in exactly ``cells``, on the side of its column."""
    cut = text
    if cell_len(text) > cells:
        cut = _shortened(text, cells, column.parts if column is not None else "")
    space = " " * (cells - cell_len(cut))
    return space + cut if column is not None and column.is_right else cut + space


def _shortened(text: str, cells: int, separator: str) -> str:
    """As much of ``text`` as fits; with ``separator`` only whole parts of it, else whole words."""
    for between in (separator, " ") if separator else ():
        found = text.split(between)
        while len(found) > 1:
            found.pop()
            kept = between.join(found)
            if cell_len(kept) <= cells:
                return f"{kept} …" if cell_len(kept) + 2 <= cells else kept
    return set_cell_size(text, cells - 1).rstrip() + "…" if cells > 0 else ""


class ListHead(Widget):
    """The titles above the columns; a click on one posts its key."""

    DEFAULT_CSS = """
    ListHead { height: 1; color: $muted; text-style: bold; }
    """

    @dataclass
    class Clicked(Message, namespace="fuzzy_list"):
        """The head of the column with this key was clicked."""

        key: str

    def __init__(self, columns: Sequence[TableColumn]) -> None:
        super().__init__()
        self._columns = columns
        self._widths: Sequence[int] = ()
        self._indent = 0
        self._sorted = ("", "")

    def show(self, widths: Sequence[int], indent: int) -> None:
        """Show the titles above columns of these widths, behind ``indent`` cells."""
        self._widths, self._indent = widths, indent
        self.refresh()

    def mark(self, key: str, sign: str) -> None:
        """Put ``sign`` behind the title of the column that the rows are sorted by."""
        self._sorted = (key, sign)
        self.refresh()

    def render(self) -> Content:
        """The titles."""
        key, sign = self._sorted
        line = Content(" " * self._indent)
        for place, (column, cells) in enumerate(zip(self._columns, self._widths, strict=False)):
            if not cells:
                continue
            is_marked = bool(key) and column.key == key
            text = aligned(column.title + sign if is_marked else column.title, cells, column)
            lead = GAP if place else ""
            line = line + lead + Content.styled(text, "$heading" if is_marked else "")
        return line

    def on_click(self, event: Click) -> None:
        """Post the key of the column that was clicked."""
        begin = self._indent
        for column, cells in zip(self._columns, self._widths, strict=False):
            if begin <= event.x < begin + cells and column.key:
                self.post_message(self.Clicked(column.key))
            begin += cells + len(GAP) * bool(cells)
