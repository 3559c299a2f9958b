"""The lines of a fuzzy list, drawn one by one: ten thousand items cost what is on the screen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import ClassVar, NamedTuple, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.events import Click, Resize
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tchat.sanitize import printable
from tchat.tui.widgets.item_columns import GAP, TableColumn, aligned, share_width

CURSOR, MARK = "❯ ", "● "
LEAST_TITLE, LEAST_COLUMN = 24, 16
TONES = ("good", "warn", "bad", "bar")
_ONE_LINE = str.maketrans("\n\t", "  ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of a list. Texts are raw; the list makes them safe.

    Attributes:
        key: Identifies the item.
        title: Shown first, and filtered by.
        columns: Shown behind the title where there is room; the last goes first.
        also: More text to filter by, not shown.
        group: The heading above it; items of one group stand together.
        about: Shown below the list while the item is highlighted.
        guide: Drawn before the title.
        marked: Whether it is the one in use.
        sign: One character in the place of that mark.
        tones: The style of each column: ``good``, ``warn``, ``bad``, ``bar``; empty is muted.
        note: Shown in place of the columns, in the style ``note_tone``.
        places: Positions of the characters in ``title`` that the filter matched.
    """

    key: str
    title: str
    columns: tuple[str, ...] = ()
    also: str = ""
    group: str = ""
    about: str = ""
    guide: str = ""
    marked: bool = False
    sign: str = ""
    tones: tuple[str, ...] = ()
    note: str = ""
    note_tone: str = ""
    places: tuple[int, ...] = ()


Line: TypeAlias = Item | str
"""An item, or the heading of a group."""


class Styles(NamedTuple):
    """The styles of the parts of a line."""

    base: Style
    muted: Style
    match: Style
    heading: Style
    mark: Style
    cursor: Style
    tones: Mapping[str, Style]


class Layout(NamedTuple):
    """Cells that each part of every line of a list gets; ``marks`` is 0 where none is marked."""

    marks: int
    title: int
    columns: tuple[int, ...]


def safe(item: Item) -> Item:
    """``item`` with texts that can be printed on one line; no character moves."""
    texts = (item.title, *item.columns, item.group, item.note)
    if item.about == printable(item.about) and all(text == one_line(text) for text in texts):
        return item
    return replace(
        item,
        title=one_line(item.title),
        columns=tuple(map(one_line, item.columns)),
        group=one_line(item.group),
        note=one_line(item.note),
        about=printable(item.about),
    )


def one_line(text: str) -> str:
    """``text`` printable, with spaces for newlines and tabs."""
    return printable(text).translate(_ONE_LINE)


def arrange(items: Sequence[Item], width: int, table: Sequence[TableColumn] = ()) -> Layout:
    """Share ``width`` cells among title and columns, those of ``table`` as by `share_width`.

    Where they are too few, the last column shrinks to `LEAST_COLUMN`, then the title to
    `LEAST_TITLE`; then the last column is left out.
    """
    marks = cell_len(MARK) if any(item.marked or item.sign for item in items) else 0
    room = max(0, width - len(CURSOR) - marks)
    longest = max((cell_len(item.guide + item.title) for item in items), default=0)
    columns = _column_widths(items)
    if table:
        columns += [0] * (len(table) - 1 - len(columns))
        title, *widths = share_width(table, (longest, *columns), room)
        return Layout(marks, title, tuple(widths))
    while columns:
        last = columns.pop()
        left = room - sum(columns) - len(GAP) * (len(columns) + 1)
        if left >= min(longest, LEAST_TITLE) + min(last, LEAST_COLUMN):
            title = min(longest, left - min(last, LEAST_COLUMN))
            return Layout(marks, title, (*columns, min(last, left - title)))
    return Layout(marks, min(longest, room), ())


def _column_widths(items: Iterable[Item]) -> list[int]:
    widths: list[int] = []
    for item in items:
        widths += [0] * (len(item.columns) - len(widths))
        for at, text in enumerate(item.columns):
            widths[at] = max(widths[at], cell_len(text))
    return widths


def draw_item(
    item: Item,
    layout: Layout,
    width: int,
    styles: Styles,
    *,
    at_cursor: bool,
    table: Sequence[TableColumn] = (),
) -> Strip:
    """The line of ``item``; cursor and mark have a sign, not only a colour."""
    lit = styles.cursor if at_cursor else Style()
    segments = [Segment(CURSOR if at_cursor else " " * len(CURSOR), styles.mark + lit)]
    if layout.marks:
        sign = MARK if item.marked else set_cell_size(item.sign, layout.marks)
        segments.append(Segment(sign, styles.mark + lit))
    guide = fit(item.guide, layout.title)
    segments.append(Segment(guide, styles.muted + lit))
    title = fit(item.title, layout.title - cell_len(guide))
    segments += _marked(title, item.places, styles.base + lit, styles.match + lit)
    used = cell_len(guide) + cell_len(title)
    segments.append(Segment(" " * (layout.title - used), styles.base + lit))
    if item.note:
        room = width - sum(segment.cell_length for segment in segments)
        tone = styles.tones.get(item.note_tone, styles.muted)
        segments.append(Segment(fit(GAP + item.note, room), tone + lit))
    for at, (text, cells) in enumerate(zip(item.columns, layout.columns, strict=False)):
        if not item.note and (cells or not table):
            cut = aligned(text, cells, table[at + 1] if table else None)
            tone = styles.tones.get(item.tones[at], styles.muted) if item.tones else styles.muted
            segments.append(Segment(GAP + cut, tone + lit))
    strip = Strip([segment for segment in segments if segment.text])
    return strip.adjust_cell_length(width, styles.base + lit)


def draw_heading(heading: str, width: int, styles: Styles) -> Strip:
    """The line of a group's heading, with a rule behind it."""
    text = fit(heading, max(0, width - 4))
    rule = "─" * max(0, width - cell_len(text) - 2)
    strip = Strip([Segment(f"{text} ", styles.heading), Segment(rule, styles.muted)])
    return strip.adjust_cell_length(width, styles.base)


def draw_note(text: str, width: int, styles: Styles) -> Strip:
    """The line of a list without items."""
    strip = Strip([Segment(" " * len(CURSOR) + fit(text, width - len(CURSOR)), styles.muted)])
    return strip.adjust_cell_length(width, styles.base)


def fit(text: str, width: int) -> str:
    """``text`` in at most ``width`` cells, cut with ``…``."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def _marked(text: str, places: Collection[int], plain: Style, found: Style) -> Iterator[Segment]:
    """``text`` in runs of found and other characters."""
    for is_found, run in groupby(range(len(text)), places.__contains__):
        yield Segment("".join(text[at] for at in run), found if is_found else plain)


class ItemView(ScrollView, can_focus=False):
    """The lines of a `FuzzyList` with a cursor; it takes clicks, and its parent takes keys."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "list--muted",
        "list--match",
        "list--heading",
        "list--mark",
        "list--cursor",
        "list--good",
        "list--warn",
        "list--bad",
        "list--bar",
    }
    DEFAULT_CSS = """
    ItemView {
        height: 1fr;
        scrollbar-size-vertical: 1;
        scrollbar-color: $muted 50%;
        scrollbar-color-hover: $muted;
        scrollbar-color-active: $primary;
        scrollbar-background: $surface;
        scrollbar-background-hover: $surface;
        scrollbar-background-active: $surface;
        overflow-x: hidden;
        color: $assistant;
        & > .list--muted { color: $muted; }
        & > .list--match { color: $match; text-style: bold underline; }
        & > .list--heading { color: $muted; text-style: bold; }
        & > .list--mark { color: $heading; text-style: bold; }
        & > .list--good { color: $gauge-ok; }
        & > .list--warn { color: $gauge-warn; }
        & > .list--bad { color: $gauge-full; }
        & > .list--bar { color: $heading; }
        & > .list--cursor { background: $panel; text-style: bold; }
    }
    """

    @dataclass
    class Highlighted(Message, namespace="fuzzy_list"):
        """The cursor is on another item; None when the list is empty."""

        item: Item | None

    @dataclass
    class Chosen(Message, namespace="fuzzy_list"):
        """Enter was pressed on the item, or it was clicked."""

        item: Item

    @dataclass
    class Arranged(Message, namespace="fuzzy_list"):
        """The columns have other widths."""

        layout: Layout

    def __init__(self, table: Sequence[TableColumn] = ()) -> None:
        super().__init__()
        self._table = table
        self._lines: Sequence[Line] = ()
        self._items: list[int] = []  # which of the lines are items
        self._at = 0  # which of the items the cursor is on
        self._empty = ""
        self._shares = Layout(0, 0, ())
        self._styles: Styles | None = None
        self._lit = True

    @property
    def item(self) -> Item | None:
        """The item under the cursor."""
        if not self._items:
            return None
        line = self._lines[self._items[self._at]]
        return line if isinstance(line, Item) else None

    @property
    def shown(self) -> list[Item]:
        """The items, in the order of their lines."""
        return [line for line in self._lines if isinstance(line, Item)]

    def offset_at_cursor(self, *, behind_title: bool) -> Offset:
        """Where the title under the cursor, or the columns behind it, begins in the widget."""
        line = self._items[self._at] if self._items else 0
        behind = self._shares.title + len(GAP) if behind_title else 0
        return Offset(len(CURSOR) + self._shares.marks + behind, line - int(self.scroll_offset.y))

    def light(self, lit: bool) -> None:
        """Show the cursor, or hide it while the keys go elsewhere."""
        self._lit = lit
        self.refresh()

    def show(self, lines: Sequence[Line], cursor: str = "", empty: str = "") -> None:
        """Replace all lines.

        Args:
            cursor: The key of the item to go to; the first one if it is missing.
            empty: The text of a list without items.
        """
        self._lines = lines
        self._items = [at for at, line in enumerate(lines) if isinstance(line, Item)]
        keys = [item.key for item in self.shown]
        self._at = keys.index(cursor) if cursor in keys else 0
        self._empty = empty
        self._arrange()
        self._follow()
        self.post_message(self.Highlighted(self.item))

    def move(self, steps: int) -> None:
        """Move the cursor by ``steps`` items, and stop at the ends."""
        if not self._items:
            return
        at = min(max(self._at + steps, 0), len(self._items) - 1)
        if at != self._at:
            self._at = at
            self._follow()
            self.refresh()
            self.post_message(self.Highlighted(self.item))

    def on_resize(self, _: Resize) -> None:
        """Lay out the lines in the new width."""
        self._arrange()
        self._follow()

    def on_click(self, event: Click) -> None:
        """Choose the item that was clicked."""
        line = int(event.y + self.scroll_offset.y)
        if line not in self._items:
            return
        self.move(self._items.index(line) - self._at)
        if item := self.item:
            self.post_message(self.Chosen(item))

    def notify_style_update(self) -> None:
        """Read the styles again."""
        super().notify_style_update()
        self._styles = None

    def render_line(self, y: int) -> Strip:
        """The line at row ``y`` of the widget."""
        styles = self._styles = self._styles or self._read_styles()
        width = min(self.size.width, self.virtual_size.width)  # beside the scrollbar
        at = y + int(self.scroll_offset.y)
        if not self._items and at == 0:
            return draw_note(self._empty, width, styles)
        if at >= len(self._lines):
            return Strip.blank(width, styles.base)
        line = self._lines[at]
        if isinstance(line, str):
            return draw_heading(line, width, styles)
        at_cursor = self._lit and self._items[self._at] == at
        return draw_item(line, self._shares, width, styles, at_cursor=at_cursor, table=self._table)

    def _read_styles(self) -> Styles:
        def part(name: str) -> Style:
            return self.rich_style + self.get_component_rich_style(f"list--{name}", partial=True)

        cursor = self.get_component_rich_style("list--cursor", partial=True)
        muted, found, heading, mark = map(part, ("muted", "match", "heading", "mark"))
        tones = {name: part(name) for name in TONES}
        return Styles(self.rich_style, muted, found, heading, mark, cursor, tones)

    def _arrange(self) -> None:
        room = self.content_region  # the scrollbar comes after the next layout
        bar = self.styles.scrollbar_size_vertical if len(self._lines) > room.height else 0
        width = max(0, room.width - bar)
        shares = arrange(self.shown, width, self._table)
        if shares != self._shares:
            self._shares = shares
            self.post_message(self.Arranged(shares))
        self.virtual_size = Size(width, len(self._lines))
        self.refresh()

    def _follow(self) -> None:
        """Scroll so that the cursor can be seen, and the heading right above it."""
        if not self._items:
            return
        line = self._items[self._at]
        top = line - 1 if line and isinstance(self._lines[line - 1], str) else line
        self.scroll_to_region(Region(0, top, 1, line - top + 1), animate=False, force=True)
