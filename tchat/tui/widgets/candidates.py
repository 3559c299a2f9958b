"""Several replies side by side, in as many columns as have room; the user takes one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widget import Widget

from tchat.sanitize import single_line
from tchat.translation import N_, tr, trn
from tchat.tui.keys import KEYS, KeyAction, Scope, declared, shown_by_id
from tchat.tui.textual_patches import carry_out_binding
from tchat.tui.widgets.rows import Part, PartsRow, part
from tchat.tui.widgets.transcript.entry import Entry
from tchat.tui.widgets.transcript.view import Transcript

if TYPE_CHECKING:
    from tchat.tui.widgets.transcript.entry import Status

REPLY = "reply"  # the key of its entry


class ReplyColumn(Vertical):
    """A reply that is written beside others, below its head."""

    DEFAULT_CSS = """
    ReplyColumn { width: 1fr; height: 1fr; border-left: vkey $panel; }
    ReplyColumn.-first { border-left: none; }
    ReplyColumn > .head { background: $panel; color: $foreground; }
    ReplyColumn > .head.-current { background: $primary; color: $background; }
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.standing = Standing(number)
        self._head = PartsRow(classes="head")
        self._reply = Transcript(roles=False)
        self._reply.can_focus = False  # the keys go to the view around it
        self._reply.begin(Entry(key=REPLY, role="assistant"))

    def compose(self) -> ComposeResult:
        """The head above the text."""
        yield self._head
        yield self._reply

    @property
    def entry(self) -> Entry:
        """The reply as far as it came."""
        return self._reply.entry(REPLY)

    def feed(self, text: str, reasoning: str, tokens: int) -> None:
        """Add text and reasoning of ``tokens``."""
        self._reply.feed(REPLY, text, reasoning)
        count = self.standing.tokens + tokens
        self.show(replace(self.standing, stage=Stage.WRITING, tokens=count))

    def finish(self, stage: Stage, text: str, reasoning: str, tokens: int) -> None:
        """Show the whole reply; nothing more comes."""
        status: Status = "stopped" if stage is Stage.STOPPED else "done"
        self._reply.update(replace(self.entry, text=text, reasoning=reasoning, status=status))
        self.show(replace(self.standing, stage=stage, tokens=tokens))

    def show(self, standing: Standing) -> None:
        """Show ``standing`` in the head."""
        self.standing = standing
        self._head.set_class(standing.current, "-current")
        self._head.show(standing.parts(), [standing.note])

    def scroll_pages(self, pages: float) -> None:
        """Scroll the text, by a line where it is less than a page."""
        moves = {
            -1: self._reply.action_page_up,
            1: self._reply.action_page_down,
            -0.5: self._reply.action_scroll_up,
            0.5: self._reply.action_scroll_down,
        }
        moves[pages]()


LABEL = 24  # characters of a label


class Stage(Enum):
    """How far a reply is; the value is a sign and a word."""

    WAITING = ("◌", "")
    WRITING = ("●", "")
    DONE = ("✓", "")
    STOPPED = ("■", N_("stopped"))
    CUT_OFF = ("■", N_("cut off"))
    LOOPED = ("■", N_("repeated itself"))


@dataclass(frozen=True, slots=True)
class Standing:
    """What is shown of one reply.

    Attributes:
        number: From 1.
        tokens: Written so far.
        label: A short text such as a ranker's score, raw; empty for none.
        current: Whether keys act on it.
    """

    number: int
    stage: Stage = Stage.WAITING
    tokens: int = 0
    label: str = ""
    current: bool = False

    def parts(self) -> list[Part]:
        """Number, sign and tokens."""
        sign, word = self.stage.value
        name = f"{'❯' if self.current else ' '} {self.number} {sign}"
        count = trn("{count:,} token", "{count:,} tokens", self.tokens) if self.tokens else ""
        full = " · ".join(filter(None, [word and tr(word), count]))
        short = f"{self.tokens:,}" if self.tokens else ""
        counts = part(full, count, short, "", keep=(3, 2, 1), lead=" ")
        return [part(name, style="bold"), counts]

    @property
    def note(self) -> Part:
        """The label, for the right end of a row."""
        return part(single_line(self.label, LABEL), "", keep=(4,), style="bold")

    def tab(self) -> Part:
        """The reply as a tab, where not all columns can be seen."""
        name = f"{'❯' if self.current else ' '}{self.number} {self.stage.value[0]}"
        label = single_line(self.label, LABEL) or (f"{self.tokens:,}" if self.tokens else "")
        forms = (f"{name} {label} ", f"{name} ") if label else (f"{name} ",)
        keep = (1 + self.current,) if label else ()
        return part(*forms, keep=keep, lead=" ", style="bold reverse" if self.current else "")


NARROWEST = 26  # cells of a column where all columns fit
EASY = 38  # cells of a column where some must be left out anyway
ENDED = (Stage.DONE, Stage.STOPPED, Stage.CUT_OFF, Stage.LOOPED)

# Hints by the action whose key they name, and how long each is kept.
WRITING = (
    ("candidates.take", N_("{key} keeps this one"), 3),
    ("candidates.stop", N_("{key} stops this one"), 2),
    ("chat.stop", N_("{key} stops all"), 4),
)
WRITTEN = (
    ("candidates.take", N_("{key} keeps this one"), 4),
    ("candidates.copy", N_("{key} copies"), 2),
)
MOVES, LEAVES = 5, 3
NUMBERS = "1-9"


class Candidates(Widget, can_focus=True):
    """Several replies to one question.

    Args:
        question: What they answer, raw.
        count: Replies.
        names: A label of each, such as the model that writes it, raw.
        keys: The keys in force, for the hints; without them those that are declared.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,shift+tab", "move(-1)", N_("Previous reply"), id="candidates.previous"),
        Binding("right,tab", "move(1)", N_("Next reply"), id="candidates.next"),
        Binding("enter", "take", N_("Keep this reply"), id="candidates.take"),
        Binding("s,delete", "stop_one", N_("Stop this reply"), id="candidates.stop"),
        Binding("c", "copy", N_("Copy this reply"), id="candidates.copy"),
        Binding("up,k", "scroll(-0.5)", N_("Scroll up"), id="candidates.up"),
        Binding("down,j", "scroll(0.5)", N_("Scroll down"), id="candidates.down"),
    ]
    DEFAULT_CSS = """
    Candidates { height: 1fr; layout: vertical; background: $background; }
    Candidates > #asked { color: $user; background: $user-background; text-style: bold; }
    Candidates > #tabs { background: $panel; color: $foreground; }
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

    def __init__(
        self,
        question: str,
        count: int,
        names: Sequence[str] = (),
        keys: Iterable[KeyAction] = (),
    ) -> None:
        super().__init__()
        known = keys or (*KEYS, *declared(self.BINDINGS, Scope.CANDIDATES))
        self._keys = shown_by_id(known)
        self._question = question
        self._columns = [ReplyColumn(number) for number in range(1, count + 1)]
        for column, name in zip(self._columns, names, strict=False):
            column.standing = replace(column.standing, label=name)
        self._tabs = PartsRow(id="tabs")
        self._hints = PartsRow(id="hints")
        self._current = 0
        self._moved = False  # whether the user moved the cursor
        self._kept: int | None = 0

    def compose(self) -> ComposeResult:
        """Question, tabs, columns, hints."""
        asked = PartsRow(id="asked")
        asked.show([part(f"▌ {single_line(self._question, 500)}")])
        yield asked
        yield self._tabs
        with Horizontal(id="columns"):
            yield from self._columns
        yield self._hints

    def on_mount(self) -> None:
        """Point at the first reply."""
        self._arrange()

    # What comes

    def feed(self, index: int, text: str, reasoning: str, tokens: int) -> None:
        """Add text and reasoning of ``tokens`` to a reply."""
        self._columns[index].feed(text, reasoning, tokens)
        self._show_tabs()

    def finish(self, index: int, stage: Stage, text: str, reasoning: str, tokens: int) -> None:
        """Show the whole of a reply, which has ended."""
        self._columns[index].finish(stage, text, reasoning, tokens)
        self._show_tabs()
        self._show_hints()

    def label(self, index: int, label: str) -> None:
        """Put a short text, such as a score, in the head of a reply."""
        column = self._columns[index]
        column.show(replace(column.standing, label=label))
        self._show_tabs()

    def keep(self, index: int | None) -> None:
        """Set the reply that the chat goes on with if none is taken; None: with none of them."""
        self._kept = index
        self._show_hints()

    def point_at(self, index: int) -> None:
        """Put the cursor on a reply, unless the user moved it."""
        if not self._moved:
            self._current = index
            self._arrange()

    def written(self, index: int) -> tuple[str, str]:
        """Text and reasoning of a reply as far as they came, raw."""
        entry = self._columns[index].entry
        return entry.text, entry.reasoning

    @property
    def ended(self) -> bool:
        """Whether no reply is being written any more."""
        return all(column.standing.stage in ENDED for column in self._columns)

    # What the user does

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Whether a key acts: nothing is stopped once all replies have ended."""
        return action != "stop_one" or not self.ended

    def action_move(self, step: int) -> None:
        """Make another reply current."""
        self._go((self._current + step) % len(self._columns))

    async def _on_key(self, event: events.Key) -> None:
        """A digit makes the reply of that number current; other keys act in the order typed."""
        if self.check_consume_key(event.key, event.character):
            event.stop()
            self._go(int(event.key) - 1)
        else:
            await carry_out_binding(self, event)

    def check_consume_key(self, key: str, character: str | None) -> bool:  # noqa: ARG002
        """Whether ``key`` is the number of a reply."""
        return key.isdecimal() and 1 <= int(key) <= len(self._columns)

    def action_take(self) -> None:
        """Go on with the current reply."""
        self.post_message(self.Taken(self._current))

    def action_stop_one(self) -> None:
        """Stop the current reply."""
        self.post_message(self.Stopped(self._current))

    def action_copy(self) -> None:
        """Copy the current reply."""
        self.post_message(self.Copied(self._columns[self._current].entry.text))

    def action_scroll(self, pages: float) -> None:
        """Scroll the current reply."""
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
        """Show as many replies as fit."""
        self._arrange()

    def _arrange(self) -> None:
        """Show the current reply with as many neighbours as fit."""
        seen = self._visible()
        for place, column in enumerate(self._columns):
            column.display = place in seen
            column.set_class(place == seen[0], "-first")
            column.show(replace(column.standing, current=place == self._current))
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
            self._tabs.show([column.standing.tab() for column in self._columns])

    def _show_hints(self) -> None:
        hints = [
            (tr(words, key=self._keys[action]), keep)
            for action, words, keep in (WRITTEN if self.ended else WRITING)
            if action in self._keys
        ]
        if self.ended and "chat.stop" in self._keys:
            hints.append((self._leaves(self._keys["chat.stop"]), LEAVES))
        moves = [self._keys.get(f"candidates.{each}", "") for each in ("previous", "next")]
        between = "" if all(len(each) < 2 for each in moves) else " "
        select = tr("{keys} select", keys=f"{between.join(moves)} {NUMBERS}".strip())
        hints.insert(0, (select, MOVES))
        self._hints.show([part(words, "", keep=(keep,)) for words, keep in hints])

    def _leaves(self, key: str) -> str:
        """What the key that stops does when there is nothing to stop."""
        if self._kept is None:
            return tr("{key} goes back", key=key)
        return tr("{key} keeps reply {number}", key=key, number=self._kept + 1)
