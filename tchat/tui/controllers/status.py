"""The state of the turn, the prompts that wait for its end, and the status line."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tchat.models.files import short_model_name
from tchat.tui.controllers.context import ChatContext
from tchat.tui.services.downloads import Downloads
from tchat.tui.widgets import status
from tchat.tui.widgets.prompt_draft import Draft
from tchat.tui.widgets.status import EmptyState, StatusData, StatusLine

if TYPE_CHECKING:
    from tchat.engine import events
    from tchat.engine.engine_thread import Request
    from tchat.tui.services.conversation import ChatCall


class StatusController:
    """Draws the status line from what it is given.

    Attributes:
        capacity: Tokens that the context holds; 0 before the model is loaded.
    """

    def __init__(self, context: ChatContext, turn: TurnState, downloads: Downloads) -> None:
        self.capacity = 0
        self._context = context
        self._turn = turn
        self._downloads = downloads
        self._model = ""
        self._quantization = ""

    def data(self) -> StatusData:
        """What the status line says."""
        context = self._context
        ready = context.is_ready
        return StatusData(
            state=self._turn.progress.state,
            used=self._turn.progress.used,
            unstored=ready and context.conversation.failure is not None,
            model=self._model or short_model_name(context.settings.model),
            quantization=self._quantization,
            device=context.conversation.device if ready else "",
            context=self.capacity,
            offline=bool(os.environ.get("HF_HUB_OFFLINE")),
            pulling=self._downloads.words,
            private=context.private,
        )

    def refresh(self) -> None:
        """Draw the status line."""
        self._context.screen.query_one(StatusLine).show(self.data())

    def refresh_model(self) -> None:
        """Draw the status line, and what the empty chat says, with the model that is loaded now."""
        metadata = self._context.conversation.metadata
        if metadata is not None:
            from tchat.tui.services.models import model_label

            self._model, self._quantization = model_label(metadata), metadata.quantization
        self.refresh()
        self._context.screen.query_one(EmptyState).show(
            self._model, self._quantization, self._context.conversation.device
        )


class TurnState:
    """The turn under way, or that of before.

    Attributes:
        progress: What the status line says of it.
        idle: Set while the engine does nothing for the screen.
        request: Stops the turn.
        call: What the turn does.
        reply: The id of the reply that it writes; None before there is one.
        replies: The ids of all replies that it writes, side by side too.
        switching: How many are opening another session or model, or wait to do so.
        leaving: How many of them open another session.
    """

    def __init__(self) -> None:
        self.progress = Progress()
        self.idle = asyncio.Event()
        self.idle.set()
        self.request: Request | None = None
        self.call: ChatCall | None = None
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


class Progress:
    """What the engine is doing, by its events.

    Args:
        clock: Seconds, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._sampled = (self._began, 0)
        self._rates: deque[float] = deque(maxlen=SAMPLES)
        self._tokens = 0
        self.used = 0
        self.state: status.State = status.Idle()

    def begin(self) -> None:
        """Something begins of which there is no event yet."""
        self.state = status.Preparing()

    def hold(self, tokens: int) -> None:
        """The context holds so many tokens."""
        self.used = tokens

    def take(self, event: events.Event) -> None:
        """Note one event."""
        from tchat.engine import events

        if isinstance(event, events.LoadProgress):
            done = event.progress >= 1
            self.state = status.Preparing() if done else status.Loading(event.progress)
        elif isinstance(event, events.PromptProgress):
            self._read(event)
        elif isinstance(event, events.TextDelta | events.ReasoningDelta):
            self._write(event.tokens)
        elif isinstance(event, events.Finished):
            usage = event.usage
            self.used = usage.prompt + usage.completion
            self.state = status.Idle()

    def stop(self) -> None:
        """The user asked to stop."""
        if not isinstance(self.state, status.Idle):
            self.state = status.Stopping()

    def end(self) -> bool:
        """Nothing is being done any more, however it ended; whether the user stopped it."""
        stopped = isinstance(self.state, status.Stopping)
        self.state = status.Idle()
        return stopped

    def _read(self, event: events.PromptProgress) -> None:
        now = self._clock()
        if event.done == event.reused:
            self._began = now
        read, left = event.done - event.reused, event.total - event.done
        seconds = left * (now - self._began) / read if read else None
        self.used = event.done
        self.state = status.Reading(event.done, event.total, seconds)
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
        if not isinstance(self.state, status.Stopping):
            self.state = status.Writing(rate, tuple(self._rates))


class PendingPrompts:
    """Drafts in the order in which they were sent, as the prompt shows them.

    Attributes:
        is_held: Whether they wait for the user, who stopped a turn.
    """

    def __init__(self, context: ChatContext) -> None:
        self.is_held = False
        self._context = context
        self._drafts: deque[Draft] = deque()

    def __len__(self) -> int:
        return len(self._drafts)

    def __iter__(self) -> Iterator[Draft]:
        return iter(self._drafts)

    def append(self, draft: Draft) -> None:
        """Let a draft wait behind the others."""
        self._drafts.append(draft)
        self._show()

    def pop_first(self) -> Draft:
        """Take out the draft that waits longest.

        Raises:
            IndexError: None waits.
        """
        draft = self._drafts.popleft()
        self._show()
        return draft

    def clear(self) -> list[Draft]:
        """Take all of them out, in order."""
        drafts = list(self._drafts)
        self._drafts.clear()
        self._show()
        return drafts

    def give_back_last(self) -> None:
        """Put the last one back where it is typed."""
        if self._drafts:
            self._context.prompt.give_back(self._drafts.pop())
            self._show()

    def hold(self) -> None:
        """Let them wait until the user wants the next one."""
        self.is_held = bool(self._drafts)
        self._show()

    def release(self) -> None:
        """Hold them no more."""
        self.is_held = False
        self._show()

    def _show(self) -> None:
        self.is_held = self.is_held and bool(self._drafts)
        prompt = self._context.prompt
        prompt.held = self.is_held
        prompt.queue = [draft.text.splitlines()[0] for draft in self._drafts if draft.text]
