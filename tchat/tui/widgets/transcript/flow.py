"""A paragraph that grows: what cannot change any more is broken into lines only once."""

from __future__ import annotations

import re
from collections.abc import Callable

from rich.segment import Segment

from tchat.markdown.math import is_open
from tchat.tui.widgets.transcript.lines import wrap

Read = Callable[[str], list[Segment]]

# A longer paragraph is read in pieces of about this many characters: 1,000 take 1 ms to read.
PIECE = 600
_LONGEST = 2 * PIECE

_SPACE = re.compile(r"\s")


class Flow:
    """The rows of one paragraph.

    What `rows` gives depends on the text alone; a text that continues the one before costs little
    more than what was added to it.

    Args:
        read: Turns a piece of the paragraph's text into segments.
        cells: Width of the rows.
    """

    def __init__(self, read: Read, cells: int) -> None:
        self._read = read
        self._cells = cells
        self._forget()

    def _forget(self) -> None:
        self._text = ""
        self._settled = 0  # characters whose rows are final
        self._rows: list[list[Segment]] = []
        self._row: list[Segment] = []  # the last row of the settled text; more can go into it

    def rows(self, text: str) -> list[list[Segment]]:
        """``text`` broken into rows."""
        if len(text) <= _LONGEST:
            return wrap(self._read(text), self._cells)
        if not text.startswith(self._text):
            self._forget()
        self._text = text
        while cut := _seam(text, self._settled):
            *rows, self._row = self._wrapped(text[self._settled : cut])
            self._rows += rows
            self._settled = cut
        return self._rows + self._wrapped(text[self._settled :])

    def _wrapped(self, piece: str) -> list[list[Segment]]:
        return wrap(self._row + self._read(piece), self._cells)


def _seam(text: str, start: int) -> int:
    """Where the piece that begins at ``start`` ends; 0 when it ends with the text.

    Before a space outside of code, formulas and strong text, if there is one. More text behind
    moves no seam, so a text has the same ones while it grows and at its end.
    """
    if len(text) - start <= _LONGEST:
        return 0
    for match in _SPACE.finditer(text, start + PIECE, start + _LONGEST):
        piece = text[start : match.start()]
        if piece.count("`") % 2 == 0 and piece.count("**") % 2 == 0 and not is_open(piece):
            return match.start()
    return start + _LONGEST
