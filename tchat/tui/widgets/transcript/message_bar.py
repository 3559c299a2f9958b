"""The line below the messages while the message cursor is on: its keys, and what is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.events import Key
from textual.message import Message
from textual.widgets import Input, Static

from tchat.sanitize import single_line
from tchat.translation import N_, tr
from tchat.tui.textual_patches import carry_out_binding

FOUND = 24  # characters of the text to be found beside the keys


class FindInput(Input):
    """The text to be found; keys act in the order typed."""

    async def _on_key(self, event: Key) -> None:
        """Carry out the key's binding at once: the key after Enter acts on the messages."""
        await carry_out_binding(self, event)


class MessageBar(Horizontal):
    """Shows that keys act on messages; finds text in them."""

    DEFAULT_CSS = """
    MessageBar {
        height: 1;
        background: $panel;
        color: $muted;
        & > .mode { width: auto; padding: 0 1; background: $primary; color: $background;
            text-style: bold; }
        & > .count { width: auto; padding: 0 1; color: $foreground; }
        & > .keys { width: 1fr; }
        & > Input, & > Input:focus { width: 1fr; height: 1; min-height: 1; border: none;
            padding: 0; background: $panel; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", N_("Leave the search"), show=False, id="find.leave"),
    ]

    class Changed(Message):
        """The text to be found is another."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    @dataclass
    class Closed(Message):
        """The text was entered, or the search was left."""

        entered: bool

    def __init__(self) -> None:
        super().__init__()
        self._count = ""

    def compose(self) -> ComposeResult:
        """Mode, text to be found, count, keys."""
        yield Static(classes="mode", markup=False)
        yield FindInput(id="find", select_on_focus=False)
        yield Static(classes="count", markup=False)
        yield Static(classes="keys", markup=False)

    @property
    def text(self) -> str:
        """The text to be found."""
        return self.query_one(Input).value

    @property
    def count_width(self) -> int:
        """Cells that the count takes beside the keys."""
        label = self._label()
        return cell_len(label) + 2 if label else 0

    def show_keys(self, keys: str) -> None:
        """Show the keys of the message cursor."""
        typed = self.query_one(Input)
        typed.display = False
        self.query_one(".mode", Static).update(tr("MESSAGES"))
        shown = self.query_one(".keys", Static)
        shown.display = True
        shown.update(Content(f" {keys}"))
        self.show_count(self._count if typed.value else "")

    def edit(self) -> None:
        """Let the user type the text to be found."""
        self.query_one(".mode", Static).update(tr("FIND"))
        self.query_one(".keys", Static).display = False
        typed = self.query_one(Input)
        typed.display = True
        self.screen.set_focus(typed)  # before the next event, which `focus` leaves to a turn

    def clear(self) -> None:
        """Forget the text to be found."""
        self.query_one(Input).value = ""
        self.show_count("")

    def show_count(self, count: str) -> None:
        """Show how much was found, behind the text while that is not typed."""
        self._count = count
        shown = count if self.query_one(Input).display else self._label()
        self.query_one(".count", Static).update(Content(shown))

    def _label(self) -> str:
        """The text to be found with its count; empty without one."""
        return f"/{single_line(self.text, FOUND)}  {self._count}" if self._count else ""

    def on_input_changed(self, event: Input.Changed) -> None:
        """Find as it is typed."""
        event.stop()
        self.post_message(self.Changed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Back to the messages."""
        event.stop()
        self.post_message(self.Closed(entered=True))

    def action_cancel(self) -> None:
        """Forget what was found."""
        self.post_message(self.Closed(entered=False))
