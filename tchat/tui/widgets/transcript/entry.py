"""One entry of the transcript: its data, its lines, and the footer below them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from rich.segment import Segment
from rich.style import Style

from tchat.humanize import counted
from tchat.sanitize import PrintableStream, single_line
from tchat.tui.widgets.transcript.document import Document, Fence, PlainText
from tchat.tui.widgets.transcript.lines import Line, Palette, cut, filled, line, on

Key: TypeAlias = int | str
Role: TypeAlias = Literal["user", "assistant", "system", "notice", "error"]
Status: TypeAlias = Literal["streaming", "done", "stopped", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A message of the conversation, a notice, or an error.

    Attributes:
        key: Unique in the transcript.
        role: Who speaks; only an assistant's text is Markdown.
        text: The text, raw: it is made printable when it is shown.
        reasoning: The model's reasoning, raw.
        created_at: Seconds since the epoch; None if unknown.
        tokens: Tokens of text and reasoning together.
        reasoning_tokens: Tokens of the reasoning alone.
        sibling: Number of this sibling, from 1, and their count.
        pinned: Whether it stays in the context.
        rating: The user's: 1 for good, -1 for bad.
        by_person: Whether a person wrote this reply.
        scores: Name and score of each ranker.
        attachments: Names of the files sent with it.
        label: For example the name of the model.
        retry: Whether an error offers to try again.
    """

    key: Key
    role: Role
    text: str = ""
    reasoning: str = ""
    status: Status = "done"
    created_at: float | None = None
    tokens: int | None = None
    reasoning_tokens: int | None = None
    sibling: tuple[int, int] = (1, 1)
    pinned: bool = False
    rating: int = 0
    by_person: bool = False
    scores: tuple[tuple[str, float], ...] = ()
    attachments: tuple[str, ...] = ()
    label: str = ""
    retry: bool = True


ACTION = "action"  # the key of an action in a style's meta data
FOLD = "reasoning"  # the action that the transcript carries out itself
SEPARATOR = " · "

_CHANGES, _PLACE = ("copy", "edit", "regenerate"), ("branch", "delete", "pin")
_ACTIONS = {
    "user": (*_CHANGES, *_PLACE),
    "assistant": (*_CHANGES, "continue", *_PLACE, "good", "bad"),
    "system": ("copy", "edit"),
    "notice": ("copy",),
    "error": ("copy", "retry"),
}


# Short names, so that all actions on a reply fit a screen of 60 columns.
_NAMES = {"regenerate": "regen", "good": "+", "bad": "-"}


def action_style(action: str) -> Style:
    """A style that only makes text ask for ``action`` on a click."""
    return Style(meta={ACTION: action})


def footer_line(entry: Entry, ground: Style, form: Format) -> list[Segment]:
    """The segments of the line below ``entry``, if any."""
    quiet, action = on(ground, form.palette.muted), on(ground, form.palette.action)
    parts = _marks(entry, quiet, action)
    parts += _scores(entry, quiet) if form.scores else []
    parts += _details(entry, quiet) if form.details else []
    between = Segment(SEPARATOR, quiet)
    return [segment for part in parts for segment in (between, *part)][1:]


def action_bar(entry: Entry, palette: Palette) -> list[Segment]:
    """The actions on ``entry``, to be clicked."""
    segments: list[Segment] = []
    for action in _ACTIONS[entry.role]:
        name = "unpin" if action == "pin" and entry.pinned else _NAMES.get(action, action)
        segments.append(Segment("  ", palette.base))
        segments.append(Segment(name, palette.action + action_style(action)))
    return segments[1:]


def _marks(entry: Entry, style: Style, action: Style) -> list[list[Segment]]:
    marks: list[list[Segment]] = []
    if entry.role == "error" and entry.retry:
        marks.append([Segment("↻ retry", action + action_style("retry"))])
    if entry.status == "stopped":
        before = " before a reply" if entry.role == "user" else ""
        marks.append([Segment(f"■ stopped{before}", style)])
    if entry.status == "interrupted":
        resume = Segment("/continue", action + action_style("continue"))
        marks.append([Segment("◇ interrupted — ", style), resume])
    index, count = entry.sibling
    if count > 1:
        left = Segment("‹", style + action_style("previous"))
        right = Segment("›", style + action_style("next"))
        marks.append([left, Segment(f" {index}/{count} ", style), right])
    if entry.pinned:
        marks.append([Segment("▲ pinned", style)])
    if entry.rating:
        marks.append([Segment("+ good" if entry.rating > 0 else "- bad", style)])
    if entry.by_person:
        marks.append([Segment("by hand", style)])
    return marks


def _scores(entry: Entry, style: Style) -> list[list[Segment]]:
    return [[Segment(f"{single_line(name)} {score:.2f}", style)] for name, score in entry.scores]


def _details(entry: Entry, style: Style) -> list[list[Segment]]:
    parts = [single_line(entry.label)] if entry.label else []
    if entry.created_at is not None:
        parts.append(time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.created_at)))
    if entry.tokens is not None:
        parts.append(counted(entry.tokens, "token"))
    return [[Segment(part, style)] for part in parts]


GUTTER = 2  # cells on the left, for the bars and the cursor
MARGIN = 1  # cells on the right
MEASURE = 100  # cells of the longest line of text
NARROWEST = 8  # cells of the shortest


@dataclass(frozen=True, slots=True)
class Format:
    """How entries are laid out.

    Attributes:
        width: Cells of the whole transcript.
        details: Whether to show time, model and token counts.
        scores: Whether to show the judges' scores.
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

    Attributes:
        height: The number of lines.

    Args:
        folded: Whether the reasoning is one line; None: as soon as there is an answer.
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
    def settled(self) -> int:
        """The number of lines at the start that more text cannot change."""
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
        """Add text to a reply that streams in, raw."""
        self._take(text, reasoning)
        self._arrange()

    def current(self) -> Entry:
        """The entry with the text that came so far."""
        self._said, self._thought = ["".join(self._said)], ["".join(self._thought)]
        return replace(self.entry, text=self._said[0], reasoning=self._thought[0])

    def adopt(self, entry: Entry) -> bool:
        """Show ``entry`` instead; False, without a change, if it has another text."""
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

    def _arrange(self) -> None:
        head = self._reasoning_head()
        if self.entry.role == "system":
            head.insert(0, line([Segment("system prompt", self._palette.muted)]))
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
        self.height = sum(map(len, self._sections))

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
            bar, style = [Segment("┆ ", self._palette.rule)], self._palette.reasoning
            self._reasoning = PlainText(style, self._palette, self._form.cells, first=bar, rest=bar)
            self._thought_printable = PrintableStream()
            self._reasoning.feed(self._thought_printable.feed("".join(self._thought)))

    def _footer_line(self) -> list[Line]:
        user = self.entry.role == "user"
        ground = self._palette.user if user else self._palette.base
        style = on(ground, self._palette.muted)
        rows = [[Segment(f"+ {single_line(name)}", style)] for name in self.entry.attachments]
        rows.append(footer_line(self.entry, ground, self._form))
        drawn = [line(cut(row, self._form.cells)) for row in rows if row]
        return [filled(row, self._form.cells, ground) for row in drawn] if user else drawn


def _body(entry: Entry, form: Format) -> Document | PlainText:
    palette, cells = form.palette, form.cells
    if entry.role == "assistant":
        return Document(palette, cells)
    if entry.role == "user":
        return PlainText(palette.user, palette, cells, band=True)
    if entry.role == "system":
        return PlainText(palette.system, palette, cells)
    mark, style = ("✗ ", palette.error) if entry.role == "error" else ("— ", palette.notice)
    space = [Segment("  ", style)]
    return PlainText(style, palette, cells, first=[Segment(mark, style)], rest=space)


def estimate(entry: Entry, cells: int) -> int:
    """A cheap estimate of the lines of ``cells`` that an entry takes."""
    text = entry.text
    return 2 + text.count("\n") + len(text) // cells + bool(entry.reasoning)
