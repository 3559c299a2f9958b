"""The calls of a turn in the transcript, while they are written, asked about and carried out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from textual.timer import Timer

from tchat.engine.events import StepState, ToolCallStarted, ToolStep
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.transcript import TranscriptController
from tchat.tui.widgets.transcript.entry import Entry, Step

TICK = 1.0  # seconds between two updates of what takes long


class StepsController:
    """Shows each call as an entry, which becomes that of its result once this is stored."""

    def __init__(
        self,
        context: ChatContext,
        transcript: TranscriptController,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._transcript = transcript
        self._clock = clock
        self._running: dict[str, float] = {}  # since when, by the keys of their entries
        self._open: set[str] = set()  # keys of calls that have no result yet
        self._timer: Timer | None = None

    def show_call(self, event: ToolCallStarted) -> None:
        """The model writes a call."""
        reply = self._context.turn_state.reply
        if reply is not None:
            self._show(reply, event.index, Step(event.name, state="writing"))

    def show_step(self, event: ToolStep) -> None:
        """A call waits for the user, runs, or is over."""
        sent_to = ""
        if event.state is not StepState.REFUSED:
            destinations = self._context.conversation.destinations()
            sent_to = destinations.of_call(event.name, event.arguments)
        step = Step(event.name, event.arguments, event.state.value, event.seconds, sent_to)
        self._show(event.reply, event.index, step, event.content, event.message)

    def end(self) -> None:
        """The turn is over: a call without a result was stopped."""
        view = self._transcript.view
        for key in self._open:
            entry = view.entry(key) if view.has(key) else None
            if entry is None or entry.step is None:
                continue
            if entry.step.state == "writing":
                view.drop(key)
            else:
                view.update(replace(entry, step=replace(entry.step, state=StepState.STOPPED.value)))
        self._open.clear()
        self._running.clear()
        self._keep_time()

    def _show(
        self, reply: int, index: int, step: Step, text: str = "", message: int | None = None
    ) -> None:
        view, key = self._transcript.view, f"step-{reply}-{index}"
        if message is not None and view.has(message):  # read from the store meanwhile
            return
        entry = Entry(key=key if message is None else message, role="tool", text=text, step=step)
        if not view.has(key):
            if not view.has(reply):  # another path is shown meanwhile
                return
            view.append(entry)
        elif message is None:
            view.update(entry)
        else:
            view.replace(key, entry)
        self._follow_up(key, step, is_stored=message is not None)

    def _follow_up(self, key: str, step: Step, *, is_stored: bool) -> None:
        if step.state == StepState.RUNNING:
            self._running[key] = self._clock()
        else:
            self._running.pop(key, None)
        is_open = step.state in ("writing", StepState.ASKING, StepState.RUNNING)
        if is_open and not is_stored:
            self._open.add(key)
        else:
            self._open.discard(key)
        self._keep_time()

    def _keep_time(self) -> None:
        """Tell every second how long a call takes, while one runs."""
        if self._running and self._timer is None:
            self._timer = self._context.screen.set_interval(TICK, self._tick)
        elif not self._running and self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _tick(self) -> None:
        view, now = self._transcript.view, self._clock()
        for key, since in self._running.items():
            entry = view.entry(key) if view.has(key) else None
            if entry is not None and entry.step is not None:
                view.update(replace(entry, step=replace(entry.step, seconds=now - since)))
        self._context.status.refresh()
