"""The panel of the keys that can follow the leader key."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

CELL = 30  # cells of a column that is not squeezed
NARROWEST = 18
GAP = 2


class FollowingKey(NamedTuple):
    """A key that can follow, as it is shown, and what it does."""

    key: str
    does: str


class WhichKey(Widget):
    """Keys in columns, above the status line and over the prompt; as low as the width allows."""

    DEFAULT_CSS = """
    WhichKey {
        layer: above;
        dock: bottom;
        height: auto;
        margin-bottom: 1;
        padding: 0 1;
        background: $surface;
        border-top: solid $primary;
        border-title-color: $primary;
        border-title-style: bold;
    }
    """

    def __init__(self, heading: str, keys: Sequence[FollowingKey]) -> None:
        super().__init__()
        self._keys = keys
        self.border_title = Content(heading)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """How many rows the keys take."""
        del container
        return self._rows(width, viewport.height)

    def render(self) -> Content:
        """The columns, filled from top to bottom."""
        width = self.content_size.width
        rows = max(1, self._rows(width, self.app.size.height))
        column = width // ceil(len(self._keys) / rows) if self._keys else width
        lines = []
        for row in range(rows):
            cells = [_cell(each, column) for each in self._keys[row::rows]]
            lines.append(Content("").join(cells).truncate(width))
        return Content("\n").join(lines)

    def _rows(self, width: int, height: int) -> int:
        """Rows for columns of the usual width; narrower ones where the panel were too high."""
        columns = max(1, width // CELL)
        while len(self._keys) > columns * (height // 2) and width // (columns + 1) >= NARROWEST:
            columns += 1
        return ceil(len(self._keys) / columns)


def _cell(each: FollowingKey, width: int) -> Content:
    key = Content.styled(each.key, "bold $foreground")
    shown = Content.assemble(key.pad_left(max(0, 2 - key.cell_length)), "  ", (each.does, "$muted"))
    shown = shown.truncate(width - GAP, ellipsis=True)
    return shown.pad_right(max(0, width - shown.cell_length))
