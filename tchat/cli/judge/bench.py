"""What the commands share: a loaded model, its folder, and progress on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import typer

from tchat.chat.eta import Eta
from tchat.cli.console import Console
from tchat.cli.loading import with_model
from tchat.cli.status import StatusLine
from tchat.settings import load

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.engine.engine import Engine
    from tchat.judge.judge_folder import JudgeFolder
    from tchat.judge.training import TrainingProgress
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
    folder: JudgeFolder
    status: StatusLine


def settings_with(console: Console, model: str) -> Settings:
    """The user's settings, with another model where one is named."""
    settings = load(console.paths, console.environ).settings
    return replace(settings, model=model) if model else settings


def at_bench(console: Console, model: str, work: Callable[[Bench], T]) -> T:
    """Load the model and do ``work`` with it, as `with_model`."""
    from tchat.judge.judge_folder import judge_folder

    def at(opened: ChatModel, status: StatusLine) -> T:
        folder = judge_folder(opened.facts, console.paths)
        return work(Bench(opened.engine, opened.facts, folder, status))

    return with_model(console, settings_with(console, model), at)


def followed(bench: Bench, shown: Eta, work: Generator[TrainingProgress, None, T]) -> T:
    """What ``work`` returns; on the way, its progress is shown."""
    while True:
        try:
            event = next(work)
        except StopIteration as ended:
            result: T = ended.value
            return result
        bench.status.show(shown.words(event.what, event.done, event.total))
