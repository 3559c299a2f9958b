"""Styled text broken into lines that fit a width in cells."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style

# Chinese, Japanese and Korean are written without spaces: a line may end after each character.
_IDEOGRAPHS = "\u2e80-\u303f\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff01-\uff60"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]\s*|[^\s{_IDEOGRAPHS}]+\s*|\s+")
_TAB = " " * 4


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the transcript, without the gutter.

    Attributes:
        segments: Its styled text.
        lead: Characters at its begin that are drawn around the text and not copied.
        fill: Characters at its end that only fill it.
        joint: What stands between this line and the one above when both are copied.
        cells: Its width.
    """

    segments: tuple[Segment, ...] = ()
    lead: int = 0
    fill: int = 0
    joint: str = "\n"
    cells: int = 0

    @property
    def text(self) -> str:
        """All of its characters."""
        return "".join(segment.text for segment in self.segments)


def line(segments: Iterable[Segment], *, lead: int = 0, joint: str = "\n") -> Line:
    """The line of ``segments``, without empty ones."""
    kept = tuple(segment for segment in segments if segment.text)
    return Line(kept, lead, joint=joint, cells=width(kept))


def width(segments: Iterable[Segment]) -> int:
    """Cells that ``segments`` take."""
    return sum(cell_len(segment.text) for segment in segments)


def wrap(segments: Sequence[Segment], cells: int) -> list[list[Segment]]:
    """Break ``segments`` at words, and words that are too long anywhere; keep the newlines.

    No row is wider than ``cells``, unless a single character is, and none ends in white space.
    """
    text = "".join(segment.text for segment in segments)
    if "\t" in text:
        segments = [Segment(part.text.replace("\t", _TAB), part.style) for part in segments]
        text = text.replace("\t", _TAB)
    spans: list[tuple[int, int]] = []
    start = 0
    for row in text.split("\n"):
        cuts = [0, *_breaks(row, cells), len(row)]
        for begin, end in itertools.pairwise(cuts):
            spans.append((start + begin, start + begin + len(row[begin:end].rstrip())))
        start += len(row) + 1
    return list(_sliced(segments, spans))


def fold(segments: Sequence[Segment], cells: int) -> list[list[Segment]]:
    """Break ``segments``, which hold no newline, wherever a row is full: nothing is left out."""
    text = "".join(segment.text for segment in segments)
    if cell_len(text) <= cells:
        return [list(segments)]
    spans: list[tuple[int, int]] = []
    start = 0
    for piece in chop_cells(text, cells):
        spans.append((start, start + len(piece)))
        start += len(piece)
    return list(_sliced(segments, spans))


def _breaks(row: str, cells: int) -> Iterator[int]:
    """Where rows after the first begin, as indexes into ``row``."""
    if cell_len(row) <= cells:
        return
    used = 0
    for match in _WORD.finditer(row):
        word = match[0]
        body = cell_len(word.rstrip())
        if used and used + body > cells:
            yield match.start()
            used = 0
        if body > cells:
            pieces = chop_cells(word.rstrip(), cells)
            at = match.start()
            for piece in pieces[:-1]:
                at += len(piece)
                yield at
            body, word = cell_len(pieces[-1]), word[at - match.start() :]
        used += body + len(word) - len(word.rstrip())


def _sliced(
    segments: Sequence[Segment], spans: Iterable[tuple[int, int]]
) -> Iterator[list[Segment]]:
    """The segments of each of ``spans``, which ascend and do not overlap."""
    number, offset = 0, 0  # the segment that the last span ended in, and where it begins
    for begin, end in spans:
        row: list[Segment] = []
        while number < len(segments):
            text, style, _ = segments[number]
            stop = offset + len(text)
            if stop > begin and end > offset:
                row.append(Segment(text[max(0, begin - offset) : end - offset], style))
            if stop > end:
                break
            number, offset = number + 1, stop
        yield [part for part in row if part.text]


def prefixed(
    rows: Iterable[Line], first: Sequence[Segment], rest: Sequence[Segment] | None = None
) -> list[Line]:
    """``rows`` behind ``first``, and from the second on behind ``rest``, by default space."""
    if not first and not rest:
        return list(rows)
    if rest is None:
        style = first[-1].style if first else None
        rest = [Segment(" " * width(first), style)]
    result: list[Line] = []
    before = first
    for row in rows:
        lead = row.lead + sum(len(part.text) for part in before)
        result.append(
            replace(
                row,
                segments=(*before, *row.segments),
                lead=lead,
                cells=row.cells + width(before),
            )
        )
        before = rest
    return result


def filled(row: Line, cells: int, style: Style) -> Line:
    """``row`` with spaces in ``style`` up to ``cells``."""
    if row.cells >= cells:
        return row
    fill = cells - row.cells
    space = Segment(" " * fill, style)
    return replace(row, segments=(*row.segments, space), fill=fill, cells=cells)


def cut(segments: Sequence[Segment], cells: int) -> list[Segment]:
    """The begin of ``segments`` on one row of at most ``cells``, with ``…`` for what is missing."""
    if width(segments) <= cells:
        return list(segments)
    row = fold(segments, max(1, cells - 1))[0]
    return [*row, Segment("…", row[-1].style if row else None)]
