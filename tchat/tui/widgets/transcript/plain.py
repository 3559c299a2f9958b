"""Text that is no Markdown as lines: prompts, reasoning, notices."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style

from tchat.tui.widgets.transcript.flow import Flow
from tchat.tui.widgets.transcript.inline import linked
from tchat.tui.widgets.transcript.lines import Line, filled, line, prefixed, width
from tchat.tui.widgets.transcript.palette import Palette


class PlainText:
    """Text as it was typed, in one style; empty lines at its begin and its end are left out.

    Attributes:
        lines: What is final; it only gets more.
        tail: The line that has no end yet.

    Args:
        style: Of all of it.
        cells: Width of the lines.
        first: What stands before the first line.
        rest: What stands before each other line; as wide as ``first``.
        band: Whether the ground reaches to the end of each line.
    """

    def __init__(
        self,
        style: Style,
        palette: Palette,
        cells: int,
        *,
        first: Sequence[Segment] = (),
        rest: Sequence[Segment] = (),
        band: bool = False,
    ) -> None:
        self._style = style
        self._palette = palette
        self._cells = cells
        self._first, self._others = first, rest
        self._band = band
        self._flow = Flow(self._read, cells - width(first))
        self._rest: list[str] = []
        self._blanks = 0
        self.lines: list[Line] = []
        self.tail: list[Line] = []

    def _read(self, text: str) -> list[Segment]:
        return list(linked(text, self._style, self._palette))

    def feed(self, text: str) -> None:
        """Take more text, which is safe to print."""
        *ended, rest = text.split("\n")
        for piece in ended:
            self._end_line("".join([*self._rest, piece]))
            self._rest.clear()
        self._rest.append(rest)
        self._rest = ["".join(self._rest)]
        self.tail = self._drawn(self._rest[0]) if self._rest[0].strip() else []

    def close(self) -> None:
        """No more text comes."""
        self.lines += self.tail
        self._rest, self.tail = [], []

    def _end_line(self, text: str) -> None:
        if text.strip():
            self.lines += self._drawn(text)
            self._blanks = 0
        else:
            self._blanks += 1

    def _drawn(self, text: str) -> list[Line]:
        """The rows of ``text`` below the empty lines above it."""
        blanks = self._blanks if self.lines else 0
        rows = [Line()] * blanks + [line(row) for row in self._flow.rows(text)]
        drawn = prefixed(rows, self._others if self.lines else self._first, self._others)
        return [filled(row, self._cells, self._style) for row in drawn] if self._band else drawn
