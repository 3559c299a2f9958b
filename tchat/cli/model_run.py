"""Running work with a model on the engine thread, with progress on the terminal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from tchat.cli.console import Console
from tchat.cli.output.status import TerminalStatus, print_notice, show_events
from tchat.engine.events import Event, Notice

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.engine.binding import Cancel
    from tchat.settings import Settings

T = TypeVar("T")


def run_with_model(
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
            status.show(f"loading {model.metadata.name}")
        return work(model, status)

    return run_with_checked_model(console, settings, loaded)


def run_with_checked_model(
    console: Console, settings: Settings, work: Callable[[ChatModel, TerminalStatus], T]
) -> T:
    """As `run_with_model`, with the model resolved and checked but not loaded."""
    from tchat.engine.binding import Cancel
    from tchat.engine.engine_thread import run_on_engine_thread

    cancel = Cancel()
    return run_on_engine_thread(
        lambda: _run_with_open_model(console, settings, cancel, work), cancel
    )


def _run_with_open_model(
    console: Console,
    settings: Settings,
    cancel: Cancel,
    work: Callable[[ChatModel, TerminalStatus], T],
) -> T:
    from tchat.chat.model import open_model

    def show(event: Event) -> None:
        if text := getattr(event, "text", ""):
            status.show(text)

    with TerminalStatus(console) as status:
        model = show_events(open_model(settings, console.paths, cancel), show)
        with closing(model.engine):
            return work(model, status)
