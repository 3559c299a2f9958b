"""A table that grows row by row; its rows are wrapped again only when a column widens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.segment import Segment
from rich.style import Style

from tchat.tui.widgets.transcript.lines import Line, Palette, Read, line, prefixed, width, wrap

_BAR = re.compile(r"(?<!\\)\|")
_BETWEEN = " │ "
_CROSS = "─┼─"
# With a narrower column each cell gets a line of its own.
_NARROWEST = 5


@dataclass(frozen=True, slots=True)
class _Cell:
    segments: list[Segment]
    width: int


class Table:
    """The lines of a table of at most ``cells``, a pure function of its final source.

    A source that continues the one before costs little more than what was added. ``read`` turns the
    text of a cell into segments.
    """

    def __init__(self, read: Read, palette: Palette, cells: int) -> None:
        self._read = read
        self._palette = palette
        self._cells = cells
        self._source = ""
        self._forget()

    def _forget(self) -> None:
        self._widest: list[int] = []
        self._known: dict[str, list[_Cell]] = {}  # the rows by their source
        self._drawn: dict[str, list[Line]] = {}
        self._shape: tuple[list[int], list[str]] = ([], [])

    def lines(self, source: str, *, final: bool) -> list[Line]:
        """The table of ``source``: a header, a row of dashes, and the other rows.

        Until it is ``final``, columns only widen: the text of an unclosed mark is wider than what
        becomes of it.
        """
        if not source.startswith(self._source):
            self._forget()
        self._source = source
        header, dashes, *rest = source.split("\n")
        head = [_bold(cell) for cell in self._row(header)]
        rows = [(row, self._row(row)[: len(head)]) for row in rest]
        natural = _natural([head, *(cells for _, cells in rows)])
        if not final and len(self._widest) == len(natural):
            natural = list(map(max, natural, self._widest))
        self._widest = natural
        widths = _fitting(natural, self._cells)
        wanted = (min(wide, _NARROWEST) for wide in natural)
        if any(wide < least for wide, least in zip(widths, wanted, strict=True)):
            return self._stacked(head, [cells for _, cells in rows])
        sides = [_side(cell) for cell in _split(dashes)]
        if self._shape != (widths, sides):
            self._shape = (widths, sides)
            self._drawn.clear()
        lines = [*self._drawn_row(header, head), self._ruler(widths)]
        for row, cells in rows:
            lines += self._drawn_row(row, cells)
        return lines

    def _row(self, source: str) -> list[_Cell]:
        if source not in self._known:
            read = [self._read(text) for text in _split(source)]
            self._known[source] = [_Cell(segments, width(segments)) for segments in read]
        return self._known[source]

    def _drawn_row(self, source: str, cells: Sequence[_Cell]) -> list[Line]:
        if source not in self._drawn:
            self._drawn[source] = self._draw(cells)
        return self._drawn[source]

    def _draw(self, cells: Sequence[_Cell]) -> list[Line]:
        widths, sides = self._shape
        columns = [
            [cell.segments] if cell.width <= room else wrap(cell.segments, room)
            for cell, room in zip(cells, widths, strict=False)
        ]
        between = Segment(_BETWEEN, self._palette.rule)
        lines: list[Line] = []
        for parts in zip_longest(*columns, fillvalue=()):
            segments: list[Segment] = []
            for number, room in enumerate(widths):
                part = parts[number] if number < len(parts) else ()
                side = sides[number] if number < len(sides) else ""
                segments += [between] if number else []
                segments += self._aligned(part, room, side)
            lines.append(line(segments))
        return lines

    def _aligned(self, part: Sequence[Segment], room: int, side: str) -> list[Segment]:
        space = max(0, room - width(part))
        left = space if side == "right" else space // 2 if side == "center" else 0
        base = self._palette.base
        return [Segment(" " * left, base), *part, Segment(" " * (space - left), base)]

    def _ruler(self, widths: Sequence[int]) -> Line:
        return line([Segment(_CROSS.join("─" * room for room in widths), self._palette.rule)])

    def _stacked(self, head: Sequence[_Cell], rows: Sequence[Sequence[_Cell]]) -> list[Line]:
        """A line for each cell behind the name of its column, for a narrow screen."""
        lines: list[Line] = []
        indent = [Segment("  ", self._palette.base)]
        for row in rows or [head]:
            lines += [line([Segment("─" * min(3, self._cells), self._palette.rule)])]
            for name, cell in zip_longest(head, row, fillvalue=_Cell([], 0)):
                colon = [Segment(": ", self._palette.rule)] if rows else []
                wrapped = wrap([*name.segments, *colon, *cell.segments], max(2, self._cells - 2))
                lines += prefixed([line(wrapped[0])], []) + prefixed(map(line, wrapped[1:]), indent)
        return lines


def _bold(cell: _Cell) -> _Cell:
    bold = Style(bold=True)
    return _Cell(
        [Segment(text, (own or bold) + bold) for text, own, _ in cell.segments], cell.width
    )


def _split(row: str) -> list[str]:
    inner = row.strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return [part.strip().replace("\\|", "|") for part in _BAR.split(inner)]


def _side(dashes: str) -> str:
    if dashes.endswith(":"):
        return "center" if dashes.startswith(":") else "right"
    return ""


def _natural(rows: Sequence[Sequence[_Cell]]) -> list[int]:
    widths = [1] * len(rows[0])
    for row in rows:
        for number, cell in enumerate(row):
            widths[number] = max(widths[number], cell.width)
    return widths


def _fitting(widths: list[int], cells: int) -> list[int]:
    """``widths``, the widest ones cut, so that all fit into ``cells``."""
    room = cells - len(_BETWEEN) * (len(widths) - 1)
    if sum(widths) <= room:
        return widths
    least, most = 1, max(widths)
    while least < most:  # the greatest cut that fits
        middle = (least + most + 1) // 2
        if sum(min(wide, middle) for wide in widths) <= room:
            least = middle
        else:
            most = middle - 1
    return [min(wide, least) for wide in widths]
