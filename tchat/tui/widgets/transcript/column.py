"""All entries one below the other, laid out only where they are seen, and selected text.

Heights are kept so that every question about them takes O(log n). Coordinates of a selection name
a line of an entry, not a position from the top: a position changes with each height above it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from textual.geometry import Offset
from textual.selection import Selection

from tchat.sanitize import printable
from tchat.step_text import short_arguments
from tchat.tui.widgets.transcript.entry import GUTTER, Entry, Format, Key
from tchat.tui.widgets.transcript.layout import EntryLayout, Fold, Shape, estimate
from tchat.tui.widgets.transcript.lines import FORMULA, Line
from tchat.tui.widgets.transcript.step_layout import StepLayout

KEPT = 200  # layouts that stay in memory

Layout: TypeAlias = EntryLayout | StepLayout


@dataclass(slots=True, eq=False)
class _Slot:
    """An entry; its layout has the format of number ``stamp``.

    ``folds`` and ``open`` are those of its `Shape`.
    """

    entry: Entry
    stamp: int = -1
    layout: Layout | None = None
    folds: dict[str, bool] | None = None
    open: bool = False


class Column:
    """Entries whose heights are estimates until they are looked at.

    Positions are lines from the top. `settle` makes the heights in view exact, and returns the new
    position of the line on top.

    Attributes:
        form: How the entries are laid out; changed by `reformat`.
        revision: Another number after each change of entries or texts.

    Args:
        kept: Layouts that stay in memory, at least as many as are in view at once.
    """

    def __init__(self, form: Format, kept: int = KEPT) -> None:
        self.form = form
        self.revision = 0
        self._kept = kept
        self._stamp = 0
        self._slots: list[_Slot] = []
        self._places: dict[Key, int] = {}
        self._heights = Heights()
        self._first: _Slot | None = None
        self._recent: OrderedDict[_Slot, None] = OrderedDict()  # those with a layout, oldest first

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def height(self) -> int:
        """Lines of all entries, partly estimates."""
        return self._heights.total

    def backwards(self) -> Iterator[Key]:
        """The keys of all entries from the end."""
        return (slot.entry.key for slot in reversed(self._slots))

    def entries(self) -> Iterator[Entry]:
        """All entries, with the text that came so far."""
        return map(self.entry, range(len(self._slots)))

    def entry(self, place: int) -> Entry:
        """The entry at ``place``, with the text that came so far."""
        slot = self._slots[place]
        return slot.layout.current() if slot.layout else slot.entry

    def place(self, key: Key) -> int:
        """The place of the entry ``key``, from 0; raises `KeyError` if there is none."""
        return self._places[key]

    def __contains__(self, key: Key) -> bool:
        return key in self._places

    # What changes the entries.

    def show(self, entries: Iterable[Entry]) -> None:
        """Replace all entries; those that were here stay folded or unfolded."""
        self.revision += 1
        before = {slot.entry.key: slot for slot in self._slots if slot.folds or slot.open}
        self._slots = [_Slot(entry) for entry in entries]
        for slot in self._slots if before else ():
            if old := before.get(slot.entry.key):
                slot.folds, slot.open = old.folds, old.open
        reply = next((s for s in reversed(self._slots) if s.entry.role == "assistant"), None)
        if reply:
            reply.open = True
        self._recent.clear()
        self._renumber(estimate((slot.entry for slot in self._slots), self.form))

    def prepend(self, entries: Iterable[Entry]) -> int:
        """Add entries before all others; return an estimate of their lines."""
        self.revision += 1
        added = [_Slot(entry) for entry in entries]
        heights = estimate((slot.entry for slot in added), self.form)
        self._slots[:0] = added
        self._renumber([*heights, *self._heights])
        self._refit(len(added) - 1)
        return sum(heights)

    def append(self, entry: Entry) -> None:
        """Add an entry at the end; another one with its key is removed."""
        self.revision += 1
        if entry.key in self._places:
            self.remove(entry.key)
        self._places[entry.key] = len(self._slots)
        self._slots.append(_Slot(entry, open=entry.role == "assistant"))
        self._first = self._slots[0]
        self._heights.append(*estimate([entry], self.form))
        self._refit(len(self._slots) - 2)

    def remove(self, key: Key) -> None:
        """Remove an entry."""
        self.revision += 1
        place = self._places[key]
        self._recent.pop(self._slots.pop(place), None)
        self._renumber(height for at, height in enumerate(self._heights) if at != place)
        self._refit(place - 1)

    def update(self, entry: Entry) -> None:
        """Replace the entry with the key of ``entry``."""
        self.revision += 1
        slot = self._slots[self._places[entry.key]]
        if not (slot.layout and slot.layout.adopt(entry)):
            slot.layout = None
            slot.stamp = -1
        slot.entry = entry
        place = self._places[entry.key]
        self.measure(place)
        self._refit(place - 1)
        self._refit(place)

    def replace(self, key: Key, entry: Entry) -> None:
        """Replace the entry ``key`` by ``entry``, which may have another key."""
        if key != entry.key and entry.key in self._places:
            self.remove(entry.key)
        self._places[entry.key] = self._places.pop(key)
        self.update(entry)

    def feed(self, key: Key, text: str, reasoning: str) -> None:
        """Add text to a reply that streams in."""
        self.revision += 1
        place = self._places[key]
        self.layout(place).feed(text, reasoning)
        self.measure(place)

    def fold(self, key: Key, fold: Fold, folded: bool) -> None:
        """Fold or unfold a part of an entry."""
        place = self._places[key]
        slot = self._slots[place]
        slot.folds = {**(slot.folds or {}), fold.name: folded}
        self.layout(place).reshape(self._shape(place))
        self.measure(place)

    def fold_read(self, top: int, rows: int) -> None:
        """Let long replies fold that are neither the last one nor in the ``rows`` from ``top``."""
        *earlier, _ = [place for place, slot in enumerate(self._slots) if slot.open] or [-1]
        unseen = [
            place
            for place in earlier
            if self.top(place + 1) <= top or self.top(place) >= top + rows
        ]
        for place in unseen:
            slot = self._slots[place]
            slot.open = False
            if slot.layout and slot.stamp == self._stamp:
                slot.layout.reshape(self._shape(place))
                self.measure(place)

    def reformat(self, form: Format) -> None:
        """Lay out in another format, each entry when it is looked at."""
        self.form = form
        self._stamp += 1

    def estimate_again(self) -> None:
        """Estimate the heights of entries that are not laid out in the present format."""
        heights = estimate((slot.entry for slot in self._slots), self.form)
        for place, slot in enumerate(self._slots):
            if slot.stamp == self._stamp:
                heights[place] = self._heights[place]
        self._heights = Heights(heights)

    def _renumber(self, heights: Iterable[int]) -> None:
        self._places = {slot.entry.key: place for place, slot in enumerate(self._slots)}
        self._heights = Heights(heights)
        # An empty line is above each question but the first entry.
        first = self._slots[0] if self._slots else None
        for slot in (self._first, first) if first is not self._first else ():
            if slot and slot.entry.role == "user":
                slot.stamp = -1
        self._first = first

    def _shape(self, place: int) -> Shape:
        slot, role = self._slots[place], self._slots[place].entry.role
        before = self._slots[place - 1].entry if place else None
        return Shape(
            slot.folds or {},
            slot.open,
            apart=place > 0 and role == "user",
            joined=(role == "tool" or self._is_silent(place)) and self._precedes_step(place),
            continues=role == "assistant" and before is not None and before.role == "tool",
        )

    def _is_silent(self, place: int) -> bool:
        """Whether an entry is a reply without a text: it only calls tools."""
        entry = self.entry(place)
        return entry.role == "assistant" and not (entry.text.strip() or entry.reasoning.strip())

    def _precedes_step(self, place: int) -> bool:
        """Whether a call of a tool comes next; replies that have no line do not count."""
        place += 1
        if place < len(self._slots) - 1 and self._is_silent(place):
            place += 1
        return place < len(self._slots) and self._slots[place].entry.role == "tool"

    def _refit(self, place: int) -> None:
        """Fit the entries around the seam behind the one at ``place`` to each other."""
        for at in (place - 1, place, place + 1):
            slot = self._slots[at] if 0 <= at < len(self._slots) else None
            if slot is None or slot.stamp != self._stamp:
                continue  # not laid out in the present format
            if slot.layout is None:
                slot.stamp = -1 if slot.entry.role in ("tool", "assistant") else slot.stamp
            elif (shape := self._shape(at)) != slot.layout.shape:
                slot.layout.reshape(shape)
                self.measure(at)

    # Where things are.

    def top(self, place: int) -> int:
        """The position of the first line of the entry at ``place``."""
        return self._heights.before(place)

    def find(self, position: int) -> tuple[int, int]:
        """Which entry covers ``position``, and which of its lines that is."""
        return self._heights.find(position)

    def lines(self, position: int) -> Iterator[tuple[int, int, Line]]:
        """From ``position`` on: the place of an entry, the number of a line in it, the line."""
        if position >= self.height:
            return
        place, number = self.find(position)
        while place < len(self._slots):
            layout = self.layout(place)
            for row in layout.lines(number):
                yield place, number, row
                number += 1
            place, number = place + 1, 0

    def layout(self, place: int) -> Layout:
        """The layout of the entry at ``place``, made if needed."""
        slot = self._slots[place]
        if slot.layout is None or slot.stamp != self._stamp:
            entry = slot.layout.current() if slot.layout else slot.entry
            shape = self._shape(place)
            kind = EntryLayout if entry.step is None else StepLayout
            slot.layout = kind(entry, self.form, shape)
            slot.stamp = self._stamp
        self._recent[slot] = None
        self._recent.move_to_end(slot)
        if len(self._recent) > self._kept:
            self._forget_oldest()
        return slot.layout

    def _forget_oldest(self) -> None:
        for slot in list(self._recent)[: self._kept // 4]:
            del self._recent[slot]
            if slot.entry.status != "streaming":
                slot.layout = None

    def measure(self, place: int) -> int:
        """Make the height of the entry at ``place`` exact, and return it."""
        self._heights[place] = height = self.layout(place).height
        return height

    def settle(self, top: int, rows: int) -> int:
        """Make the heights of the ``rows`` lines in view from ``top`` on exact.

        Returns:
            The new ``top``: the first entry whose height was exact does not move.
        """
        while self._slots:
            first, _ = self.find(top)
            last, _ = self.find(top + rows - 1)
            loose = [place for place in range(first, last + 1) if not self._exact(place)]
            if not loose:
                break
            exact = [place for place in range(first, last + 1) if self._exact(place)]
            anchor = exact[0] if exact else first
            row = self.top(anchor) - top
            for place in loose:
                self.measure(place)
            top = max(0, self.top(anchor) - row)
        return top

    def settle_end(self, rows: int) -> int:
        """Make the heights of the last ``rows`` lines exact; return the position of their first."""
        place, seen = len(self._slots), 0
        while place and seen < rows:
            place -= 1
            seen += self.measure(place)
        return max(0, self.height - rows)

    def _exact(self, place: int) -> bool:
        slot = self._slots[place]
        return slot.stamp == self._stamp


class Heights:
    """A Fenwick tree over heights, of which none is negative (Fenwick 1994)."""

    def __init__(self, heights: Iterable[int] = ()) -> None:
        self._heights = list(heights)
        # Node n (from 1) holds the sum of the n & -n heights that end with the n-th.
        self._tree = [0, *self._heights]
        for node in range(1, len(self._tree)):
            if (above := node + (node & -node)) < len(self._tree):
                self._tree[above] += self._tree[node]

    def __len__(self) -> int:
        return len(self._heights)

    def __getitem__(self, index: int) -> int:
        return self._heights[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._heights)

    @property
    def total(self) -> int:
        """The sum of all heights."""
        return self.before(len(self))

    def __setitem__(self, index: int, height: int) -> None:
        change = height - self._heights[index]
        self._heights[index] = height
        node = index + 1
        while change and node < len(self._tree):
            self._tree[node] += change
            node += node & -node

    def append(self, height: int) -> None:
        """Add a height at the end."""
        self._heights.append(height)
        node = len(self._heights)
        begin = node - (node & -node)
        self._tree.append(self.before(node - 1) - self.before(begin) + height)

    def before(self, index: int) -> int:
        """The sum of the first ``index`` heights."""
        total = 0
        while index:
            total += self._tree[index]
            index -= index & -index
        return total

    def find(self, position: int) -> tuple[int, int]:
        """The index of the entry at ``position``, and the line in it; there must be an entry.

        An entry without lines is at no position.

        Positions outside belong to the first or the last entry.
        """
        position = max(0, min(position, self.total - 1))
        index = 0
        for bit in range(len(self._heights).bit_length() - 1, -1, -1):
            ahead = index + (1 << bit)
            if ahead < len(self._tree) and self._tree[ahead] <= position:
                index = ahead
                position -= self._tree[ahead]
        return min(index, len(self._heights) - 1), position


_LINE_BITS = 24
_ALL = (1 << _LINE_BITS) - 1  # beyond the last line, and the last character

Spot: TypeAlias = tuple[int, int]  # a line of an entry, and a character of it


def encoded(place: int, number: int) -> int:
    """The vertical coordinate of line ``number`` of the entry at ``place``."""
    return place << _LINE_BITS | number


def decoded(coordinate: int) -> tuple[int, int]:
    """The place of the entry and the number of the line at a vertical coordinate."""
    return coordinate >> _LINE_BITS, coordinate & _ALL


def whole(place: int, height: int, *, joined: bool = False) -> Selection:
    """The selection of all lines of an entry but the empty last one, which a joined one lacks."""
    last = height - 1 - (not joined)
    return Selection(Offset(0, encoded(place, 0)), Offset(10**6, encoded(place, last)))


def selected_text(column: Column, selection: Selection) -> str:
    """The text under ``selection``.

    Entries at its ends are copied as drawn, without bars and line folds, but with the source of
    formulas. Entries between are copied as written.
    """
    if not len(column):
        return ""
    start, end = selection
    first, top = decoded(start.y) if start else (0, 0)
    last, bottom = decoded(end.y) if end else (len(column) - 1, _ALL)
    head, tail = (start.x if start else 0), (end.x if end else _ALL)
    if first >= len(column):  # the entries changed since it was drawn
        return ""
    if last >= len(column):
        last, bottom, tail = len(column) - 1, _ALL, _ALL
    if first == last:
        return _drawn(column, first, (top, head), (bottom, tail))
    between = [_written(column.entry(place)) for place in range(first + 1, last)]
    above = _drawn(column, first, (top, head), (_ALL, _ALL))
    below = _drawn(column, last, (0, 0), (bottom, tail))
    return "\n\n".join(part for part in (above, *between, below) if part)


def _written(entry: Entry) -> str:
    """An entry between others as it is copied; of a call, what was called."""
    if entry.step is not None:
        return printable(f"{entry.step.name} {short_arguments(entry.step.arguments)}").strip()
    return printable(entry.text).strip()


def _drawn(column: Column, place: int, start: Spot, end: Spot) -> str:
    layout = column.layout(place)
    if start[0] < layout.start:
        start = (layout.start, 0)
    pieces: list[str] = []
    formula = None  # the one that the row before ended in
    for number, row in layout.unfolded_lines():
        if not start[0] <= number <= end[0]:
            continue
        begin = start[1] if number == start[0] else 0
        stop = end[1] if number == end[0] else _ALL
        goes_on, piece, formula = _piece(row, begin, stop, formula)
        pieces += [row.joint if pieces and not goes_on else "", piece]
    return "\n".join(part.rstrip() for part in "".join(pieces).split("\n")).rstrip("\n")


def _piece(row: Line, begin: int, end: int, formula: object) -> tuple[bool, str, object]:
    """The text of the characters ``begin`` to ``end`` of a drawn row.

    A formula is copied whole, as its source, from the first row that it is in.

    Args:
        formula: The mark of the formula that the row before ended in.

    Returns:
        Whether the row begins inside ``formula``; the text; the formula that the row ends in.
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
