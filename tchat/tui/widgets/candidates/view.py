"""The replies side by side: in columns as many as have room, one is current, and one is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from tchat.sanitize import single_line
from tchat.tui.widgets.candidates.column import ReplyColumn, Stage, Tabs
from tchat.tui.widgets.row import Part, PartsRow

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
