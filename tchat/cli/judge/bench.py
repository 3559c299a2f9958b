"""What the commands share: a loaded model, its folder, and progress on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import typer

from tchat.cli.console import Console
from tchat.cli.status import StatusLine
from tchat.engine.cancel import Cancel
from tchat.engine.runner import run_on_engine_thread
from tchat.settings import load

if TYPE_CHECKING:
    from tchat.engine.engine import Engine
    from tchat.engine.events import Event
    from tchat.judge.folder import ModelFolder
    from tchat.judge.training import Working
    from tchat.models.facts import ModelFacts
    from tchat.settings import Settings

T = TypeVar("T")

MODEL = typer.Option("", "-m", "--model", help="The model that is judged; the default one if not")
JSON = typer.Option(False, "--json", help="Print JSON")


@dataclass(frozen=True, slots=True)
class Bench:
    """A loaded model and what belongs to it."""

    engine: Engine
    facts: ModelFacts
    folder: ModelFolder
    status: StatusLine


def settings_with(console: Console, model: str) -> Settings:
    """The user's settings, with another model where one is named."""
    settings = load(console.paths, console.environ).settings
    return replace(settings, model=model) if model else settings


def at_bench(console: Console, model: str, work: Callable[[Bench], T]) -> T:
    """Load the model and do ``work`` with it, on the engine thread.

    Raises:
        ModelError, DoesNotFit: The model cannot be loaded.
        Interrupted: A signal ended it; what was written is kept.
    """
    cancel = Cancel()
    settings = settings_with(console, model)
    return run_on_engine_thread(lambda: _worked(console, settings, cancel, work), cancel)


def _worked(console: Console, settings: Settings, cancel: Cancel, work: Callable[[Bench], T]) -> T:
    from tchat.chat.model import open_model
    from tchat.judge.folder import folder_of

    status = StatusLine(console)
    try:
        opened = _last(open_model(settings, console.paths, cancel), status)
        with closing(opened.engine):
            for _ in opened.engine.load():
                status.show(f"loading {opened.facts.name}")
            folder = folder_of(opened.facts, console.paths)
            return work(Bench(opened.engine, opened.facts, folder, status))
    finally:
        status.erase()


def _last(events: Generator[Event, None, T], status: StatusLine) -> T:
    """What ``events`` return; on the way, what they tell is shown."""
    while True:
        try:
            event = next(events)
        except StopIteration as ended:
            result: T = ended.value
            return result
        if text := getattr(event, "text", ""):
            status.show(text)


def followed(bench: Bench, shown: TimeLeft, work: Generator[Working, None, T]) -> T:
    """What ``work`` returns; on the way, its progress is shown."""
    while True:
        try:
            event = next(work)
        except StopIteration as ended:
            result: T = ended.value
            return result
        bench.status.show(shown.words(event.what, event.done, event.total))


class TimeLeft:
    """Words for how far a stage of work is, with the time left by its own pace."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage = ""
        self._since = (0.0, 0)

    def words(self, stage: str, done: int, total: int) -> str:
        """For example ``reading 12/80 · 40 s left``."""
        if stage != self._stage:
            self._stage, self._since = stage, (self._clock(), done)
        words = f"{stage} {done}/{total}"
        started, begun = self._since
        spent, made = self._clock() - started, done - begun
        left = (total - done) * spent / made if made > 0 else 0.0
        return f"{words} · {_span(left)} left" if left >= 1 else words


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
