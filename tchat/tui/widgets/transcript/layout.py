"""The lines of one entry, parts of which can be folded."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style

from tchat.sanitize import PrintableStream, single_line
from tchat.translation import tr, trn
from tchat.tui.widgets.transcript.document import Document, Fence, PlainText
from tchat.tui.widgets.transcript.entry import Entry, Format, Role
from tchat.tui.widgets.transcript.lines import Line, cut, filled, line, on
from tchat.tui.widgets.transcript.role_line import (
    SEPARATOR,
    footer_line,
    has_marks,
    has_role_line,
    role_line,
)

FOLD = "fold"  # the key of a fold's name in a style's meta data
LONGEST = 40  # lines of text that do not fold by themselves


class Fold(NamedTuple):
    """A part of an entry that can be folded into one line.

    Attributes:
        name: Unique in the entry.
        shown: Lines of the part that stay in view above that line.
    """

    name: str
    shown: int = 0

    def line(self, text: str, style: Style, cells: int, *, folded: bool) -> Line:
        """The line that says what is hidden, and folds or unfolds it on a click."""
        mark = "▸" if folded else "▾"
        segment = Segment(f"{mark} {text}", style + Style(meta={FOLD: self.name}))
        drawn = line(cut([segment], cells))
        return replace(drawn, lead=len(drawn.text))


REASONING, TEXT = Fold("reasoning"), Fold("text", 20)
_FOLDED_ROLES = ("user", "assistant", "system")  # whose long texts fold


@dataclass(frozen=True, slots=True)
class Shape:
    """How one entry differs from others in its format.

    Attributes:
        folds: Whether a fold is folded, by its name, where the user chose.
        open: Whether a long text is not folded by itself.
        apart: Whether an empty line is above the entry: it begins a turn.
        joined: Whether no empty line is below it: a step follows.
        continues: Whether it goes on behind a step, so that who speaks is known.
    """

    folds: Mapping[str, bool] = field(default_factory=dict)
    open: bool = False
    apart: bool = False
    joined: bool = False
    continues: bool = False


class Sections(NamedTuple):
    """The lines of an entry from top to bottom; a tail may still change while text streams in."""

    above: list[Line]
    role: list[Line]
    reasoning_head: list[Line]
    reasoning: list[Line]
    reasoning_tail: list[Line]
    between: list[Line]
    text: list[Line]
    text_tail: list[Line]
    text_fold: list[Line]
    footer: list[Line]
    below: list[Line]

    def part(self, fold: Fold) -> list[Line]:
        """The lines of a part that can be folded."""
        if fold is REASONING:
            return [*self.reasoning, *self.reasoning_tail]
        return [*self.text, *self.text_tail]

    def start_of(self, fold: Fold) -> int:
        """The number of the first line of a part."""
        before = len(self.above) + len(self.role) + len(self.reasoning_head)
        if fold is REASONING:
            return before
        return before + len(self.reasoning) + len(self.reasoning_tail) + len(self.between)


class EntryLayout:
    """The lines of one entry, the last of them empty unless a step follows.

    Attributes:
        height: The number of lines.
    """

    def __init__(self, entry: Entry, form: Format, shape: Shape = Shape()) -> None:
        self.entry = entry
        self.shape = shape
        self._form = form
        self._palette = form.palette
        self._closed = False
        self._said: list[str] = []
        self._thought: list[str] = []
        self._printable, self._thought_printable = PrintableStream(), PrintableStream()
        self._body = _body(entry, form)
        self._reasoning: PlainText | None = None  # only while it is not folded
        self._take(entry.text, entry.reasoning)
        self._finish_or_arrange()

    @property
    def start(self) -> int:
        """The number of the first line that is neither empty nor names who speaks."""
        return self.shape.apart + len(self._role)

    @property
    def has_role_line(self) -> bool:
        """Whether a line names who speaks."""
        return bool(self._role)

    @property
    def settled(self) -> int:
        """The number of lines at the start that more text cannot change."""
        if not self.is_folded(REASONING):
            return 0
        return self._sections.start_of(TEXT) + len(self._sections.text)

    @property
    def end(self) -> int:
        """The number of the line that more text goes on in, or after."""
        parts = self._sections
        return parts.start_of(TEXT) + len(parts.text) + len(parts.text_tail) - 1

    @property
    def fences(self) -> Sequence[Fence]:
        """The blocks of code by their numbers."""
        return () if isinstance(self._body, PlainText) else self._body.fences

    def is_folded(self, fold: Fold) -> bool:
        """Whether a part of the entry is folded."""
        chosen = self.shape.folds.get(fold.name)
        if fold is TEXT:
            return self.can_fold(TEXT) and (not self.shape.open if chosen is None else chosen)
        if chosen is not None:
            return chosen
        return self.entry.status != "streaming" or any(map(str.strip, self._said))

    def can_fold(self, fold: Fold) -> bool:
        """Whether the entry has such a part, long enough to be folded."""
        if fold is REASONING:
            return any(map(str.strip, self._thought))
        foldable = self._closed and self.entry.role in _FOLDED_ROLES
        return foldable and len(self._body.lines) > LONGEST

    def lines(self, start: int = 0) -> Iterator[Line]:
        """The lines from the number ``start`` on."""
        for section in self._sections:
            yield from itertools.islice(section, start, None) if start else section
            start = max(0, start - len(section))

    def unfolded_lines(self) -> Iterator[tuple[int, Line]]:
        """The lines with their numbers; those of a folded text have the number of its fold."""
        number = 0
        for section in self._sections:
            for row in section:
                if section is self._sections.text_fold and self.is_folded(TEXT):
                    yield from ((number, hidden) for hidden in self._body.lines[TEXT.shown :])
                else:
                    yield number, row
                number += 1

    def part_lines(self, part: Fold) -> tuple[int, Sequence[Line]]:
        """The number of the first line of a part, and its lines as far as it is not folded."""
        return self._sections.start_of(part), self._sections.part(part)

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

    def reshape(self, shape: Shape) -> None:
        """Fold or unfold parts of the entry, or fit it to its neighbours."""
        self.shape = shape
        self._role = self._role_lines()
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
        self._role = self._role_lines()
        self._footer = self._footer_lines()
        self._arrange()

    def _role_lines(self) -> list[Line]:
        entry, form = self.entry, self._form
        if not has_role_line(entry, form) or (self.shape.continues and not has_marks(entry, form)):
            return []
        return [role_line(entry, form, facts=form.details)]

    def _arrange(self) -> None:
        head = self._reasoning_head()
        thought, body = self._reasoning, self._body
        waiting = self.entry.status == "streaming" and not (head or body.lines)
        folded = self.is_folded(TEXT)
        self._sections = Sections(
            above=[Line()] if self.shape.apart else [],
            role=self._role,
            reasoning_head=head,
            reasoning=thought.lines if thought else [],
            reasoning_tail=thought.tail if thought else [],
            between=[Line()] if head and (body.lines or body.tail) else [],
            text=body.lines[: TEXT.shown] if folded else body.lines,
            text_tail=body.tail or ([Line()] if waiting else []),
            text_fold=self._fold_line(folded=folded),
            footer=self._footer,
            below=[] if self.shape.joined else [Line()],
        )
        self.height = sum(map(len, self._sections))

    def _fold_line(self, *, folded: bool) -> list[Line]:
        if not folded and TEXT.name not in self.shape.folds:
            return []
        if not self.can_fold(TEXT):
            return []
        hidden = len(self._body.lines) - TEXT.shown
        more = trn("{count:,} more line", "{count:,} more lines", hidden)
        ground = self._palette.user if self.entry.role == "user" else self._palette.base
        style, cells = on(ground, self._palette.muted), self._form.cells
        drawn = TEXT.line(more if folded else tr("fold"), style, cells, folded=folded)
        return [filled(drawn, cells, ground) if self.entry.role == "user" else drawn]

    def _reasoning_head(self) -> list[Line]:
        if not self.can_fold(REASONING):
            return []
        self._unfold_or_fold()
        folded = self.is_folded(REASONING)
        length = sum(map(len, self._thought))
        count = trn("{count:,} character", "{count:,} characters", length)
        if self.entry.reasoning_tokens is not None:
            count = trn("{count:,} token", "{count:,} tokens", self.entry.reasoning_tokens)
        label = f"{tr('reasoning')}{SEPARATOR}{count}"
        if folded:
            label += SEPARATOR + single_line("".join(self._thought[:50])[:500])
        return [REASONING.line(label, self._palette.reasoning, self._form.cells, folded=folded)]

    def _unfold_or_fold(self) -> None:
        if self.is_folded(REASONING):
            self._reasoning = None
        elif self._reasoning is None:
            bar, style = [Segment("┆ ", self._palette.rule)], self._palette.reasoning
            self._reasoning = PlainText(style, self._palette, self._form.cells, first=bar, rest=bar)
            self._thought_printable = PrintableStream()
            self._reasoning.feed(self._thought_printable.feed("".join(self._thought)))

    def _footer_lines(self) -> list[Line]:
        user, cells = self.entry.role == "user", self._form.cells
        ground = self._palette.user if user else self._palette.base
        style = on(ground, self._palette.muted)
        rows = [[Segment(f"+ {single_line(name)}", style)] for name in self.entry.attachments]
        rows.append(footer_line(self.entry, ground, self._palette))
        drawn = [line(cut(row, cells)) for row in rows if row]
        return [filled(row, cells, ground) for row in drawn] if user else drawn


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


def estimate(entries: Iterable[Entry], form: Format) -> list[int]:
    """A cheap estimate of the lines that each of ``entries`` takes."""
    cells = form.cells
    around: dict[Role, int] = {}  # lines beside those of the text
    estimates: list[int] = []
    for entry in entries:
        text, role = entry.text, entry.role
        if role == "tool":
            estimates.append(1)
            continue
        if role not in around:
            around[role] = 1 + has_role_line(entry, form) + (role == "user")
        rows = 1 + text.count("\n") + len(text) // cells
        if rows > LONGEST and role in _FOLDED_ROLES:
            rows = TEXT.shown + 1
        estimates.append(rows + around[role] + (1 if entry.reasoning else 0))
    return estimates
