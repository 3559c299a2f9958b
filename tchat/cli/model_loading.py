"""Running work with a loaded model, with progress on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from tchat.cli.console import Console
from tchat.cli.output.status import TerminalStatus, print_notice
from tchat.engine.binding import Cancel
from tchat.engine.engine_thread import run_on_engine_thread
from tchat.engine.events import Notice
from tchat.settings import Settings

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.engine.events import Event

T = TypeVar("T")


def with_model(
    console: Console, settings: Settings, work: Callable[[ChatModel, TerminalStatus], T]
) -> T:
    """Load the model of ``settings`` and run ``work`` with it, on the engine thread.

    Raises:
        ModelError, DoesNotFit: The model cannot be loaded.
        Interrupted: A signal stopped it.
    """

    def loaded(model: ChatModel, status: TerminalStatus) -> T:
        for event in model.engine.load():
            if isinstance(event, Notice):
                print_notice(console, status, event)
            status.show(f"loading {model.facts.name}")
        return work(model, status)

    return with_checked_model(console, settings, loaded)


def with_checked_model(
    console: Console, settings: Settings, work: Callable[[ChatModel, TerminalStatus], T]
) -> T:
    """As `with_model`, with the model resolved and checked but not loaded."""
    cancel = Cancel()
    return run_on_engine_thread(lambda: _worked(console, settings, cancel, work), cancel)


def _worked(
    console: Console,
    settings: Settings,
    cancel: Cancel,
    work: Callable[[ChatModel, TerminalStatus], T],
) -> T:
    from tchat.chat.model import open_model

    status = TerminalStatus(console)
    try:
        model = _last(open_model(settings, console.paths, cancel), status)
        with closing(model.engine):
            return work(model, status)
    finally:
        status.erase()


def _last(events: Generator[Event, None, T], status: TerminalStatus) -> T:
    """What ``events`` return; on the way, what they tell is shown."""
    while True:
        try:
            event = next(events)
        except StopIteration as ended:
            result: T = ended.value
            return result
        if text := getattr(event, "text", ""):
            status.show(text)
