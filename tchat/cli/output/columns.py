"""Texts that grow side by side, as rows of lines that never change once they are printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tchat.cli.output.listing import cell_width, fitting_length, truncate
from tchat.sanitize import Printable

GAP = " │ "


class TextColumn:
    """One text, wrapped at words; its lines come when nothing can change them any more.

    Args:
        width: Terminal cells.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._printable = Printable()
        self._open = ""  # the line that may still grow
        self._goes_on = False  # it is the rest of a line that was too long
        self.lines: list[str] = []
        self.closed = False

    def feed(self, text: str) -> None:
        """Take a piece, raw."""
        *whole, self._open = (self._open + self._printable.feed(text)).expandtabs(4).split("\n")
        for line in whole:
            if line.strip() or self.lines:  # no empty lines at the top
                self.lines.append(self._broken(line))
            self._goes_on = False
        self._open = self._broken(self._open)

    def close(self) -> None:
        """Let go of the last line."""
        if self._open:
            self.lines.append(self._open)
        while self.lines and not self.lines[-1].strip():
            self.lines.pop()
        self._open, self.closed = "", True

    def _broken(self, line: str) -> str:
        """Put off the front of ``line`` as lines until the rest fits."""
        line = line.lstrip(" ") if self._goes_on else line
        while (end := fitting_length(line, self._width)) < len(line):
            space = line.rfind(" ", 1, end + 1)
            end = space if space > 0 else max(end, 1)
            self.lines.append(line[:end].rstrip())
            line, self._goes_on = line[end:].lstrip(" "), True
        return line


class TextColumns:
    """Columns that are printed row by row, each row as soon as every open column has its line."""

    def __init__(self, count: int, width: int) -> None:
        each = (width - len(GAP) * (count - 1)) // count
        self.width = each
        self._columns = [TextColumn(each) for _ in range(count)]
        self._printed = 0

    def feed(self, index: int, text: str) -> None:
        """Add ``text``, raw, to a column."""
        self._columns[index].feed(text)

    def close(self, index: int) -> None:
        """End a column."""
        if not self._columns[index].closed:
            self._columns[index].close()

    def rows(self) -> Iterator[str]:
        """The rows that are complete and were not given yet."""
        while any(len(column.lines) > self._printed for column in self._columns) and all(
            column.closed or len(column.lines) > self._printed for column in self._columns
        ):
            at = self._printed
            self._printed += 1
            lines = (each.lines[at] if at < len(each.lines) else "" for each in self._columns)
            yield self.row(list(lines))

    def row(self, texts: Sequence[str]) -> str:
        """``texts`` beside each other, cut and padded to the columns."""
        cut_texts = (truncate(text, self.width) for text in texts)
        padded = (text + " " * (self.width - cell_width(text)) for text in cut_texts)
        return GAP.join(padded).rstrip()
