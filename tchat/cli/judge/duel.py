"""``tchat judge duel`` and ``use``: train a control vector, and steer a model by it."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tchat.cli.chat_setup import run_with_model, settings_for_model
from tchat.cli.console import Console
from tchat.cli.judge.heads import MODEL, NEEDED
from tchat.cli.output.columns import padded
from tchat.cli.output.status import TerminalStatus
from tchat.errors import UsageError
from tchat.humanize import Eta
from tchat.sanitize import printable, single_line
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.judge.discriminator import JudgeFolder
    from tchat.judge.game import GameConfig, GameResult, GameState
    from tchat.judge.training_data import DialogueSet


def duel(
    ctx: typer.Context,
    *,
    data: list[Path] = typer.Option(None, "--data", help="JSONL file of dialogues; repeatable"),
    rounds: int = typer.Option(6, "--rounds", min=1, max=100, help="Maximum rounds"),
    batch: int = typer.Option(72, "--batch", min=2, max=512, help="Prompts per step"),
    name: str = typer.Option("duel", "--name", help="Name of the duel and its control vector"),
    seed: int = typer.Option(0, "--seed", min=0, help="Random seed"),
    model: str = MODEL,
) -> None:
    """Train a control vector towards replies that read as human-written.

    In each round the judge is trained, and the vector changed until its replies pass more often.
    The model's weights never change. An interrupted duel resumes.

    Columns: AUC of the judge, human replies against the model's (0.5 is chance); model and human,
    its mean probability of "human" for the model's and for human replies; fooled, share of the
    model's replies that it classifies as human; perplexity and distinct-2 of the model's
    replies; strength, norm of the control vector over the norm of the hidden states.
    """
    from tchat.judge.game import GameConfig
    from tchat.judge.training_data import read_dialogues, skipped_notice

    console: Console = ctx.obj
    if not data:
        raise UsageError(
            tr("a duel needs human replies"), tr("--data: {needed}", needed=tr(NEEDED))
        )
    dialogues = read_dialogues(data)
    if dialogues.skipped:
        console.say(skipped_notice(dialogues.skipped))
    plan = GameConfig(name, rounds=rounds, batch=batch, seed=seed)
    settings = settings_for_model(console, model)
    played = run_with_model(console, settings, partial(_play, console, dialogues, plan))
    _print_result(console, played)


def _play(
    console: Console,
    data: DialogueSet,
    plan: GameConfig,
    model: ChatModel,
    status: TerminalStatus,
) -> GameResult:
    from tchat.chat.judge import prepare_game
    from tchat.judge.game import GameResult, GameState, StepProgress
    from tchat.judge.training import TrainingProgress

    game = prepare_game(model, console.paths, data, plan)
    shown, rounds_shown = Eta(), 0
    for event in game.play():
        if isinstance(event, TrainingProgress):
            status.show(shown.words(event.what, event.done, event.total))
        elif isinstance(event, StepProgress):
            stage = tr(
                "round {round}, try {attempt}: writing", round=event.round, attempt=event.attempt
            )
            status.show(shown.words(stage, event.done, event.total))
        elif isinstance(event, GameState):
            status.erase()
            rounds_shown = _show_rounds(console, event, rounds_shown)
            status.show(tr("fitting"))
        elif isinstance(event, GameResult):
            return event
    raise InterruptedError


def _show_rounds(console: Console, state: GameState, rounds_shown: int) -> int:
    """Print new rounds, and charts of the scores so far."""
    from tchat.judge.game import sparkline

    if not rounds_shown:
        titles = (padded(console.told(tr(title)), width) for title, width in ROUND_COLUMNS)
        console.out("  ".join(titles))
    for each in state.rounds[rounds_shown:]:
        health = each.health
        console.out(
            f"{each.number:5}  {each.auc:5.3f}  {each.generated:5.3f}  {each.people:6.3f}  "
            f"{each.taken:6.0%}  {health.perplexity:10.2f}  {health.distinct_2:10.3f}  "
            f"{each.strength:8.3f}  {single_line(console.told(each.note))}".rstrip()
        )
    if console.stdout_is_terminal and len(state.rounds) > 1:
        most = max(each.health.perplexity for each in state.rounds)
        console.out(
            f"       {tr('model')} {sparkline([each.generated for each in state.rounds])}  "
            f"{tr('human')} {sparkline([each.people for each in state.rounds])}  "
            f"{tr('perplexity')} "
            f"{sparkline([each.health.perplexity for each in state.rounds], most)}"
        )
    console.flush()
    return len(state.rounds)


def _print_result(console: Console, played: GameResult) -> None:
    console.out(tr("ended: {reason}", reason=played.state.over))
    if verdict := played.verdict:
        console.out(
            tr(
                "an independent judge classifies as human: {replies}, {people:.0%} of human "
                "replies; at {perplexity:.2f}x perplexity and {distinct_2:.2f}x distinct-2",
                replies=verdict.words,
                people=verdict.people,
                perplexity=verdict.costs.perplexity.value,
                distinct_2=verdict.costs.distinct_2.value,
            )
        )
    if played.vector:
        console.out(tr("vector: {path}", path=played.vector))
        console.out(tr("use it: tchat judge use {name}", name=played.vector.stem))
    console.out(tr("report: {path}", path=report_place(played)))


def report_place(played: GameResult) -> str:
    """Where the report is, or the command that shows it where the store is encrypted."""
    if played.is_encrypted:
        return f"tchat judge report {played.report.parent.name}"
    return str(played.report)


def report(
    ctx: typer.Context,
    name: str = typer.Argument(..., help="Name of a duel, see `tchat judge show`"),
    model: str = MODEL,
) -> None:
    """Print the report of a duel, in Markdown."""
    from tchat.judge.discriminator import judge_folder
    from tchat.judge.game import read_report
    from tchat.models.metadata import read_metadata
    from tchat.models.resolve import resolve_chosen

    console: Console = ctx.obj
    settings = settings_for_model(console, model)
    path = resolve_chosen(settings, console.paths, console.environ)
    folder = judge_folder(read_metadata(path), console.paths)
    try:
        text = read_report(folder.game(name), folder.encryption)
    except FileNotFoundError:
        raise UsageError(
            tr("there is no report of a duel {name}", name=single_line(name)),
            tr("`tchat judge show` lists the duels; one has a report when it ended"),
        ) from None
    console.out(printable(text).rstrip("\n"))


SETTING = "control_vector"
ROUND_COLUMNS = (
    (N_("round"), 5),
    ("AUC", 5),
    (N_("model"), 5),
    (N_("human"), 6),
    (N_("fooled"), 6),
    (N_("perplexity"), 10),
    ("distinct-2", 10),
    (N_("strength"), 8),
)


def use(
    ctx: typer.Context,
    name: str = typer.Argument("", metavar="[NAME]", help="Name of a duel, see `tchat judge show`"),
    off: bool = typer.Option(False, "--off", help="Stop steering the model"),
    scale: float = typer.Option(
        1.0, "--scale", min=-10, max=10, help="Scale of the control vector"
    ),
    model: str = MODEL,
) -> None:
    """Steer a model by the control vector of a duel; --off stops it.

    Saved as a setting of the model in models.toml. Without a name, shows what is in force.
    """
    from tchat.judge.discriminator import judge_folder
    from tchat.models.metadata import read_metadata
    from tchat.models.models_file import model_setting, set_model_setting, settings_for
    from tchat.models.resolve import resolve_chosen

    console: Console = ctx.obj
    if off and name:
        raise UsageError(tr("a NAME and --off cannot be combined"), tr("leave one out"))
    if scale != 1.0 and not (name and math.isfinite(scale)):
        raise UsageError(
            tr("--scale needs a number and the name of a duel"), tr("for example: --scale 0.5")
        )
    settings = settings_for_model(console, model)
    path = resolve_chosen(settings, console.paths, console.environ)
    key = model_setting(SETTING)
    if off:
        set_model_setting(console.paths, settings.model, path, key, None)
    elif name:
        vector = _vector(judge_folder(read_metadata(path), console.paths), name)
        entry = str(vector) if scale == 1.0 else f"{vector}:{scale:g}"
        set_model_setting(console.paths, settings.model, path, key, entry)
    if name and key.variable in console.environ:
        console.say(
            tr("warning: the environment variable {variable} overrides it", variable=key.variable)
        )
    steered = settings_for(settings, console.paths, path).control_vector
    names = ", ".join(map(single_line, steered))
    model_name = single_line(path.name)
    if names:
        console.out(tr("{model} is steered by {names}", model=model_name, names=names))
    else:
        told = tr("{model} is not steered; `tchat judge show` lists the duels", model=model_name)
        console.out(told)


def _vector(folder: JudgeFolder, name: str) -> Path:
    """The control vector of a game."""
    vector = folder.vector(name)
    if not vector.is_file():
        have = [single_line(each) for each in folder.games() if folder.vector(each).is_file()]
        raise UsageError(
            tr("there is no control vector of the duel {name}", name=single_line(name)),
            (
                tr("these are: {have}", have=", ".join(have))
                if have
                else tr("make one: tchat judge duel --data FILE")
            ),
        )
    return vector
