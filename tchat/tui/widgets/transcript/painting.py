"""The rows of a transcript as strips: gutter, colours, cursor, selection and search hits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.geometry import Region
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from tchat.markdown.syntax import SyntaxStyles
from tchat.translation import trn
from tchat.tui.widgets.transcript.caret import Caret, with_caret
from tchat.tui.widgets.transcript.column import Layout, encoded
from tchat.tui.widgets.transcript.entry import GUTTER, Key
from tchat.tui.widgets.transcript.find import Hit, Query, parts_of
from tchat.tui.widgets.transcript.find import Span as Place
from tchat.tui.widgets.transcript.layout import Fold
from tchat.tui.widgets.transcript.lines import (
    PARTS,
    PREFIX,
    Line,
    Palette,
    cut,
    line,
    width,
)
from tchat.tui.widgets.transcript.role_line import action_bar, role_line
from tchat.tui.widgets.transcript.scrolling import ColumnView

PILL = "pill"  # the key of the pill in a style's meta data


class Painter:
    """Paints the rows of a view in the colours of the style sheet.

    Attributes:
        cursor: The entry that the message cursor is on.
        pointed: Entries under the mouse, or clicked, which show their facts and actions.
        found: The entry with search hits, and their pattern.
        query: What is marked in all entries.
        hit: The one of its places that was gone to.
    """

    def __init__(self, view: ColumnView, caret: Caret) -> None:
        self.cursor: Key | None = None
        self.pointed: tuple[Key | None, ...] = ()
        self.found: tuple[Key, re.Pattern[str]] | None = None
        self.query: Query | None = None
        self.hit: Hit | None = None
        self._view = view
        self._caret = caret
        self._strips = StripCache()
        self._drawn: dict[tuple[Key, str], tuple[object, list[list[Place]]]] = {}
        self._shown = ShownStrips()

    def update_palette(self) -> None:
        """Take the colours of the style sheet."""
        view = self._view
        palette = palette_of(view)
        if palette != view.column.form.palette:
            self._strips.clear()
            view.reformat(replace(view.column.form, palette=palette))

    def paint(self, crop: Region) -> list[Strip]:
        """The strips of the rows in ``crop``.

        Textual 8.2 makes new strips whenever a row moves; these are cached. Without that a flush
        of prose in ``tests/benchmarks/tui_transcript`` takes 4.8 ms of CPU at p95, not 3.1.
        """
        view = self._view
        self._shown.use(view.get_line_filters(), view.background_colors[1], crop.column_span)
        return list(map(self._shown.strip, self.strips(crop.y, crop.height)))

    def strips(self, first: int, count: int) -> Iterator[Strip]:
        """The strips of ``count`` rows of the view from ``first`` on."""
        view = self._view
        palette, width, last = view.column.form.palette, view.size.width, view.size.height - 1
        rows, selection = view.column.lines(view.scroll_offset.y + first), view.text_selection
        for y in range(first, first + count):
            row = next(rows, None)
            strip = self._strip(*row, width, selection) if row else Strip.blank(width, palette.base)
            if view.unseen and y == last:
                style = palette.pill + Style(meta={PILL: True})
                new = trn("{count:,} new line", "{count:,} new lines", view.unseen)
                strip = overlaid(strip, f" ↓ {new} ", style)
            yield strip

    def _strip(
        self, place: int, number: int, row: Line, width: int, selection: Selection | None
    ) -> Strip:
        column = self._view.column
        layout, form = column.layout(place), column.form
        entry, last = layout.entry, _is_below(layout, number)
        cursor = entry.key == self.cursor
        if cursor or entry.key in self.pointed:
            row = self._lit(layout, place, number, row) or row
        if self._caret.is_at(layout, number):
            row = with_caret(row, form.palette.muted)
        bar = gutter(layout, number, cursor=cursor, last=last, palette=form.palette)
        offset = encoded(place, number)
        marks = [*self._hits(layout, number, row), *_selected(offset, selection, form.palette)]
        return self._strips.strip(
            row, bar, marks, offset=offset, left=form.left, cells=width, base=form.palette.base
        )

    def _lit(self, layout: Layout, place: int, number: int, row: Line) -> Line | None:
        """The line of facts or of actions that takes the place of line ``number``, if any."""
        view, entry, form = self._view, layout.entry, self._view.column.form
        if _is_below(layout, number):
            return line(cut(action_bar(entry, form.palette, form.palette.base), form.cells))
        if entry.step is not None and layout.shape.joined and number == 0:
            bar = action_bar(entry, form.palette, form.palette.base)
            start = cut(list(row.segments), max(1, form.cells - width(bar) - 2))
            return line([*start, Segment("  ", form.palette.base), *bar])
        if number == layout.shape.apart and layout.has_role_line:
            seen = view.column.top(place + 1) <= view.scroll_offset.y + view.size.height
            return role_line(entry, form, facts=True, actions=not seen)
        return None

    def _hits(self, layout: Layout, number: int, row: Line) -> Iterator[Mark]:
        palette, key = self._view.column.form.palette, layout.entry.key
        if self.query:
            for part in parts_of(layout.entry):
                for at, spans in enumerate(self._places(self.query, layout, part)):
                    style = palette.pill if self.hit == (key, part, at) else palette.hit
                    for line_number, begin, end in spans:
                        if line_number == number:
                            start = GUTTER + row.lead
                            yield (start + begin, start + end), style
        elif self.found and self.found[0] == key:
            hit = palette.hit
            for match in self.found[1].finditer(row.text):
                yield (GUTTER + match.start(), GUTTER + match.end()), hit

    def _places(self, query: Query, layout: Layout, part: Fold) -> list[list[Place]]:
        """Where the query is drawn in a part of an entry; looked for once."""
        key = (layout.entry.key, part.name)
        state = (query, id(layout), self._view.column.revision, layout.shape, layout.height)
        known = self._drawn.get(key)
        if known is None or known[0] != state:
            if len(self._drawn) > StripCache.SIZE:
                self._drawn.clear()
            known = self._drawn[key] = (state, query.drawn(layout, part))
        return known[1]


Span = tuple[int, int]  # characters of a row; the end is exclusive, -1 for all
Mark = tuple[Span, Style]

_BARS = {"user": "▌ ", "system": "┆ ", "error": "┃ "}


def _is_below(layout: Layout, number: int) -> bool:
    """Whether a line of an entry is the empty one below it."""
    return number == layout.height - 1 and not layout.shape.joined


_CURSOR_FIRST, _CURSOR = "❯ ", "│ "


def gutter(layout: Layout, number: int, *, cursor: bool, last: bool, palette: Palette) -> Segment:
    """The bar before line ``number`` of an entry, which shows who speaks.

    Args:
        cursor: Whether the message cursor is on the entry.
        last: Whether it is the empty line below the entry.
    """
    role, first = layout.entry.role, int(layout.shape.apart)
    if number < first:
        return Segment(" " * GUTTER, palette.base)
    if cursor:
        return Segment(_CURSOR if number > first else _CURSOR_FIRST, palette.cursor)
    styles = {"user": palette.user_bar, "error": palette.error, "system": palette.rule}
    bar = " " * GUTTER if last else _BARS.get(role, " " * GUTTER)
    return Segment(bar, palette.base if last else styles.get(role, palette.base))


def _selected(offset: int, selection: Selection | None, palette: Palette) -> Iterator[Mark]:
    if selection and (span := selection.get_span(offset)) is not None:
        begin, end = span
        yield (max(begin, GUTTER), end), palette.selection


def words(query: str) -> re.Pattern[str] | None:
    """A pattern of the words of ``query`` that ignores case; None without words."""
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
    """A cache of the strips of lines without marks, by their coordinates."""

    SIZE = 512

    def __init__(self) -> None:
        self._strips: dict[int, tuple[Line, Segment, int, int, Strip]] = {}

    def clear(self) -> None:
        """Forget all strips."""
        self._strips.clear()

    def strip(
        self,
        row: Line,
        bar: Segment,
        marks: Sequence[Mark],
        *,
        offset: int,
        left: int,
        cells: int,
        base: Style,
    ) -> Strip:
        """The strip of ``row`` behind ``bar``.

        Args:
            marks: Styles over characters, counted from the bar on.
            offset: The vertical coordinate for selecting text, see `encoded`.
            left: Cells left of the bar.
            cells: The width of the strip.
            base: The style left and right of the row.
        """
        kept = self._strips.get(offset) if not marks else None
        if kept and kept[:4] == (row, bar, left, cells):
            return kept[4]
        segments = [bar, *row.segments]
        for span, style in marks:
            segments = marked(segments, span, style)
        if left:
            segments = [Segment(" " * left, base), *segments]
        drawn = Strip(segments).crop_extend(0, cells, base).apply_offsets(-left, offset)
        if not marks:
            self._strips.pop(offset, None)
            self._strips[offset] = row, bar, left, cells, drawn
            if len(self._strips) > self.SIZE:
                del self._strips[next(iter(self._strips))]
        return drawn


class ShownStrips:
    """A cache of strips as they are shown: in the colours of the terminal, and cut."""

    SIZE = 512

    def __init__(self) -> None:
        self._look: tuple[object, ...] = ()
        self._filters: Sequence[LineFilter] = ()
        self._strips: dict[int, tuple[Strip, Strip]] = {}  # by the id of the first

    def use(self, filters: Sequence[LineFilter], background: Color, span: tuple[int, int]) -> None:
        """Show strips through ``filters`` on ``background``, cut to ``span``."""
        look = (*filters, background, span)
        if look != self._look or len(self._strips) > self.SIZE:
            self._look, self._filters = look, filters
            self._background, self._span = background, span
            self._strips.clear()

    def strip(self, strip: Strip) -> Strip:
        """``strip`` as it is shown."""
        if (known := self._strips.get(id(strip))) is not None:
            return known[1]
        shown = strip
        for each in self._filters:
            shown = shown.apply_filter(each, self._background)
        shown = shown.crop(*self._span)
        self._strips[id(strip)] = strip, shown
        return shown


def overlaid(strip: Strip, label: str, style: Style) -> Strip:
    """``strip`` with ``label`` over its middle."""
    shown = line([Segment(label, style)])
    left = max(0, (strip.cell_length - shown.cells) // 2)
    right = min(strip.cell_length, left + shown.cells)
    pill = Strip(shown.segments).crop(0, right - left)
    return Strip.join([strip.crop(0, left), pill, strip.crop(right, strip.cell_length)])


def palette_of(widget: Widget) -> Palette:
    """The palette that the style sheet gives to ``widget``, which has the classes `COMPONENTS`."""
    base = widget.rich_style
    styles = {
        part: base + widget.get_component_rich_style(PREFIX + part.replace("_", "-"), partial=True)
        for part in PARTS
    }
    syntax = (
        widget.get_component_rich_style(f"{PREFIX}syntax-{kind}", partial=True)
        for kind in SyntaxStyles._fields
    )
    return Palette(base=base, syntax=SyntaxStyles(*syntax), **styles)
