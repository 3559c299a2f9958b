"""Shared by the commands: loading a model, and progress."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import typer

from tchat.chat.eta import Eta
from tchat.cli.console import Console
from tchat.cli.model_loading import with_model
from tchat.cli.output.status import TerminalStatus
from tchat.settings import load

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.engine.engine import Engine
    from tchat.judge.discriminator import JudgeFolder
    from tchat.judge.training import TrainingProgress
    from tchat.models.metadata import ModelMetadata
    from tchat.settings import Settings

T = TypeVar("T")

MODEL = typer.Option("", "-m", "--model", help="Model (default: the default model)")
JSON = typer.Option(False, "--json", help="Print JSON")


@dataclass(frozen=True, slots=True)
class JudgeContext:
    """A loaded model with its judge folder."""

    engine: Engine
    facts: ModelMetadata
    folder: JudgeFolder
    status: TerminalStatus


def settings_for_model(console: Console, model: str) -> Settings:
    """The settings, with ``model`` if it is given."""
    settings = load(console.paths, console.environ).settings
    return replace(settings, model=model) if model else settings


def run_with_judge(console: Console, model: str, work: Callable[[JudgeContext], T]) -> T:
    """Load the model and do ``work`` with it, as `with_model`."""
    from tchat.judge.discriminator import judge_folder

    def at(opened: ChatModel, status: TerminalStatus) -> T:
        folder = judge_folder(opened.facts, console.paths)
        return work(JudgeContext(opened.engine, opened.facts, folder, status))

    return with_model(console, settings_for_model(console, model), at)


def show_progress(bench: JudgeContext, shown: Eta, work: Generator[TrainingProgress, None, T]) -> T:
    """Run ``work``, show its progress, and return its result."""
    while True:
        try:
            event = next(work)
        except StopIteration as ended:
            result: T = ended.value
            return result
        bench.status.show(shown.words(event.what, event.done, event.total))
