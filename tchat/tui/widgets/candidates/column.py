"""One of several replies: its header, and the text as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from tchat.humanize import counted
from tchat.sanitize import single_line
from tchat.tui.widgets.row import Ends, Part, Row
from tchat.tui.widgets.transcript.entry import Entry
from tchat.tui.widgets.transcript.view import Transcript

if TYPE_CHECKING:
    from tchat.tui.widgets.transcript.entry import Status

REPLY = "reply"  # its key in the column


class ReplyColumn(Vertical):
    """A reply that is written beside others.

    Attributes:
        standing: What its head says.
    """

    DEFAULT_CSS = """
    ReplyColumn { width: 1fr; height: 1fr; border-left: vkey $panel; }
    ReplyColumn.-first { border-left: none; }
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.standing = Standing(number)
        self._head = Head()
        self._reply = Transcript()
        self._reply.can_focus = False  # the keys go to the view around it
        self._reply.begin(Entry(key=REPLY, role="assistant"))
        self._current = False

    def compose(self) -> ComposeResult:
        """The head above the text."""
        yield self._head
        yield self._reply

    def on_mount(self) -> None:
        """Draw the head."""
        self._show()

    @property
    def text(self) -> str:
        """What is written, raw."""
        return self._reply.entry(REPLY).text

    @property
    def reasoning(self) -> str:
        """What it thought, raw."""
        return self._reply.entry(REPLY).reasoning

    def feed(self, text: str, reasoning: str, tokens: int) -> None:
        """Add what was written since; ``tokens`` are those of it."""
        self._reply.feed(REPLY, text, reasoning)
        self.tell(replace(
            self.standing, stage=Stage.WRITING, tokens=self.standing.tokens + tokens
        ))  # fmt: skip

    def finish(self, stage: Stage, text: str, reasoning: str, tokens: int) -> None:
        """Show the whole of it; nothing more comes."""
        status: Status = "stopped" if stage is Stage.STOPPED else "done"
        entry = Entry(
            key=REPLY,
            role="assistant",
            text=text,
            reasoning=reasoning,
            status=status,
        )
        self._reply.finish(entry)
        self.tell(replace(self.standing, stage=stage, tokens=tokens))

    def tell(self, standing: Standing) -> None:
        """Say something else in the head."""
        self.standing = standing
        self._show()

    def mark(self, current: bool) -> None:
        """Whether keys act on this one."""
        self._current = current
        self._show()

    def scroll_pages(self, pages: float) -> None:
        """Scroll the text, by a line where it is less than a page."""
        moves = {
            -1: self._reply.action_page_up,
            1: self._reply.action_page_down,
            -0.5: self._reply.action_scroll_up,
            0.5: self._reply.action_scroll_down,
        }
        moves[pages]()

    def _show(self) -> None:
        self._head.show(self.standing, current=self._current)


LABEL = 24  # characters of a label


class Stage(Enum):
    """How far a reply is; the value is its sign and its word."""

    WAITING = ("◌", "")
    WRITING = ("●", "")
    DONE = ("✓", "")
    STOPPED = ("■", "stopped")
    CUT_OFF = ("■", "cut off")


@dataclass(frozen=True, slots=True)
class Standing:
    """What is to be said of one reply.

    Attributes:
        number: From 1.
        stage: How far it is.
        tokens: Written so far.
        label: A short word on it, such as a judge's score, raw; empty for none.
    """

    number: int
    stage: Stage = Stage.WAITING
    tokens: int = 0
    label: str = ""

    def parts(self, *, current: bool) -> list[Part]:
        """The facts from the left, for a row of any width."""
        sign, word = self.stage.value
        name = f"{'❯' if current else ' '} {self.number} {sign}"
        count = counted(self.tokens, "token") if self.tokens else ""
        told = " · ".join(filter(None, [word, count]))
        short = f"{self.tokens:,}" if self.tokens else ""
        return [
            Part((Content.styled(name, "bold"),)),
            Part(tuple(map(Content, (told, count, short, ""))), (3, 2, 1), " "),
        ]

    @property
    def note(self) -> Part:
        """The label, for the right end of a row."""
        label = single_line(self.label, LABEL)
        return Part((Content.styled(label, "bold"), Content("")), (4,))


class Head(Row):
    """The row above one reply."""

    DEFAULT_CSS = """
    Head { background: $panel; color: $foreground; }
    Head.-current { background: $primary; color: $background; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: Ends = ((), ())

    def show(self, standing: Standing, *, current: bool) -> None:
        """Show what is to be said of the reply; ``current`` is the one that keys act on."""
        self.set_class(current, "-current")
        self._shown = standing.parts(current=current), [standing.note]
        self.update_parts()

    def parts(self) -> Ends:
        """How far the reply is, and what is said of it."""
        return self._shown


class Tabs(Row):
    """All replies on one row, where not all of them can be seen."""

    DEFAULT_CSS = """
    Tabs { background: $panel; color: $foreground; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._standings: Sequence[Standing] = ()
        self._current = 0

    def show(self, standings: Sequence[Standing], current: int) -> None:
        """Show how far each is; ``current`` counts from 0."""
        self._standings, self._current = standings, current
        self.update_parts()

    def parts(self) -> Ends:
        """A tab for each reply."""
        parts, current = [], self._current
        for place, each in enumerate(self._standings):
            style = "bold reverse" if place == current else ""
            words = f"{'❯' if place == current else ' '}{each.number} {each.stage.value[0]}"
            told = single_line(each.label, LABEL) or (f"{each.tokens:,}" if each.tokens else "")
            forms = (f"{words} {told} ", f"{words} ") if told else (f"{words} ",)
            contents = tuple(Content.styled(form, style) for form in forms)
            keep = (1 + (place == current),) if told else ()
            parts.append(Part(contents, keep, " "))
        return parts, ()
