"""The column of entries as strips: its colours, the cursor, what is selected and what was found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from rich.style import Style
from textual.geometry import Region
from textual.selection import Selection
from textual.strip import Strip

from tchat.plural import counted
from tchat.tui.widgets.transcript.drawing import Mark, StripCache, gutter, overlaid
from tchat.tui.widgets.transcript.entry import Entry, Key
from tchat.tui.widgets.transcript.footer import action_bar
from tchat.tui.widgets.transcript.layout import GUTTER
from tchat.tui.widgets.transcript.lines import Line, cut, line
from tchat.tui.widgets.transcript.palette import COMPONENTS, palette_of
from tchat.tui.widgets.transcript.scrolling import ColumnView
from tchat.tui.widgets.transcript.selection import encoded, selected_text

PILL = "pill"  # the key in a style's meta data that tells the pill


class PaintedColumn(ColumnView):
    """A `ColumnView` that paints its rows in the colours of the style sheet."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(COMPONENTS)
    DEFAULT_CSS = """
    PaintedColumn {
        height: 1fr;
        background: $background;
        color: $assistant;
        overflow: hidden auto;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;
        & > .transcript--user { color: $foreground; background: $user-background; }
        & > .transcript--user-bar { color: $user; background: $user-background; text-style: bold; }
        & > .transcript--system { color: $muted; text-style: italic; }
        & > .transcript--reasoning { color: $reasoning; text-style: italic; }
        & > .transcript--muted { color: $muted; }
        & > .transcript--notice { color: $notice; }
        & > .transcript--error { color: $text-error; }
        & > .transcript--heading { color: $primary; text-style: bold; }
        & > .transcript--bullet { color: $primary; }
        & > .transcript--link { color: $link; text-style: underline; }
        & > .transcript--quote { color: $muted; }
        & > .transcript--rule { color: $muted 60%; }
        & > .transcript--inline-code { color: $code; background: $code-background; }
        & > .transcript--code { color: $code; background: $code-background; }
        & > .transcript--code-header { color: $muted; background: $code-background; }
        & > .transcript--action { color: $link; text-style: underline; }
        & > .transcript--cursor { color: $accent; text-style: bold; }
        & > .transcript--hit { color: $background; background: $match; text-style: bold underline; }
        & > .transcript--pill { color: $background; background: $accent; text-style: bold; }
        & > .transcript--selection { color: $selection; background: $selection-background; }
    }
    """

    def __init__(
        self,
        *,
        code_theme: str,
        name: str | None = None,
        id: str | None = None,  # noqa: A002
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._code_theme = code_theme
        self._strips = StripCache()
        self._cursor: Key | None = None
        self._found: tuple[Key, re.Pattern[str]] | None = None

    def on_mount(self) -> None:
        """Take the colours of the style sheet."""
        self._take_palette()

    def notify_style_update(self) -> None:
        """The style sheet changed: take its colours once the parts have theirs, which is next."""
        super().notify_style_update()
        if self.is_mounted:
            self.call_next(self._take_palette)

    def _take_palette(self) -> None:
        palette = palette_of(self, self._code_theme)
        if palette != self._column.form.palette:
            self._strips.clear()
            self._reformat(replace(self._column.form, palette=palette))

    def render_lines(self, crop: Region) -> list[Strip]:
        """The strips of the rows in ``crop``.

        Textual's own way makes new strips whenever a row moves, which takes three quarters of the
        time of a flush; these are kept with all that was ever worked out about them.
        """
        if any(self.styles.gutter) or self.opacity < 1:
            return super().render_lines(crop)
        filters, background = self.get_line_filters(), self.background_colors[1]
        strips: list[Strip] = []
        for strip in self._strips_of(crop.y, crop.height):
            for each in filters:
                strip = strip.apply_filter(each, background)  # noqa: PLW2901
            strips.append(strip.crop(*crop.column_span))
        return strips

    def render_line(self, y: int) -> Strip:
        """The strip of row ``y`` of the view."""
        return next(self._strips_of(y, 1))

    def _strips_of(self, first: int, count: int) -> Iterator[Strip]:
        palette, width, last = self._column.form.palette, self.size.width, self._rows - 1
        rows = self._column.lines(self._top + first)
        for y in range(first, first + count):
            row = next(rows, None)
            strip = self._strip(*row, width) if row else Strip.blank(width, palette.base)
            if self._unseen and y == last:
                style = palette.pill + Style(meta={PILL: True})
                strip = overlaid(strip, f" ↓ {counted(self._unseen, 'new line')} ", style)
            yield strip

    def _strip(self, place: int, number: int, row: Line, width: int) -> Strip:
        layout, form = self._column.layout(place), self._column.form
        entry, last = layout.entry, number == layout.height - 1
        cursor = entry.key == self._cursor
        if cursor and last:
            row = line(cut(action_bar(entry, form.palette), form.cells))
        bar = gutter(entry, number, cursor=cursor, last=last, palette=form.palette)
        offset = encoded(place, number)
        marks = [*self._hits(entry, row), *self._selected(offset)]
        return self._strips.strip(
            row, bar, marks, offset=offset, cells=width, base=form.palette.base
        )

    def _hits(self, entry: Entry, row: Line) -> Iterator[Mark]:
        if self._found and self._found[0] == entry.key:
            for match in self._found[1].finditer(row.text):
                yield (GUTTER + match.start(), GUTTER + match.end()), self._column.form.palette.hit

    def _selected(self, offset: int) -> Iterator[Mark]:
        selection = self.text_selection
        if selection and (span := selection.get_span(offset)) is not None:
            begin, end = span
            yield (max(begin, GUTTER), end), self._column.form.palette.selection

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The text under ``selection``."""
        return selected_text(self._column, selection), "\n"

    def selection_updated(self, selection: Selection | None) -> None:  # noqa: ARG002
        """Draw what is selected, or is no more."""
        self.refresh()

    def _refresh_from(self, position: int) -> None:
        """Draw the rows from ``position`` to the last again."""
        first = max(position, self._top)
        self.refresh_lines(first, max(1, self._top + self._rows - first))
