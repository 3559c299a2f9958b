"""Several replies side by side, in as many columns as have room; the user takes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from tchat.humanize import counted
from tchat.sanitize import single_line
from tchat.tui.widgets.rows import Ends, Part, PartsRow, Row
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


NARROWEST = 26  # cells of a column where all of them fit,
EASY = 38  # and where some must be left out anyway
ENDED = (Stage.DONE, Stage.STOPPED, Stage.CUT_OFF)

MOVES = ("←→ 1-9 moves", 5)
WRITING = (MOVES, ("Enter takes it, the others stop", 3), ("s stops one", 2), ("Esc stops all", 4))
WRITTEN = (MOVES, ("Enter keeps it", 4), ("c copies", 2), ("Esc {leaves}", 3))


class Candidates(Widget, can_focus=True):
    """Several replies to one question.

    Args:
        question: What they answer, raw.
        count: Replies.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,shift+tab", "move(-1)", "Previous reply", id="candidates.previous"),
        Binding("right,tab", "move(1)", "Next reply", id="candidates.next"),
        Binding("enter", "take", "Keep this reply", id="candidates.take"),
        Binding("s,delete", "stop_one", "Stop this reply", id="candidates.stop"),
        Binding("c", "copy", "Copy this reply", id="candidates.copy"),
        Binding("up,k", "scroll(-0.5)", "A line up", id="candidates.up"),
        Binding("down,j", "scroll(0.5)", "A line down", id="candidates.down"),
    ]
    DEFAULT_CSS = """
    Candidates { height: 1fr; layout: vertical; background: $background; }
    Candidates > #asked { color: $user; background: $user-background; text-style: bold; }
    Candidates > #columns { height: 1fr; }
    Candidates > #hints { color: $muted; }
    """

    @dataclass
    class Taken(Message):
        """The user goes on with a reply, by its index."""

        index: int

    @dataclass
    class Stopped(Message):
        """The user wants no more of a reply, by its index."""

        index: int

    @dataclass
    class Copied(Message):
        """The user wants the text of a reply; raw."""

        text: str

    def __init__(self, question: str, count: int) -> None:
        super().__init__()
        self._question = question
        self._columns = [ReplyColumn(number) for number in range(1, count + 1)]
        self._tabs = Tabs()
        self._hints = PartsRow(id="hints")
        self._current = 0
        self._moved = False  # whether the user put the cursor somewhere
        self._kept: int | None = 0

    def compose(self) -> ComposeResult:
        """Question, tabs, columns, hints."""
        question = Content(f"▌ {single_line(self._question, 500)}")
        yield PartsRow([Part((question,))], id="asked")
        yield self._tabs
        with Horizontal(id="columns"):
            yield from self._columns
        yield self._hints

    def on_mount(self) -> None:
        """Begin with the first."""
        self._arrange()

    # What comes

    def feed(self, index: int, text: str, reasoning: str, tokens: int) -> None:
        """Add to a reply; ``tokens`` are those of the pieces."""
        self._columns[index].feed(text, reasoning, tokens)
        self._show_tabs()

    def finish(self, index: int, stage: Stage, text: str, reasoning: str, tokens: int) -> None:
        """Show the whole of a reply, which has ended."""
        self._columns[index].finish(stage, text, reasoning, tokens)
        self._show_tabs()
        self._show_hints()

    def label(self, index: int, label: str) -> None:
        """Put a short word, such as a score, beside the head of a reply."""
        column = self._columns[index]
        column.tell(replace(column.standing, label=label))
        self._show_tabs()

    def keep(self, index: int | None) -> None:
        """Which one the chat goes on with when none is taken; None for what was there before."""
        self._kept = index
        self._show_hints()

    def point_at(self, index: int) -> None:
        """Put the cursor on a reply, unless the user has put it somewhere."""
        if not self._moved:
            self._current = index
            self._arrange()

    def written(self, index: int) -> tuple[str, str]:
        """Text and reasoning of a reply as far as they came, raw."""
        return self._columns[index].text, self._columns[index].reasoning

    @property
    def ended(self) -> bool:
        """Whether no reply is being written any more."""
        return all(column.standing.stage in ENDED for column in self._columns)

    # What the user does

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Whether a key does what it stands for: nothing is stopped once all have ended."""
        return action != "stop_one" or not self.ended

    def action_move(self, step: int) -> None:
        """Make another one current."""
        self._go((self._current + step) % len(self._columns))

    def on_key(self, event: events.Key) -> None:
        """A digit makes the reply of that number current."""
        if event.key.isdecimal() and 1 <= int(event.key) <= len(self._columns):
            event.stop()
            self._go(int(event.key) - 1)

    def action_take(self) -> None:
        """Go on with the current one."""
        self.post_message(self.Taken(self._current))

    def action_stop_one(self) -> None:
        """Stop the current one."""
        self.post_message(self.Stopped(self._current))

    def action_copy(self) -> None:
        """Copy the current one."""
        self.post_message(self.Copied(self._columns[self._current].text))

    def action_scroll(self, pages: float) -> None:
        """Scroll the current one."""
        self._columns[self._current].scroll_pages(pages)

    def on_click(self, event: events.Click) -> None:
        """A click makes a reply current, two take it."""
        self.focus()
        for place, column in enumerate(self._columns):
            if column.display and column.region.contains(*event.screen_offset):
                self._go(place)
                if event.chain == 2:
                    self.action_take()

    def _go(self, place: int) -> None:
        self._current, self._moved = place, True
        self._arrange()

    # The look

    def on_resize(self) -> None:
        """Show as many as have room."""
        self._arrange()

    def _arrange(self) -> None:
        """Show the current one with as many of its neighbours as have room."""
        seen = self._visible()
        for place, column in enumerate(self._columns):
            column.display = place in seen
            column.set_class(place == seen[0], "-first")
            column.mark(place == self._current)
        self._tabs.display = len(seen) < len(self._columns)
        self._show_tabs()
        self._show_hints()

    def _visible(self) -> Sequence[int]:
        count, width = len(self._columns), self.size.width or 80
        shown = count if width // count >= NARROWEST else max(1, min(count, width // EASY))
        first = min(max(0, self._current - shown // 2), count - shown)
        return range(first, first + shown)

    def _show_tabs(self) -> None:
        if self._tabs.display:
            self._tabs.show([column.standing for column in self._columns], self._current)

    def _show_hints(self) -> None:
        if self._kept is None:
            leaves = "goes back"
        else:
            leaves = "keeps the first" if self._kept == 0 else f"keeps reply {self._kept + 1}"
        hints = WRITTEN if self.ended else WRITING
        self._hints.show(
            [
                Part((Content(words.format(leaves=leaves)), Content("")), (keep,))
                for words, keep in hints
            ]
        )
