"""Selected text. Its coordinates name a line of an entry, not a position on the way from the top:
a position changes whenever an entry above turns out to be of another height.
"""

from __future__ import annotations

from typing import TypeAlias

from textual.geometry import Offset
from textual.selection import Selection

from tchat.sanitize import printable
from tchat.tui.widgets.transcript.column import Column
from tchat.tui.widgets.transcript.layout import GUTTER
from tchat.tui.widgets.transcript.lines import FORMULA, Line

_LINE_BITS = 24
_ALL = (1 << _LINE_BITS) - 1  # beyond the last line, and the last character

Spot: TypeAlias = tuple[int, int]
"""A line of an entry, and a character of it."""


def encoded(place: int, number: int) -> int:
    """The vertical coordinate of line ``number`` of the entry at ``place``."""
    return place << _LINE_BITS | number


def decoded(coordinate: int) -> tuple[int, int]:
    """The place of the entry and the number of the line behind a vertical coordinate."""
    return coordinate >> _LINE_BITS, coordinate & _ALL


def whole(place: int, height: int) -> Selection:
    """The selection of all lines of one entry but the empty one at its end."""
    return Selection(Offset(0, encoded(place, 0)), Offset(10**6, encoded(place, height - 2)))


def selected_text(column: Column, selection: Selection) -> str:
    """The text under ``selection``.

    Entries at its ends are copied as they are drawn, without bars and numbers of lines that were
    folded, but formulas as they were written; so are the entries between them.
    """
    if not len(column):
        return ""
    start, end = selection
    first, top = decoded(start.y) if start else (0, 0)
    last, bottom = decoded(end.y) if end else (len(column) - 1, _ALL)
    head, tail = (start.x if start else 0), (end.x if end else _ALL)
    if first >= len(column):  # it was drawn before the entries changed
        return ""
    if last >= len(column):
        last, bottom, tail = len(column) - 1, _ALL, _ALL
    if first == last:
        return _drawn(column, first, (top, head), (bottom, tail))
    between = [printable(column.entry(place).text).strip() for place in range(first + 1, last)]
    above = _drawn(column, first, (top, head), (_ALL, _ALL))
    below = _drawn(column, last, (0, 0), (bottom, tail))
    return "\n\n".join(part for part in (above, *between, below) if part)


def _drawn(column: Column, place: int, start: Spot, end: Spot) -> str:
    rows = list(column.layout(place).lines())
    top, bottom = start[0], min(end[0], len(rows) - 1)
    pieces: list[str] = []
    formula = None  # the one that the row before ended in
    for number in range(top, bottom + 1):
        begin = start[1] if number == top else 0
        stop = end[1] if number == end[0] else _ALL
        goes_on, piece, formula = _piece(rows[number], begin, stop, formula)
        pieces += [rows[number].joint if pieces and not goes_on else "", piece]
    return "\n".join(part.rstrip() for part in "".join(pieces).split("\n")).rstrip("\n")


def _piece(row: Line, begin: int, end: int, formula: object) -> tuple[bool, str, object]:
    """The characters ``begin`` to ``end`` of a drawn row that belong to its text.

    A formula counts as a whole, by its source, in the first row that it is in.

    Args:
        formula: The mark of the one that the row before ended in.

    Returns:
        Whether the row begins inside of that; the text; the formula that the row ends in.
    """
    first, last = max(begin - GUTTER, row.lead), max(0, end - GUTTER)
    last = min(len(row.text) - row.fill, last)
    parts: list[str] = []
    at, goes_on, ended = 0, False, None
    for text, style, _ in row.segments:
        piece = text[max(0, first - at) : max(0, last - at)]
        at += len(text)
        mark = style.meta.get(FORMULA) if style and style.meta else None
        if not piece:
            continue
        if mark is None:
            parts.append(piece)
        elif mark == (ended if parts else formula):
            goes_on = goes_on or not parts
        else:
            parts.append(mark[1])
        ended = mark
    return goes_on, "".join(parts), ended
