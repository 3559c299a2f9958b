"""Columns: listings for a person, a pipe or a program, and texts that grow side by side."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from tchat.cli.cells import GAP, NEVER_FIRST, cell_width, fitting_length, truncate
from tchat.cli.console import Console
from tchat.sanitize import PrintableStream, printable_json, single_line
from tchat.translation import in_english, tr

COLUMN_RULE = " │ "
INDENT = "    "  # of columns below their row
NARROWEST_LAST = 24  # cells for the last column, or it is put below


class TextColumn:
    """A growing text wrapped at words to ``width`` cells; a line is emitted once it is final."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._printable = PrintableStream()
        self._open = ""  # the line that may still grow
        self._goes_on = False  # it is the rest of a line that was too long
        self.lines: list[str] = []
        self.closed = False

    def feed(self, text: str) -> None:
        """Append raw text."""
        *whole, self._open = (self._open + self._printable.feed(text)).expandtabs(4).split("\n")
        for line in whole:
            if line.strip() or self.lines:  # no empty lines at the top
                self.lines.append(self._broken(line))
            self._goes_on = False
        self._open = self._broken(self._open)

    def close(self) -> None:
        """Emit the last line."""
        if self._open:
            self.lines.append(self._open)
        while self.lines and not self.lines[-1].strip():
            self.lines.pop()
        self._open, self.closed = "", True

    def _broken(self, line: str) -> str:
        """Put off the front of ``line`` as lines until the rest fits."""
        line = line.lstrip(" ") if self._goes_on else line
        while (end := fitting_length(line, self._width)) < len(line):
            end = next((at for at in range(end, 0, -1) if _can_break(line, at)), max(end, 1))
            self.lines.append(line[:end].rstrip())
            line, self._goes_on = line[end:].lstrip(" "), True
        return line


def _can_break(line: str, at: int) -> bool:
    """Whether ``line`` can end before the character ``at``: a blank, or one beside a wide one."""
    # Wide scripts have no blanks.
    is_wide = 2 in map(cell_width, line[at - 1 : at + 1])
    return line[at] == " " or (is_wide and line[at] not in NEVER_FIRST)


class TextColumns:
    """Columns printed row by row; a row is emitted once every open column has its line."""

    def __init__(self, count: int, width: int) -> None:
        each = (width - len(COLUMN_RULE) * (count - 1)) // count
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
        return COLUMN_RULE.join(padded).rstrip()


def padded(text: str, width: int) -> str:
    """``text`` at the right of a column of ``width`` cells."""
    return " " * (width - cell_width(text)) + text


def print_rows(
    console: Console,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    empty: str = "",
    whole: bool = False,
) -> None:
    """Print ``rows`` under ``header``, which is translated; each cell is made safe, on one line.

    On a terminal the columns are aligned, and the last one is cut at the edge, or with ``whole``
    continued below. In a pipe there is no header, one tab between the cells, and nothing is cut;
    cells that come from `tr` are in English, because programs read them. Without rows, ``empty`` is
    told on standard error.
    """
    if empty and not rows:
        console.say(empty)
    safe = [[single_line(console.told(cell), 10_000) for cell in row] for row in rows]
    if not console.stdout_is_terminal:
        for row in safe:
            console.out("\t".join(row))
        return
    if safe:
        lay_out = whole_columns if whole else align_columns
        for line in lay_out([[*map(tr, header)], *safe], shutil.get_terminal_size().columns):
            console.out(line)


def print_json(console: Console, value: Any) -> None:
    """Print ``value`` as JSON that is safe on a terminal and reads back as the same value.

    Texts that come from `tr` are in English, as in a pipe.
    """
    console.out(printable_json(json.dumps(in_english(value), indent=2, ensure_ascii=False)))


def fields(value: object, *names: str) -> dict[str, Any]:
    """The attributes ``names`` of ``value``, for a record."""
    return {name: getattr(value, name) for name in names}


def iso(seconds: float) -> str:
    """A time in ISO 8601, to the second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def align_columns(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lines of at most ``width`` cells with all columns but the last padded to the same width."""
    widths = [max(map(cell_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padded = [
            cell + " " * (wide - cell_width(cell)) for cell, wide in zip(row, widths, strict=True)
        ]
        lines.append(truncate(GAP.join(padded).rstrip(), width))
    return lines


def whole_columns(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Aligned lines of at most ``width`` cells that cut nothing.

    The last column is broken at words. Columns that find no room are put on indented lines below
    their row, and so is what follows a cell that is wider than its column, see `_usual_width`.
    """
    *columns, last = zip(*rows, strict=True)
    widths = [*(_usual_width(column, width) for column in columns), max(map(cell_width, last))]
    lines: list[str] = []
    groups = _column_groups(widths, width)
    for row in rows:
        for start, end in groups:
            lead = INDENT if start else ""
            for cell, wide in zip(row[start : end - 1], widths[start : end - 1], strict=True):
                column_end = " " * (cell_width(lead) + wide + len(GAP))
                if cell_width(cell) > wide:
                    if width - cell_width(lead) < cell_width(cell):
                        lines += [lead.rstrip()] if lead.strip() else []
                        lead = INDENT
                    lines += _hanging(lead, cell, width)
                    lead = column_end
                else:
                    lead += cell + " " * (wide - cell_width(cell)) + GAP
            lines += _hanging(lead, row[end - 1].rstrip(), width)
    return lines


def _hanging(lead: str, text: str, width: int) -> list[str]:
    """``lead`` and ``text`` behind it, which stays in its column; no line if both are blank."""
    room = width - cell_width(lead)
    if room < min(cell_width(text), NARROWEST_LAST) and cell_width(lead) > len(INDENT):
        return [*filter(None, [lead.rstrip()]), *_hanging(INDENT, text, width)]
    column = TextColumn(max(room, NARROWEST_LAST))
    column.feed(text)
    column.close()
    if not lead.strip() and not column.lines:
        return []
    first, *rest = column.lines or [""]
    return [(lead + first).rstrip(), *(" " * cell_width(lead) + each for each in rest)]


def _usual_width(cells: Iterable[str], width: int) -> int:
    """The width of a column: that of its widest cell which leaves half of the line to others."""
    widths = [cell_width(cell) for cell in cells]
    return max((wide for wide in widths if wide <= width // 2), default=max(widths))


def _column_groups(widths: Sequence[int], width: int) -> list[tuple[int, int]]:
    """Slices of the columns that fit on a line each; a slice's last column may be broken."""
    groups, start, used = [], 0, 0
    for index, wide in enumerate(widths):
        last = index == len(widths) - 1
        needed = min(wide, NARROWEST_LAST) if last else wide
        if index > start and used + needed > width:
            groups.append((start, index))
            start, used = index, len(INDENT)
        used += wide + len(GAP)
    return [*groups, (start, len(widths))]
