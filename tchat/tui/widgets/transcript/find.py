"""Text found in entries, whether they are laid out or not, and where it is drawn."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from tchat.sanitize import printable, revealed
from tchat.tui.widgets.transcript.column import Layout
from tchat.tui.widgets.transcript.entry import Entry, Key
from tchat.tui.widgets.transcript.layout import REASONING, TEXT, Fold
from tchat.tui.widgets.transcript.step_layout import ARGUMENTS, arguments_source

# What may stand between two words: white space, and marks of Markdown that are not drawn.
_BETWEEN = r"[\s*_`~\[\]>]+"

Span = tuple[int, int, int]  # the number of a line, and two characters of it


class Hit(NamedTuple):
    """One place where the text was found: the ``number``-th in a part of an entry."""

    key: Key
    part: Fold
    number: int


def parts_of(entry: Entry) -> tuple[Fold, Fold]:
    """The parts of an entry in which text is found, in the order in which they are drawn."""
    return (REASONING if entry.step is None else ARGUMENTS), TEXT


def _source(entry: Entry, part: Fold) -> str:
    if part == TEXT:
        return entry.text
    return entry.reasoning if entry.step is None else arguments_source(entry.step)


class Query:
    """Words to be found one after the other, whatever their case.

    Args:
        text: The words; there must be one.
    """

    def __init__(self, text: str) -> None:
        words = printable(text).split()
        self._word = max(words, key=len).lower()
        self._pattern = re.compile(_BETWEEN.join(map(re.escape, words)), re.IGNORECASE)

    def hits(self, entry: Entry) -> Iterator[Hit]:
        """All places in an entry, in the order in which they are drawn."""
        shown = printable if entry.step is None else revealed
        for part in parts_of(entry):
            raw = _source(entry, part)
            if self._word not in raw.lower():  # much faster than the pattern
                continue
            for number, _ in enumerate(self._pattern.finditer(shown(raw))):
                yield Hit(entry.key, part, number)

    def drawn(self, layout: Layout, part: Fold) -> list[list[Span]]:
        """The characters of each place in a part of an entry, as far as it is not folded."""
        first, rows = layout.part_lines(part)
        pieces: list[str] = []
        spans: list[tuple[int, int]] = []  # of each row in all pieces
        at = 0
        for row in rows:
            text = row.text[row.lead : len(row.text) - row.fill]
            joint = row.joint if pieces else ""
            spans.append((at + len(joint), at + len(joint) + len(text)))
            pieces += (joint, text)
            at += len(joint) + len(text)
        matches = self._pattern.finditer("".join(pieces))
        return [list(_on_rows(match.span(), spans, first)) for match in matches]

    def line(self, layout: Layout, hit: Hit) -> int:
        """The number of the line that ``hit`` begins in; where it is not drawn, the first line."""
        places = self.drawn(layout, hit.part)
        return places[min(hit.number, len(places) - 1)][0][0] if places else layout.start


def _on_rows(match: tuple[int, int], rows: list[tuple[int, int]], first: int) -> Iterator[Span]:
    """The parts of ``match`` on each of ``rows``, of which the first has the number ``first``."""
    row = bisect_right(rows, match[0], key=lambda span: span[0]) - 1
    for number in range(max(0, row), len(rows)):
        start, stop = rows[number]
        if start >= match[1]:
            return
        begin, end = max(match[0], start), min(match[1], stop)
        if begin < end:
            yield first + number, begin - start, end - start
