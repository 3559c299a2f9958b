"""One entry as lines: what was said, with what there is to say about it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.segment import Segment

from tchat.humanize import counted
from tchat.sanitize import PrintableStream, single_line
from tchat.tui.widgets.transcript.document import PlainText
from tchat.tui.widgets.transcript.entry import Entry
from tchat.tui.widgets.transcript.footer import FOLD, SEPARATOR, action_style, footer_line
from tchat.tui.widgets.transcript.lines import Line, cut, filled, line
from tchat.tui.widgets.transcript.palette import Palette, on

if TYPE_CHECKING:
    from tchat.tui.widgets.transcript.document import Document, Fence

GUTTER = 2  # cells on the left, for the bars and the cursor
MARGIN = 1  # cells on the right
MEASURE = 100  # the longest line that is read with ease, in cells
NARROWEST = 8


@dataclass(frozen=True, slots=True)
class Format:
    """How entries are laid out.

    Attributes:
        width: Cells of the whole transcript.
        details: Whether time, model and token counts are shown.
        scores: Whether the judges' scores are.
    """

    palette: Palette
    width: int
    details: bool = False
    scores: bool = False

    @property
    def cells(self) -> int:
        """Width of the text."""
        return max(NARROWEST, min(MEASURE, self.width - GUTTER - MARGIN))


class EntryLayout:
    """The lines of one entry, the last of them empty.

    Args:
        folded: Whether the reasoning is one line; None: once there is an answer.
    """

    def __init__(self, entry: Entry, form: Format, folded: bool | None = None) -> None:
        self.entry = entry
        self._form = form
        self._palette = form.palette
        self._folded = folded
        self._closed = False
        self._said: list[str] = []
        self._thought: list[str] = []
        self._printable, self._thought_printable = PrintableStream(), PrintableStream()
        self._body = _body(entry, form)
        self._reasoning: PlainText | None = None  # only while it is not folded
        self._take(entry.text, entry.reasoning)
        self._finish_or_arrange()

    @property
    def height(self) -> int:
        """How many lines there are."""
        return sum(map(len, self._sections))

    @property
    def settled(self) -> int:
        """How many lines at the begin will not change while more text comes."""
        return sum(map(len, self._sections[:5])) if self.folded else 0

    @property
    def fences(self) -> Sequence[Fence]:
        """The blocks of code by their numbers."""
        return () if isinstance(self._body, PlainText) else self._body.fences

    @property
    def folded(self) -> bool:
        """Whether the reasoning is shown as one line."""
        if self._folded is not None:
            return self._folded
        return self.entry.status != "streaming" or any(map(str.strip, self._said))

    def lines(self, start: int = 0) -> Iterator[Line]:
        """The lines from the number ``start`` on."""
        for section in self._sections:
            yield from itertools.islice(section, start, None) if start else section
            start = max(0, start - len(section))

    def feed(self, text: str = "", reasoning: str = "") -> None:
        """Take more of a reply that streams in, raw."""
        self._take(text, reasoning)
        self._arrange()

    def current(self) -> Entry:
        """The entry with all the text that came."""
        self._said, self._thought = ["".join(self._said)], ["".join(self._thought)]
        return replace(self.entry, text=self._said[0], reasoning=self._thought[0])

    def adopt(self, entry: Entry) -> bool:
        """Show ``entry`` instead; False when its text is another, and nothing changed."""
        now = self.current()
        same = (now.role, now.text, now.reasoning) == (entry.role, entry.text, entry.reasoning)
        if not same or (self._closed and entry.status == "streaming"):
            return False
        self.entry = entry
        self._finish_or_arrange()
        return True

    def fold(self, folded: bool) -> None:
        """Show the reasoning as one line, or all of it."""
        self._folded = folded
        self._arrange()

    def _take(self, text: str, reasoning: str) -> None:
        if text:
            self._said.append(text)
            self._body.feed(self._printable.feed(text))
        if reasoning:
            self._thought.append(reasoning)
            if self._reasoning:
                self._reasoning.feed(self._thought_printable.feed(reasoning))

    def _finish_or_arrange(self) -> None:
        if self.entry.status != "streaming" and not self._closed:
            self._closed = True
            self._body.close()
        self._arrange()

    # The parts, from the top.

    def _arrange(self) -> None:
        head = [*self._role_head(), *self._reasoning_head()]
        thought = self._reasoning
        waiting = self.entry.status == "streaming" and not (head or self._body.lines)
        self._sections: list[list[Line]] = [
            head,
            thought.lines if thought else [],
            thought.tail if thought else [],
            [Line()] if head and (self._body.lines or self._body.tail) else [],
            self._body.lines,
            self._body.tail or ([line([Segment("▍", self._palette.muted)])] if waiting else []),
            self._footer_line(),
            [Line()],
        ]

    def _role_head(self) -> list[Line]:
        if self.entry.role != "system":
            return []
        return [line([Segment("system prompt", self._palette.muted)])]

    def _reasoning_head(self) -> list[Line]:
        if not any(map(str.strip, self._thought)):
            return []
        self._unfold_or_fold()
        count = counted(sum(map(len, self._thought)), "character")
        if self.entry.reasoning_tokens is not None:
            count = counted(self.entry.reasoning_tokens, "token")
        style = self._palette.reasoning + action_style(FOLD)
        label = f"{'▸' if self.folded else '▾'} reasoning{SEPARATOR}{count}"
        if self.folded:
            label += SEPARATOR + single_line("".join(self._thought[:50])[:500])
        return [line(cut([Segment(label, style)], self._form.cells))]

    def _unfold_or_fold(self) -> None:
        if self.folded:
            self._reasoning = None
        elif self._reasoning is None:
            bar = [Segment("┆ ", self._palette.rule)]
            self._reasoning = PlainText(
                self._palette.reasoning, self._palette, self._form.cells, first=bar, rest=bar
            )
            self._thought_printable = PrintableStream()
            self._reasoning.feed(self._thought_printable.feed("".join(self._thought)))

    def _footer_line(self) -> list[Line]:
        user = self.entry.role == "user"
        ground = self._palette.user if user else self._palette.base
        style = on(ground, self._palette.muted)
        rows = [[Segment(f"+ {single_line(name)}", style)] for name in self.entry.attachments]
        form = self._form
        rows.append(
            footer_line(self.entry, ground, self._palette, details=form.details, scores=form.scores)
        )
        drawn = [line(cut(row, self._form.cells)) for row in rows if row]
        return [filled(row, self._form.cells, ground) for row in drawn] if user else drawn


def _body(entry: Entry, form: Format) -> Document | PlainText:
    palette, cells = form.palette, form.cells
    if entry.role == "assistant":
        from tchat.tui.widgets.transcript.document import Document

        return Document(palette, cells)
    if entry.role == "user":
        return PlainText(palette.user, palette, cells, band=True)
    if entry.role == "system":
        return PlainText(palette.system, palette, cells)
    mark, style = ("✗ ", palette.error) if entry.role == "error" else ("— ", palette.notice)
    space = [Segment("  ", style)]
    return PlainText(style, palette, cells, first=[Segment(mark, style)], rest=space)


def estimate(entry: Entry, cells: int) -> int:
    """About how many lines of ``cells`` an entry takes; costs a fraction of a microsecond."""
    text = entry.text
    return 2 + text.count("\n") + len(text) // cells + bool(entry.reasoning)
