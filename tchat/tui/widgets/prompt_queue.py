"""The prompts that wait for the reply under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tchat.sanitize import single_line

SHOWN = 3
GO_ON = "held: Enter sends the next one, ↑ takes the last back"


class PromptQueue(Widget):
    """One line for each waiting prompt, the next one first."""

    DEFAULT_CSS = """
    PromptQueue { height: auto; display: none; padding: 0 2; color: $text-muted; }
    """

    waiting: reactive[Sequence[str]] = reactive((), layout=True)
    held: reactive[bool] = reactive(False, layout=True)

    @dataclass
    class Clicked(Message):
        """The list was clicked: the last prompt is wanted back."""

    def watch_waiting(self, waiting: Sequence[str]) -> None:
        """Take no room when nothing waits."""
        self.display = bool(waiting)

    def render(self) -> Content:
        """The first lines of the queue, and how many more there are."""
        width = max(1, self.content_size.width or self.app.size.width)
        lines = [
            Content.assemble(("queued ", "bold $user"), single_line(text, width)).truncate(
                width, ellipsis=True
            )
            for text in self.waiting[:SHOWN]
        ]
        if len(self.waiting) > SHOWN:
            lines.append(Content(f"and {len(self.waiting) - SHOWN} more"))
        if self.held:
            lines.append(Content(GO_ON).truncate(width, ellipsis=True))
        return Content("\n").join(lines)

    def on_click(self, event: Click) -> None:
        """Give the last one back."""
        event.stop()
        self.post_message(self.Clicked())
