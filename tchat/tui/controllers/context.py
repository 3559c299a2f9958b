"""What the controllers of the chat screen share: the open chat, its turn, the status line."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from textual.notifications import SeverityLevel
from textual.screen import Screen

from tchat.errors import MODELS, SETTINGS, TchatError, UsageError
from tchat.models.files import short_model_name
from tchat.paths import Paths
from tchat.sanitize import printable
from tchat.settings import Settings
from tchat.translation import tr
from tchat.tui.keys import KeyAction, with_keymap
from tchat.tui.services.downloads import Downloads
from tchat.tui.widgets import status
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.prompt_draft import Draft
from tchat.tui.widgets.status import StatusData, StatusLine

if TYPE_CHECKING:
    from tchat.engine import events
    from tchat.engine.engine_thread import Request
    from tchat.tui.services.conversation import Conversation
    from tchat.tui.services.sessions import MessageService, SessionService


class ChatContext:
    """The open chat, the user's folders, and the screen that both are shown on.

    Attributes:
        conversation: The open chat, once the sessions are opened.
        messages: Those of the open session, likewise.
        sessions: All stored sessions, likewise.
        turn_state: The turn under way.
        downloads: What is being pulled.
        status: The status line.
        settle: Called when a turn is over, or the session changed.
        is_ready: Whether the sessions are open; the first picture does not wait for them.
    """

    conversation: Conversation
    messages: MessageService
    sessions: SessionService
    settle: Callable[[], Awaitable[None]]

    def __init__(
        self, screen: Screen[None], settings: Settings, paths: Paths, *, private: bool
    ) -> None:
        self.screen = screen
        self.paths = paths
        self.is_ready = False
        self.turn_state = TurnState()
        self.downloads = Downloads(paths)
        self.status = StatusController(self)
        self._first_settings = settings
        self._first_private = private

    def keys_in_force(self) -> tuple[KeyAction, ...]:
        """Every key as it is after remapping."""
        from tchat.tui.keymap import ALL_BINDINGS, remap

        settings = self._first_settings  # keys change at the next start
        keymap = remap(settings.keys, ALL_BINDINGS, settings.keymap).keymap
        return with_keymap(keymap, ALL_BINDINGS)

    def key_name(self, action: str) -> str:
        """The first key that does an action, as it is shown; by the id of the action."""
        found = next(each for each in self.keys_in_force() if each.id == action)
        return found.shown_keys[0] if found.shown_keys else f"`{found.id}`"

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self.conversation.settings if self.is_ready else self._first_settings

    @property
    def private(self) -> bool:
        """Whether nothing of the session is stored."""
        return self.conversation.private if self.is_ready else self._first_private

    @property
    def prompt(self) -> Prompt:
        """Where the user types."""
        return self.screen.query_one(Prompt)

    def notify(
        self, text: str, *, severity: SeverityLevel = "information", timeout: float | None = None
    ) -> None:
        """Show a toast; the caller sanitizes what is foreign in ``text``."""
        self.screen.notify(text, severity=severity, timeout=timeout, markup=False)

    def hinted(self, error: TchatError) -> str:
        """The text of an error, whose hint names keys of the screen."""
        places = {SETTINGS: self.key_name("chat.settings"), MODELS: self.key_name("chat.model")}
        return printable(error.in_chat(places))

    def notify_error(self, error: TchatError, *, timeout: float | None = None) -> None:
        """Show a failure in a toast."""
        self.notify(self.hinted(error), severity="error", timeout=timeout)

    async def read_prompt(self, draft: Draft) -> tuple[str, list[str]]:
        """The prompt with its files in front, and what was assumed of their encoding."""
        return await asyncio.to_thread(_read, draft, self.settings.encoding)

    def select_blank(self) -> bool:
        """Whether a blank of a prompt template needs a value; selects it and says so."""
        blanks = self.prompt.draft.unfilled
        if blanks:
            self.prompt.select_blank(blanks[0])
            self.prompt.focus()
            self.notify(tr("Fill in {blank} first: type over it.", blank=blanks[0]))
        return bool(blanks)


def _read(draft: Draft, encoding: str) -> tuple[str, list[str]]:
    from tchat.chat.attachments import mentioned_files, read_attachment, with_attachments

    # The text has the labels of attached files; of one with a space the first word is looked for.
    mentioned_files(draft.text, [label[1:].partition(" ")[0] for label, _ in draft.files])
    try:
        attached = [read_attachment(name, encoding=encoding) for name in draft.attachments]
    except UsageError as error:
        raise UsageError(error.message, _without_flag(error.hint)) from error
    return with_attachments(draft.full_text, attached), [
        _without_flag(each.assumed) for each in attached if each.assumed
    ]


def _without_flag(text: str) -> str:
    """The hint about an encoding, with the screen's command in place of the flag."""
    return "/set encoding".join(text.rsplit("--encoding", 1))


class StatusController:
    """Draws the status line from what it is given."""

    def __init__(self, context: ChatContext) -> None:
        self.context_size = 0  # in tokens; 0 before the model is loaded
        self._context = context
        self._model = ""
        self._quantization = ""

    def data(self) -> StatusData:
        """What the status line says."""
        context = self._context
        ready = context.is_ready
        return StatusData(
            state=context.turn_state.progress.state,
            used=context.turn_state.progress.used,
            unstored=ready and context.conversation.failure is not None,
            model=self._model or short_model_name(context.settings.model),
            quantization=self._quantization,
            device=context.conversation.device if ready else "",
            context=self.context_size,
            offline=bool(os.environ.get("HF_HUB_OFFLINE")),
            pulling=context.downloads.words,
            private=context.private,
        )

    def refresh(self) -> None:
        """Draw the status line."""
        self._context.screen.query_one(StatusLine).show(self.data())

    def refresh_model(self) -> None:
        """Draw the status line with the model that is loaded now."""
        metadata = self._context.conversation.metadata
        if metadata is not None:
            from tchat.tui.services.models import model_label

            self._model, self._quantization = model_label(metadata), metadata.quantization
        self.refresh()


class TurnState:
    """The turn that runs, or the last one.

    Attributes:
        progress: What the status line says of it.
        idle: Set while the engine does nothing for the screen.
        request: Stops the turn.
        loads_model: Whether the turn only loads the model.
        reply: The id of the reply that it writes; None before there is one.
        replies: The ids of all replies that it writes, side by side too.
        switching: How many are opening another session or model, or wait to do so.
        leaving: How many of them open another session.
    """

    def __init__(self) -> None:
        self.progress = TurnProgress()
        self.idle = asyncio.Event()
        self.idle.set()
        self.request: Request | None = None
        self.loads_model = False
        self.reply: int | None = None
        self.replies: set[int] = set()
        self.switching = 0
        self.leaving = 0

    @property
    def is_running(self) -> bool:
        """Whether the engine works for the screen."""
        return not self.idle.is_set()

    @property
    def is_busy(self) -> bool:
        """Whether no turn can begin: one runs, or another session is being opened."""
        return self.is_running or self.switching > 0


SAMPLES = 12  # columns of the sparkline
SAMPLE = 0.5  # seconds that a column stands for


class TurnProgress:
    """What the engine is doing, by its events."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._sampled = (self._began, 0)
        self._rates: deque[float] = deque(maxlen=SAMPLES)
        self._tokens = 0
        self.used = 0
        self.state: status.State = status.Phase.IDLE

    def begin(self) -> None:
        """Work has begun; there is no event yet."""
        self.state = status.Phase.PREPARING

    def set_used(self, tokens: int) -> None:
        """Set the number of tokens in the context."""
        self.used = tokens

    def record(self, event: events.Event) -> None:
        """Record one event."""
        from tchat.engine import events

        if isinstance(event, events.LoadProgress):
            done = event.progress >= 1
            self._set_state(status.Phase.PREPARING if done else status.Loading(event.progress))
        elif isinstance(event, events.PromptProgress):
            self._read(event)
        elif isinstance(event, events.TextDelta | events.ReasoningDelta):
            self._write(event.tokens)
        elif isinstance(event, events.Finished):
            usage = event.usage
            self.used = usage.prompt + usage.completion
            self.state = status.Phase.IDLE

    def stop(self) -> None:
        """The user asked to stop."""
        if self.state is not status.Phase.IDLE:
            self.state = status.Phase.STOPPING

    def end(self) -> bool:
        """The work ended; returns whether the user stopped it."""
        stopped = self.state is status.Phase.STOPPING
        self.state = status.Phase.IDLE
        return stopped

    def _read(self, event: events.PromptProgress) -> None:
        now = self._clock()
        if event.done == event.reused:
            self._began = now
        read, left = event.done - event.reused, event.total - event.done
        seconds = left * (now - self._began) / read if read else None
        self.used = event.done
        self._set_state(status.Reading(event.done, event.total, seconds))
        if not left:
            self._began, self._tokens = now, 0
            self._sampled = (now, 0)
            self._rates.clear()

    def _write(self, tokens: int) -> None:
        self._tokens += tokens
        self.used += tokens
        now = self._clock()
        since, before = self._sampled
        if now - since >= SAMPLE:
            self._rates.append((self._tokens - before) / (now - since))
            self._sampled = (now, self._tokens)
        # The first ones come at once, whatever time the model takes for one.
        rate = self._rates[-1] if self._rates else 0.0
        self._set_state(status.Writing(rate, tuple(self._rates)))

    def _set_state(self, state: status.State) -> None:
        if self.state is not status.Phase.STOPPING:  # which holds until the end
            self.state = state
