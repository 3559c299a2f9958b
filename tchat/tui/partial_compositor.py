"""Painting: a compositor that renders what is painted, and a key that is seen at once.

Both replace private parts of Textual 8.2. And what is painted still, but removed already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from textual._compositor import Compositor
from textual.geometry import Offset, Region
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

BETWEEN = 0.01  # seconds between two paintings out of turn: a burst of keys is painted together

Chops = list[dict[int, Strip | None]]


class PartialCompositor(Compositor):
    """Textual's compositor, which renders each widget in whole that is near to what changed.

    Here a widget renders only the rows that are painted, and none where those in front of it cover
    them: most of a screen is containers that nobody sees. It halves the time of a flush.
    """

    def _render_chops(
        self, crop: Region, is_rendered_line: Callable[[int], bool]
    ) -> Sequence[Mapping[int, Strip]]:
        chops: Chops = [dict.fromkeys(cuts[:-1]) for cuts in self.cuts]
        rows = range(max(0, crop.y), min(crop.bottom, len(chops)))
        missing = {y: len(chops[y]) for y in rows if is_rendered_line(y)}
        for region, drawn, strips in self._needed(missing):
            first, last = region.column_span
            for y, strip in zip(drawn, strips, strict=False):
                if not missing.get(y):
                    continue
                row = chops[y]
                cuts = [cut for cut in self.cuts[y] if first <= cut <= last]
                parts = strip.divide([cut - first for cut in cuts[1:]])
                for cut, part in zip(cuts, parts, strict=False):
                    if row[cut] is None:
                        row[cut] = part
                        missing[y] -= 1
        return cast("Sequence[Mapping[int, Strip]]", chops)

    def _needed(
        self, missing: Mapping[int, int]
    ) -> Iterator[tuple[Region, range, Sequence[Strip]]]:
        """Where each widget is, front to back, and its strips in the rows that still lack some."""
        for widget, (whole, clip) in self.visible_widgets.items():
            region = whole.intersection(clip)
            lacking = [y for y in region.line_range if missing.get(y)] if region else []
            if lacking:
                rows = range(lacking[0], lacking[-1] + 1)
                yield region, rows, _render(widget, whole, region, rows)


def _render(widget: Widget, whole: Region, region: Region, rows: range) -> Sequence[Strip]:
    """The rows of the screen in ``rows`` that ``widget``, which is at ``whole``, shows."""
    return widget.render_lines(
        Region(region.x - whole.x, rows.start - whole.y, region.width, len(rows))
    )


def attached(found: tuple[Widget | None, Offset | None]) -> tuple[Widget | None, Offset | None]:
    """The widget and offset under the mouse; none where the widget was removed since the layout.

    A second click on a toast comes before the next layout. Textual begins a selection in the
    parent of what is clicked, which a removed widget lacks, and the program ends.
    """
    widget, _ = found
    return found if widget is None or widget.is_attached else (None, None)


class FocusPainter:
    """Paints what has the focus as soon as it changed.

    Textual paints 60 times a second and not more often. Beside a reply that is drawn all the time
    a key would wait for the next turn or the one after it: up to 31 ms, 13 in the middle.
    """

    def __init__(self, screen: Screen[None]) -> None:
        self._screen = screen
        self._painted = 0.0

    def paint(self) -> bool:
        """Paint now what is to be painted, if the focus is in it; whether it was done."""
        if self._screen.focused not in self._screen._dirty_widgets:
            return False
        now = time.monotonic()
        if now - self._painted < BETWEEN:
            return False
        self._painted = now
        self._screen._on_timer_update()
        return True
