"""The locked screen: nothing of the chat, and a field for the passphrase."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from tchat.errors import TchatError, WrongPassphrase
from tchat.sanitize import printable, single_line
from tchat.translation import N_, tr
from tchat.tui.background import background
from tchat.tui.dialogs.dialog import Hint, HintLine
from tchat.tui.keys import show_key

KEYHOLE = "▣"
LOOK = 0.5  # seconds between two looks at what changes by itself
AGAIN = 3.0  # seconds within which a second Ctrl+Q quits, where something would be lost


@dataclass(frozen=True, slots=True)
class LockedChat:
    """What the locked screen asks of the chat behind it.

    Attributes:
        unlock: Unlocks the store by what was typed; raises `TchatError` when that is refused.
        wait: Seconds until the next try is looked at.
        is_starting: Whether there is no chat yet; then one without history can be begun.
        is_lost_at_quit: Whether something is lost when tchat ends now.
        is_busy: Whether a reply is still being written or stored behind the screen.
        is_private: Whether nothing of the chat is stored.
        key_fault: Why the key could not be forgotten; empty where it was.
    """

    unlock: Callable[[str], Awaitable[None]]
    wait: Callable[[], float]
    is_starting: bool = False
    is_lost_at_quit: Callable[[], bool] = lambda: False
    is_busy: Callable[[], bool] = lambda: False
    is_private: bool = False
    key_fault: Callable[[], str] = lambda: ""


class PassphraseField(Input):
    """A masked field; what is in it is never copied."""

    def __init__(self) -> None:
        super().__init__(
            password=True, placeholder=tr("Passphrase or recovery key"), select_on_focus=False
        )

    def action_copy(self) -> None:
        """Clear the field, as Ctrl+C does with a draft."""
        self.value = ""

    def action_cut(self) -> None:
        """Cut nothing: it would go to the clipboard."""


class UnlockScreen(Screen[bool]):
    """Covers the chat until the store is unlocked.

    Where there is no chat yet, it can also be left for one without history. ``on_end`` gets True
    once the store is unlocked, and False for a chat without history.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "f8", "go_private", N_("Begin a private chat without history"), id="unlock.private",
            show=False,
        ),
        Binding("ctrl+u", "clear", N_("Clear the field"), id="unlock.clear", show=False),
    ]  # fmt: skip
    VERTICAL_BREAKPOINTS = [(0, "-short"), (14, "-usual")]  # noqa: RUF012  as in Textual
    DEFAULT_CSS = """
    UnlockScreen {
        align: center middle;
        background: $background;
        color: $foreground;
        & > #lock { width: 56; max-width: 94%; height: auto; }
        & .line { width: 100%; height: auto; text-align: center; }
        & #key { color: $heading; }
        & #name { color: $heading; text-style: bold; }
        & #about { color: $muted; margin-bottom: 1; }
        & PassphraseField {
            border: round $muted;
            background: $background;
            padding: 0 1;
            &:focus { border: round $primary; }
        }
        & #told { height: 2; margin-top: 0; color: $muted; }
        & #told.-wrong { color: $error; }
        & #private {
            width: 100%;
            background: $background;
            color: $assistant;
            background-tint: $foreground 0%;
            text-style: none;
            &:focus { text-style: reverse; }
            &:hover { text-style: underline; }
        }
        & #hints {
            height: auto;
            width: 100%;
            text-align: center;
            color: $muted;
            margin-top: 1;
        }
        &.-short #key, &.-short #name { display: none; }
        &.-short #about { margin-bottom: 0; }
        &.-short #hints { margin-top: 0; }
    }
    """

    def __init__(self, chat: LockedChat, on_end: Callable[[bool], object]) -> None:
        super().__init__()
        self._chat = chat
        self._on_end = on_end
        self._field = PassphraseField()
        self._timer: Timer | None = None
        self._is_checking = False
        self._fault = ""  # why the last try was refused
        self._quit_asked = -math.inf
        self._had_focus = False

    @property
    def takes_keys(self) -> bool:
        """Whether the field was there and had the focus: before, keys would be lost."""
        self._had_focus = self._had_focus or self._field.has_focus
        return self._had_focus

    def _extend_compose(self, widgets: list[Widget]) -> None:
        """No toasts, which may hold words of the chat."""

    def compose(self) -> ComposeResult:
        """What is locked, the field, what is told, and the keys."""
        starting = self._chat.is_starting
        with Vertical(id="lock"):
            yield Static(KEYHOLE, id="key", classes="line", markup=False)
            yield Static("tchat", id="name", classes="line", markup=False)
            about = tr("Your chats are encrypted.") if starting else tr("The chat is locked.")
            yield Static(about, id="about", classes="line", markup=False)
            yield self._field
            yield Static("", id="told", classes="line", markup=False)
            private = Button(
                tr("Continue without history (private chat)"), id="private", compact=True
            )
            private.display = starting
            yield private
            yield HintLine(id="hints")

    def on_mount(self) -> None:
        """Take the passphrase at once."""
        self._field.focus()
        self._show_hints()
        self.show_state()

    def _show_hints(self) -> None:
        hints = [Hint("enter", N_("unlock"))]
        if self._chat.is_starting:
            hints.append(Hint("unlock.private", N_("without history")))
        hints.append(Hint("chat.quit", N_("quit")))
        bound = {each.binding.id: each.binding.key for each in self.active_bindings.values()}
        parts = [
            Content.assemble(
                (show_key(bound.get(hint.key, hint.key)), "bold $assistant"), f" {tr(hint.does)}"
            )
            for hint in hints
        ]
        self.query_one(HintLine).set_parts(parts)

    def show_state(self) -> None:
        """Tell what holds now: the last refusal, the seconds to wait, what goes on behind."""
        if self._timer is not None:
            self._timer.stop()
        told = self.query_one("#told", Static)
        seconds, is_busy = math.ceil(self._chat.wait()), self._chat.is_busy()
        if seconds or is_busy:
            self._timer = self.set_timer(LOOK, self.show_state)
        told.set_class(bool(self._fault) and not self._is_checking, "-wrong")
        if self._is_checking:
            text = tr("Checking…")
        elif self._fault and seconds:
            text = tr("{fault} Try again in {seconds} s.", fault=self._fault, seconds=seconds)
        elif seconds:
            text = tr("Too many wrong tries: wait {seconds} s.", seconds=seconds)
        elif self._fault:
            text = self._fault
        elif is_busy and self._chat.is_private:
            text = tr("A reply is being written, and not stored; then the key is forgotten.")
        elif is_busy:
            text = tr("A reply is being written; it is stored, then the key is forgotten.")
        elif fault := self._chat.key_fault():
            text = tr("The key is still in memory: {reason}", reason=printable(single_line(fault)))
        else:
            text = ""
        told.update(text)

    @on(Input.Submitted)
    def _try(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value and not self._is_checking and not self._chat.wait():
            self._is_checking = True
            self.show_state()
            self._unlock(event.value)

    @background(group="unlock")
    async def _unlock(self, typed: str) -> None:
        self._field.value = ""
        try:
            await self._chat.unlock(typed)
        except WrongPassphrase:
            capitals = typed.isupper() and sum(map(str.isalpha, typed)) > 1
            self._fault = (
                tr("The passphrase is wrong. All letters were capitals: is Caps Lock on?")
                if capitals
                else tr("The passphrase is wrong.")
            )
        except TchatError as error:
            self._fault = printable(single_line(str(error)))
        else:
            self._on_end(True)
            return
        finally:
            self._is_checking = False
        self.show_state()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if event.value and self._fault and not self._chat.wait():
            self._fault = ""
            self.show_state()

    @on(Button.Pressed)
    def _private(self) -> None:
        self.action_go_private()

    def action_go_private(self) -> None:
        """Begin a chat that needs no store; where there is a chat already, nothing."""
        if self._chat.is_starting and not self._is_checking:
            self._on_end(False)

    def action_clear(self) -> None:
        """Clear the field."""
        self._field.value = ""

    def may_quit(self) -> bool:
        """Whether Ctrl+Q quits: where something would be lost, the second one."""
        now = asyncio.get_running_loop().time()
        if not self._chat.is_lost_at_quit() or now - self._quit_asked < AGAIN:
            return True
        self._quit_asked = now
        self._fault = tr("Messages that are not stored would be lost: quit again to lose them.")
        self.show_state()
        return False
