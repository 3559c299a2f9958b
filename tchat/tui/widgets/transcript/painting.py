"""The column of entries as strips: its colours, the cursor, what is selected and what was found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

from tchat.humanize import counted
from tchat.tui.widgets.transcript.drawing import Mark, StripCache, gutter, overlaid
from tchat.tui.widgets.transcript.entry import Entry, Key
from tchat.tui.widgets.transcript.footer import action_bar
from tchat.tui.widgets.transcript.layout import GUTTER
from tchat.tui.widgets.transcript.lines import Line, cut, line
from tchat.tui.widgets.transcript.palette import palette_of
from tchat.tui.widgets.transcript.scrolling import ColumnView
from tchat.tui.widgets.transcript.selection import encoded

PILL = "pill"  # the key in a style's meta data that tells the pill


class Painter:
    """Paints the rows of a view in the colours of the style sheet.

    Args:
        view: What is painted.
        code_theme: A theme of Pygments for code; empty: one for a dark or a light theme.

    Attributes:
        cursor: The entry that the message cursor is on.
        found: The entry in which something was searched, and what.
    """

    def __init__(self, view: ColumnView, code_theme: str) -> None:
        self.cursor: Key | None = None
        self.found: tuple[Key, re.Pattern[str]] | None = None
        self._view = view
        self._code_theme = code_theme
        self._strips = StripCache()

    def update_palette(self) -> None:
        """Take the colours of the style sheet."""
        view = self._view
        palette = palette_of(view, self._code_theme)
        if palette != view.column.form.palette:
            self._strips.clear()
            view.reformat(replace(view.column.form, palette=palette))

    def paint(self, crop: Region) -> list[Strip]:
        """The strips of the rows in ``crop``.

        Textual's own way makes new strips whenever a row moves, which takes three quarters of the
        time of a flush; these are kept with all that was ever worked out about them.
        """
        filters, background = self._view.get_line_filters(), self._view.background_colors[1]
        strips: list[Strip] = []
        for strip in self.strips(crop.y, crop.height):
            for each in filters:
                strip = strip.apply_filter(each, background)  # noqa: PLW2901
            strips.append(strip.crop(*crop.column_span))
        return strips

    def strips(self, first: int, count: int) -> Iterator[Strip]:
        """The strips of ``count`` rows of the view from ``first`` on."""
        view = self._view
        palette, width, last = view.column.form.palette, view.size.width, view.size.height - 1
        rows = view.column.lines(view.scroll_offset.y + first)
        for y in range(first, first + count):
            row = next(rows, None)
            strip = self._strip(*row, width) if row else Strip.blank(width, palette.base)
            if view.unseen and y == last:
                style = palette.pill + Style(meta={PILL: True})
                strip = overlaid(strip, f" ↓ {counted(view.unseen, 'new line')} ", style)
            yield strip

    def _strip(self, place: int, number: int, row: Line, width: int) -> Strip:
        column = self._view.column
        layout, form = column.layout(place), column.form
        entry, last = layout.entry, number == layout.height - 1
        cursor = entry.key == self.cursor
        if cursor and last:
            row = line(cut(action_bar(entry, form.palette), form.cells))
        bar = gutter(entry, number, cursor=cursor, last=last, palette=form.palette)
        offset = encoded(place, number)
        marks = [*self._hits(entry, row), *self._selected(offset)]
        return self._strips.strip(
            row, bar, marks, offset=offset, cells=width, base=form.palette.base
        )

    def _hits(self, entry: Entry, row: Line) -> Iterator[Mark]:
        if self.found and self.found[0] == entry.key:
            hit = self._view.column.form.palette.hit
            for match in self.found[1].finditer(row.text):
                yield (GUTTER + match.start(), GUTTER + match.end()), hit

    def _selected(self, offset: int) -> Iterator[Mark]:
        selection = self._view.text_selection
        if selection and (span := selection.get_span(offset)) is not None:
            begin, end = span
            yield (max(begin, GUTTER), end), self._view.column.form.palette.selection
