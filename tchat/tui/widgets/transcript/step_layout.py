"""The lines of a call of a tool: one line, and below it, unfolded, its arguments and its result."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from tchat.sanitize import revealed
from tchat.step_text import (
    MARKS,
    REASON_FIRST,
    argument_text,
    one_line,
    short_arguments,
    step_facts,
)
from tchat.tui.widgets.transcript.document import Fence, PlainText
from tchat.tui.widgets.transcript.entry import Entry, Format, Step
from tchat.tui.widgets.transcript.layout import FOLD, TEXT, Fold, Shape
from tchat.tui.widgets.transcript.lines import Line, cut, line, prefixed
from tchat.tui.widgets.transcript.role_line import SEPARATOR, sent_mark

ARGUMENTS = Fold("arguments")  # folds together with the result
NAMES = 16  # cells of the names of arguments
NAME = 64  # characters of the name of a tool
_BAR = "┆ "
_SETTLED = ("done", "failed", "refused", "stopped")  # states that a call ends in


def arguments_source(step: Step) -> str:
    """The arguments as they are shown unfolded, without their names; raw."""
    return "\n".join(argument_text(value) for value in step.arguments.values())


class StepLayout:
    """The lines of one call, the last of them empty unless another entry joins it.

    It has what an `EntryLayout` has.

    Attributes:
        height: The number of lines.
        start: The number of the first line that can be copied.
        settled: Lines at the start that more text cannot change: no text streams in.
        has_role_line: Whether a line names who speaks: none does.
    """

    start, settled, has_role_line = 0, 0, False
    fences: Sequence[Fence] = ()

    def __init__(self, entry: Entry, form: Format, shape: Shape) -> None:
        self.entry = entry
        self.shape = shape
        self._form = form
        self._palette = form.palette
        self._arrange()

    @property
    def end(self) -> int:
        """The number of the last line that has a text."""
        return self.height - 1 - (not self.shape.joined)

    @property
    def _step(self) -> Step:
        return self.entry.step or Step("?")

    def can_fold(self, fold: Fold) -> bool:
        """Whether there is something to fold."""
        return fold in (TEXT, ARGUMENTS) and bool(self._step.arguments or self.entry.text)

    def is_folded(self, fold: Fold) -> bool:  # noqa: ARG002  all of it folds together
        """Whether only one line is shown."""
        return self.shape.folds.get(TEXT.name, True)

    def lines(self, start: int = 0) -> Iterator[Line]:
        """The lines from the number ``start`` on."""
        return itertools.islice(self._lines, start, None)

    def unfolded_lines(self) -> Iterator[tuple[int, Line]]:
        """The lines with their numbers."""
        return enumerate(self._lines)

    def part_lines(self, part: Fold) -> tuple[int, Sequence[Line]]:
        """The number of the first line of a part, and its lines as far as it is not folded."""
        if part == TEXT:
            return 1 + len(self._arguments) + self._gap, self._result
        return 1, self._arguments

    def feed(self, text: str = "", reasoning: str = "") -> None:  # noqa: ARG002
        """Add to the result."""
        self.entry = replace(self.entry, text=self.entry.text + text)
        self._arrange()

    def current(self) -> Entry:
        """The entry."""
        return self.entry

    def adopt(self, entry: Entry) -> bool:
        """Show ``entry`` instead; False if it is no call."""
        if entry.step is None:
            return False
        self.entry = entry
        self._arrange()
        return True

    def reshape(self, shape: Shape) -> None:
        """Fold or unfold it, or fit it to its neighbours."""
        self.shape = shape
        self._arrange()

    def _arrange(self) -> None:
        folded = self.is_folded(TEXT)
        self._arguments = [] if folded else self._argument_lines()
        self._result = [] if folded else self._result_lines()
        self._gap = bool(self._arguments and self._result)
        bar = line([Segment(_BAR.rstrip(), self._palette.rule)])
        self._lines = [
            self._head(folded=folded),
            *self._arguments,
            *([replace(bar, lead=1)] if self._gap else ()),
            *self._result,
            *(() if self.shape.joined else (Line(),)),
        ]
        self.height = len(self._lines)

    def _head(self, *, folded: bool) -> Line:
        step, palette = self._step, self._palette
        sign = MARKS.get(step.state, "")
        opens = self.can_fold(TEXT) and step.state in _SETTLED
        mark = ("▸ " if folded else "▾ ") if opens else ""
        # Without a fold the sign stands in its place, so that the names are below each other.
        start = f"{mark}{sign} " if sign and mark else mark or f"{sign or '·'} "
        tone = self._tone(step.state)
        first, *rest = [*step_facts(step.state, self.entry.text, step.seconds), ""]
        segments = [
            Segment(start, tone if sign else palette.muted),
            Segment(one_line(step.name, NAME), palette.base),
        ]
        if step.sent_to:
            segments.append(Segment(f" {sent_mark(step.sent_to)}", palette.muted))
        arguments = short_arguments(step.arguments)
        if step.state in REASON_FIRST:
            rest.append(arguments)
        elif arguments:
            segments.append(Segment(f" {arguments}", palette.muted))
        if first:
            segments.append(Segment(SEPARATOR, palette.muted))
            segments.append(Segment(first, tone if sign else palette.muted))
        segments += (Segment(f"{SEPARATOR}{fact}", palette.muted) for fact in rest if fact)
        click = Style(meta={FOLD: TEXT.name})
        drawn = cut(segments, self._form.cells)
        if opens:
            drawn = [Segment(text, (style or palette.base) + click) for text, style, _ in drawn]
        return line(drawn, lead=len(start))

    def _tone(self, state: str) -> Style:
        palette = self._palette
        tones = {"asking": palette.cursor, "failed": palette.error, "refused": palette.error}
        return tones.get(state, palette.muted)

    def _argument_lines(self) -> list[Line]:
        palette, arguments = self._palette, self._step.arguments
        names = {name: one_line(name, NAMES) for name in arguments}
        taken = max(map(cell_len, names.values()), default=0) + 2
        bar = Segment(_BAR, palette.rule)
        rows: list[Line] = []
        for name, value in arguments.items():
            label = names[name] + " " * (taken - cell_len(names[name]))
            first = [bar, Segment(label, palette.muted)]
            rest = [bar, Segment(" " * taken, palette.muted)]
            text = self._text(revealed(argument_text(value)), palette.base, taken)
            rows += prefixed(text or [Line()], first, rest)
        return rows

    def _result_lines(self) -> list[Line]:
        bar = [Segment(_BAR, self._palette.rule)]
        return prefixed(self._text(revealed(self.entry.text), self._palette.muted), bar, bar)

    def _text(self, text: str, style: Style, taken: int = 0) -> list[Line]:
        """``text`` as typed, in lines that leave room for the bar and ``taken`` cells."""
        cells = max(1, self._form.cells - len(_BAR) - taken)
        plain = PlainText(style, self._palette, cells)
        plain.feed(text)
        plain.close()
        return plain.lines
