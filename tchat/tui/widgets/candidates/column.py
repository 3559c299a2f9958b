"""One of several replies: its head, and the text as it comes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical

from tchat.tui.widgets.candidates.head import Head, Stage, Standing
from tchat.tui.widgets.transcript.entry import Entry
from tchat.tui.widgets.transcript.view import Transcript

if TYPE_CHECKING:
    from tchat.tui.widgets.transcript.entry import Status

REPLY = "reply"  # its key in the column


class ReplyView(Transcript, can_focus=False):
    """A transcript of one reply; the keys go to the view around it."""


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
        self._reply = ReplyView()
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
