"""What a fuzzy list shows: its items, which of them fit a filter, and one line as a strip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tchat.sanitize import printable

CURSOR, MARK, GAP = "❯ ", "● ", "  "
LEAST_TITLE, LEAST_COLUMN = 24, 16
_ONE_LINE = str.maketrans("\n\t", "  ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of a list. Texts may come from outside; the list makes them safe.

    Attributes:
        key: What the item stands for.
        title: What is shown first, and filtered by.
        columns: Shown behind it where there is room; the last goes first.
        also: More text to filter by, not shown.
        group: The heading it stands under; items of one group stand together.
        about: Shown below the list while the item is highlighted.
        guide: Drawn before the title.
        marked: Whether it is the one in use.
        places: Character positions in ``title`` that are marked as found.
    """

    key: str
    title: str
    columns: tuple[str, ...] = ()
    also: str = ""
    group: str = ""
    about: str = ""
    guide: str = ""
    marked: bool = False
    places: tuple[int, ...] = ()


class Heading(NamedTuple):
    """The line above a group."""

    text: str


class Styles(NamedTuple):
    """How the parts of a line look."""

    base: Style
    muted: Style
    match: Style
    heading: Style
    mark: Style
    cursor: Style


class Layout(NamedTuple):
    """Cells that each part of every line of a list gets; ``marks`` is 0 where none is marked."""

    marks: int
    title: int
    columns: tuple[int, ...]


def safe(item: Item) -> Item:
    """The item with texts that can be printed on one line, character for character in place."""
    texts = (item.title, *item.columns, item.group)
    if item.about == printable(item.about) and all(text == one_line(text) for text in texts):
        return item
    return replace(
        item,
        title=one_line(item.title),
        columns=tuple(map(one_line, item.columns)),
        group=one_line(item.group),
        about=printable(item.about),
    )


def one_line(text: str) -> str:
    """``text`` without anything that acts on a terminal, and without newlines and tabs."""
    return printable(text).translate(_ONE_LINE)


def arrange(items: Sequence[Item], width: int) -> Layout:
    """Share ``width`` cells out.

    Where they are too few the last column gives way first, down to `LEAST_COLUMN`, then the title,
    down to `LEAST_TITLE`; then the last column goes.
    """
    marks = cell_len(MARK) if any(item.marked for item in items) else 0
    room = max(0, width - len(CURSOR) - marks)
    longest = max((cell_len(item.guide + item.title) for item in items), default=0)
    columns = _column_widths(items)
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


def draw_item(item: Item, layout: Layout, width: int, styles: Styles, *, at_cursor: bool) -> Strip:
    """The line of ``item``; a sign, not only a colour, tells the cursor and the marked one."""
    lit = styles.cursor if at_cursor else Style()
    segments = [Segment(CURSOR if at_cursor else " " * len(CURSOR), styles.mark + lit)]
    if layout.marks:
        segments.append(Segment(MARK if item.marked else " " * layout.marks, styles.mark + lit))
    guide = fit(item.guide, layout.title)
    segments.append(Segment(guide, styles.muted + lit))
    title = fit(item.title, layout.title - cell_len(guide))
    segments += _marked(title, item.places, styles.base + lit, styles.match + lit)
    used = cell_len(guide) + cell_len(title)
    segments.append(Segment(" " * (layout.title - used), styles.base + lit))
    for text, cells in zip(item.columns, layout.columns, strict=False):
        cut = fit(text, cells)
        segments.append(Segment(GAP + set_cell_size(cut, cells), styles.muted + lit))
    strip = Strip([segment for segment in segments if segment.text])
    return strip.adjust_cell_length(width, styles.base + lit)


def draw_heading(heading: Heading, width: int, styles: Styles) -> Strip:
    """The line of a group's heading, drawn out to the right."""
    text = fit(heading.text, max(0, width - 4))
    rule = "─" * max(0, width - cell_len(text) - 2)
    strip = Strip([Segment(f"{text} ", styles.heading), Segment(rule, styles.muted)])
    return strip.adjust_cell_length(width, styles.base)


def draw_note(text: str, width: int, styles: Styles) -> Strip:
    """A line that stands where there are no items."""
    strip = Strip([Segment(" " * len(CURSOR) + fit(text, width - len(CURSOR)), styles.muted)])
    return strip.adjust_cell_length(width, styles.base)


def fit(text: str, width: int) -> str:
    """``text`` in at most ``width`` cells; what is cut off is marked with ``…``."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def _marked(text: str, places: Iterable[int], plain: Style, found: Style) -> Iterator[Segment]:
    """``text`` in runs of found and other characters."""
    begin = 0
    for start, end in _runs(place for place in places if place < len(text)):
        yield Segment(text[begin:start], plain)
        yield Segment(text[start:end], found)
        begin = end
    yield Segment(text[begin:], plain)


def _runs(places: Iterable[int]) -> Iterator[tuple[int, int]]:
    start = end = -1
    for place in places:
        if place != end:
            if end > start:
                yield start, end
            start = place
        end = place + 1
    if end > start:
        yield start, end


# How far from perfect a word's place is; each gap of a word whose letters stand apart adds one.
WHOLE, WORD, INSIDE, APART = 0, 1, 3, 6


class Match(NamedTuple):
    """A fit. ``distance`` is 0 for the best; ``places`` are ascending character positions."""

    distance: int
    places: tuple[int, ...]


def match(query: str, text: str) -> Match | None:
    """How ``query`` fits ``text``; None when it does not.

    Every word of the query must be in the text: at best where the text begins, then where a word
    of it begins, then inside, then with its letters apart but in their order. Case does not count.
    """
    folded = _folded(text)
    distance = 0
    places: set[int] = set()
    for word in _folded(query).split():
        found = _find(word, folded)
        if found is None:
            return None
        distance += found.distance
        places.update(found.places)
    return Match(distance, tuple(sorted(places)))


def _folded(text: str) -> str:
    lower = text.lower()
    # `İ` becomes two characters in lower case, and the places would be off.
    return lower if len(lower) == len(text) else text


def _find(word: str, text: str) -> Match | None:
    at = text.find(word)
    if at < 0:
        return _find_apart(word, text)
    start = at
    while start > 0 and text[start - 1].isalnum():
        start = text.find(word, start + 1)
    if start >= 0:
        return Match(WHOLE if start == 0 else WORD, tuple(range(start, start + len(word))))
    return Match(INSIDE, tuple(range(at, at + len(word))))


def _find_apart(word: str, text: str) -> Match | None:
    places: list[int] = []
    gaps = 0
    at = -1
    for letter in word:
        follows = text.startswith(letter, at + 1)
        at = at + 1 if follows else text.find(letter, at + 1)
        if at < 0:
            return None
        gaps += not follows
        places.append(at)
    return Match(APART + gaps, tuple(places))
