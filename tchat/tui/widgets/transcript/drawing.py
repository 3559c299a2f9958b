"""A line with its gutter as a strip; selected and found characters stand out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tchat.tui.widgets.transcript.entry import Entry
from tchat.tui.widgets.transcript.layout import GUTTER
from tchat.tui.widgets.transcript.lines import Line, line
from tchat.tui.widgets.transcript.palette import Palette

Span = tuple[int, int]  # characters of a row's text, from 0; the end is exclusive, -1 for all
Mark = tuple[Span, Style]

_BARS = {"user": "▌ ", "assistant": "  ", "system": "┆ ", "notice": "  ", "error": "┃ "}
_CURSOR_FIRST, _CURSOR = "❯ ", "│ "


def gutter(entry: Entry, number: int, *, cursor: bool, last: bool, palette: Palette) -> Segment:
    """What stands before line ``number`` of ``entry``: a bar that tells who speaks.

    Args:
        cursor: Whether the message cursor is on the entry.
        last: Whether it is the empty line below the entry.
    """
    if cursor:
        return Segment(_CURSOR if number else _CURSOR_FIRST, palette.cursor)
    styles = {"user": palette.user_bar, "error": palette.error, "system": palette.rule}
    bar = " " * GUTTER if last else _BARS[entry.role]
    return Segment(bar, palette.base if last else styles.get(entry.role, palette.base))


def words(query: str) -> re.Pattern[str] | None:
    """A pattern of the words of ``query`` in any case; None without a word."""
    parts = sorted(set(query.split()), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, parts)), re.IGNORECASE) if parts else None


def marked(segments: Sequence[Segment], span: Span, style: Style) -> list[Segment]:
    """``segments`` with ``style`` over the characters of ``span``."""
    begin, end = span
    drawn: list[Segment] = []
    at = 0
    for text, own, _ in segments:
        first = min(len(text), max(0, begin - at))
        last = len(text) if end < 0 else min(len(text), max(first, end - at))
        over = own + style if own else style
        drawn += [Segment(text[:first], own), Segment(text[first:last], over)]
        drawn.append(Segment(text[last:], own))
        at += len(text)
    return [part for part in drawn if part.text]


class StripCache:
    """Strips of lines that nothing marks, by the place they are drawn in."""

    def __init__(self, size: int = 512) -> None:
        self._size = size
        self._strips: dict[int, tuple[Line, Segment, int, Strip]] = {}

    def clear(self) -> None:
        """Forget all of them."""
        self._strips.clear()

    def strip(
        self,
        row: Line,
        bar: Segment,
        marks: Sequence[Mark],
        *,
        offset: int,
        cells: int,
        base: Style,
    ) -> Strip:
        """The strip of ``row`` behind ``bar``.

        Args:
            marks: Characters, those of the bar included, that stand out.
            offset: Its vertical coordinate for the selection of text, see `selection`.
            cells: Its width.
            base: Style of what is right of the row.
        """
        kept = self._strips.get(offset) if not marks else None
        if kept and kept[:3] == (row, bar, cells):
            return kept[3]
        segments = [bar, *row.segments]
        for span, style in marks:
            segments = marked(segments, span, style)
        drawn = Strip(segments).crop_extend(0, cells, base).apply_offsets(0, offset)
        if not marks:
            self._keep(offset, (row, bar, cells, drawn))
        return drawn

    def _keep(self, offset: int, strip: tuple[Line, Segment, int, Strip]) -> None:
        self._strips.pop(offset, None)
        self._strips[offset] = strip
        if len(self._strips) > self._size:
            del self._strips[next(iter(self._strips))]


def overlaid(strip: Strip, label: str, style: Style) -> Strip:
    """``strip`` with ``label`` over its middle, as far as it fits."""
    shown = line([Segment(label, style)])
    left = max(0, (strip.cell_length - shown.cells) // 2)
    right = min(strip.cell_length, left + shown.cells)
    pill = Strip(shown.segments).crop(0, right - left)
    return Strip.join([strip.crop(0, left), pill, strip.crop(right, strip.cell_length)])
