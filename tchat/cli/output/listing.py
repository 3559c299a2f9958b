"""Listings: columns for a person, tab-separated lines for a pipe, JSON for a program."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tchat.cli.console import Console
from tchat.sanitize import printable_json, single_line

GAP = "  "


def print_rows(console: Console, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print ``rows`` under ``header``; each cell is made safe and put on one line.

    On a terminal the columns are aligned and the last one is cut at the edge. In a pipe there is
    no header, one tab between the cells, and nothing is cut.
    """
    safe = [[single_line(cell, 10_000) for cell in row] for row in rows]
    if not console.stdout_is_terminal:
        for row in safe:
            console.out("\t".join(row))
        return
    if safe:
        for line in align_columns([header, *safe], shutil.get_terminal_size().columns):
            console.out(line)


def print_json(console: Console, value: Any) -> None:
    """Print ``value`` as JSON that is safe on a terminal and reads back as the same value."""
    console.out(printable_json(json.dumps(value, indent=2, ensure_ascii=False)))


def when(seconds: float) -> str:
    """A time in the local zone, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def iso(seconds: float) -> str:
    """A time for a program, to the second."""
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


def cell_width(text: str) -> int:
    """Terminal cells of a line: CJK and emoji take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of, text))


def truncate(text: str, width: int) -> str:
    """``text`` within ``width`` cells; what is cut off is marked with ``…``."""
    return text if cell_width(text) <= width else text[: fitting_length(text, width - 1)] + "…"


def fitting_length(text: str, width: int) -> int:
    """How many characters of ``text`` fit into ``width`` cells."""
    if text.isascii():
        return min(len(text), max(width, 0))
    used = 0
    for count, character in enumerate(text):
        used += _cells_of(character)
        if used > width:
            return count
    return len(text)


def _cells_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
