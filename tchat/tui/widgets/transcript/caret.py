"""The caret at the end of a reply while it is written; drawn only, no part of its lines."""

from __future__ import annotations

import time
from dataclasses import replace

from rich.segment import Segment
from rich.style import Style
from textual.timer import Timer

from tchat.tui.widgets.transcript.column import Layout
from tchat.tui.widgets.transcript.entry import Key
from tchat.tui.widgets.transcript.lines import Line, on, width
from tchat.tui.widgets.transcript.scrolling import ColumnView

CARET = "▍"
BLINK = 0.5  # seconds that it is shown, and then hidden, while no text comes


class Caret:
    """Stands where the next piece of text will be; blinks where it is late.

    It has no place where animations are off: ``TEXTUAL_ANIMATIONS=none``.
    """

    def __init__(self, view: ColumnView) -> None:
        self._view = view
        self._key: Key | None = None  # the reply that is written
        self._timer: Timer | None = None
        self._moved = 0.0  # when text came last
        self._is_lit = True

    def begin(self, key: Key) -> None:
        """A reply begins."""
        self._key = key
        self.advance()
        self.start()

    def start(self) -> None:
        """Begin to blink, once there is an app to show it."""
        if self._key is not None and self._timer is None and self._view.is_running:
            self._timer = self._view.set_interval(BLINK, self._blink)

    def advance(self) -> None:
        """Text came: it is shown, behind the text."""
        self._moved, self._is_lit = time.monotonic(), True

    def is_at(self, layout: Layout, number: int) -> bool:
        """Whether it is shown in line ``number`` of an entry."""
        return (
            layout.entry.status == "streaming"
            and number == layout.end
            and self._is_lit
            and layout.entry.key == self._key
            and self._view.app.animation_level != "none"
        )

    def _blink(self) -> None:
        column = self._view.column
        place = column.place(self._key) if self._key is not None and self._key in column else None
        if place is None or column.layout(place).entry.status != "streaming":
            self._stop()
        elif time.monotonic() - self._moved >= BLINK:
            self._is_lit = not self._is_lit
            self._view.refresh_row(column.top(place) + column.layout(place).end)

    def _stop(self) -> None:
        self._key = None
        if self._timer is not None:
            self._timer.stop()
            self._timer = None


def with_caret(row: Line, style: Style) -> Line:
    """``row`` with the caret behind its text, on the background that is there."""
    segments = list(row.segments)
    left = row.fill
    behind = ""
    ground = Style()
    while left > 0:  # the characters that only fill the row
        text, own, _ = segments.pop()
        taken = min(left, len(text))
        behind, ground, left = text[len(text) - taken :] + behind, own or ground, left - taken
        if kept := text[: len(text) - taken]:
            segments.append(Segment(kept, own))
    segments.append(Segment(CARET, on(ground, style) if behind else style))
    if rest := behind[1:]:
        segments.append(Segment(rest, ground))
    return replace(row, segments=tuple(segments), fill=max(1, row.fill), cells=width(segments))
