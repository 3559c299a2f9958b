"""The turn under way, and what the engine is doing by its events."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from tchat.tui.engine_state import Acting, Decoding, Loading, Phase, Prefilling, State

if TYPE_CHECKING:
    from tchat.engine import events
    from tchat.engine.engine_thread import Request


class TurnState:
    """The turn that runs, or the last one.

    Attributes:
        progress: What the status line says of it.
        idle: Set while the engine does nothing for the screen.
        request: Stops the turn.
        loads_model: Whether the turn only loads the model.
        reply: The id of the reply that it writes; None before there is one.
        replies: The ids of all replies that it writes, side by side too.
        counted: The id of the last message that the tokens in the context were counted with.
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
        self.counted: int | None = None
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
ARGUMENTS = 40  # characters of the arguments of a call
SAMPLE = 0.5  # seconds that a column stands for


class TurnProgress:
    """What the engine is doing, by its events.

    Attributes:
        used: Tokens in the context; None while they are counted.
        state: What the status line says.
        max_steps: How many replies of a turn may call tools; 0 for none.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._sampled = (self._began, 0)
        self._rates: deque[float] = deque(maxlen=SAMPLES)
        self._tokens = 0
        self.used: int | None = 0
        self.state: State = Phase.IDLE
        self.max_steps = 0
        self._step = 1
        self._calls: dict[int, Acting] = {}  # that are not over, by their place in the reply

    def begin(self) -> None:
        """Work has begun; there is no event yet."""
        self.state = Phase.PREPARING
        self._step = 1
        self._calls.clear()

    def set_used(self, tokens: int | None) -> None:
        """Set the number of tokens in the context; None while they are counted."""
        self.used = tokens

    def record(self, event: events.Event) -> None:
        """Record one event."""
        from tchat.engine import events

        if isinstance(event, events.LoadProgress):
            done = event.progress >= 1
            self._set_state(Phase.PREPARING if done else Loading(event.progress))
        elif isinstance(event, events.PromptProgress):
            self._read(event)
        elif isinstance(event, events.TextDelta | events.ReasoningDelta):
            self._write(event.tokens)
        elif isinstance(event, events.ToolCallStarted):
            self._set_state(Acting(event.name, step=(self._step, self.max_steps)))
        elif isinstance(event, events.ToolStep):
            self._act(event)
        elif isinstance(event, events.StepFinished):
            usage = event.finished.usage
            self.used = usage.prompt + usage.completion
            self._set_state(Phase.PREPARING)
        elif isinstance(event, events.MessageStored):
            self._step += bool(self._calls)
            self._calls.clear()
        elif isinstance(event, events.Finished):
            usage = event.usage
            self.used = usage.prompt + usage.completion
            self.state = Phase.IDLE

    def tell(self, text: str) -> None:
        """How far the call is that runs, as its server tells."""
        if isinstance(self.state, Acting) and not self.state.asks:
            self.state = self.state._replace(told=text)

    def stop(self) -> None:
        """The user asked to stop."""
        if self.state is not Phase.IDLE:
            self.state = Phase.STOPPING

    def end(self) -> bool:
        """The work ended; returns whether the user stopped it."""
        stopped = self.state is Phase.STOPPING
        self.state = Phase.IDLE
        return stopped

    def _act(self, event: events.ToolStep) -> None:
        """Tell the call that waits for the user, else the one that began last."""
        from tchat.engine.events import StepState
        from tchat.step_text import one_line, short_arguments

        begun = self._calls.pop(event.index, None)
        asks = event.state is StepState.ASKING
        since = begun.since if begun and begun.asks == asks else self._clock()
        over = not asks and event.state is not StepState.RUNNING
        self._calls[event.index] = Acting(
            event.name,
            one_line(short_arguments(event.arguments), ARGUMENTS),
            asks,
            None if over else since,
            (self._step, self.max_steps),
        )
        going_on = [each for each in self._calls.values() if each.since is not None]
        asking = [each for each in going_on if each.asks]
        told = asking or going_on
        self._set_state(told[-1] if told else Phase.PREPARING)

    def _read(self, event: events.PromptProgress) -> None:
        now = self._clock()
        if event.done == event.reused:
            self._began = now
        read, left = event.done - event.reused, event.total - event.done
        seconds = left * (now - self._began) / read if read else None
        self.used = event.done
        self._set_state(Prefilling(event.done, event.total, seconds))
        if not left:
            self._began, self._tokens = now, 0
            self._sampled = (now, 0)
            self._rates.clear()

    def _write(self, tokens: int) -> None:
        self._tokens += tokens
        self.used = (self.used or 0) + tokens
        now = self._clock()
        since, before = self._sampled
        if now - since >= SAMPLE:
            self._rates.append((self._tokens - before) / (now - since))
            self._sampled = (now, self._tokens)
        # The first ones come at once, whatever time the model takes for one.
        rate = self._rates[-1] if self._rates else 0.0
        self._set_state(Decoding(rate, tuple(self._rates)))

    def _set_state(self, state: State) -> None:
        if self.state is not Phase.STOPPING:  # which holds until the end
            self.state = state
