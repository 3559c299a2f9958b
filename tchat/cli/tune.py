"""``tchat tune``: find the fastest settings of a model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.console import Console
from tchat.cli.model_loading import with_checked_model
from tchat.cli.output.columns import print_json
from tchat.settings import load, spell

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.cli.output.status import TerminalStatus
    from tchat.engine.benchmark import TrialResult, TuneResult

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

HELP = """\
Benchmark threads, batch size, flash attention and KV cache type of a model.

Takes about a minute on an idle machine. Settings that are clearly faster are saved for the model,
like `tchat models set` does.
"""


@app.command(help=HELP)
def command(
    ctx: typer.Context,
    model: str = typer.Argument(..., metavar="MODEL", help="Model name or path, as for -m"),
    dry_run: bool = typer.Option(False, "--dry-run", help="Do not save the result"),
    as_json: bool = typer.Option(False, "--json", help="Print JSON"),
) -> None:
    """Run the trials, save and print the result."""
    console: Console = ctx.obj
    settings = replace(load(console.paths, console.environ).settings, model=model)
    tuned, tried, path = with_checked_model(console, settings, _tuned)
    if tuned.values and not dry_run:
        from tchat.models.models_file import model_setting, set_model_setting

        for name, value in tuned.values.items():
            set_model_setting(console.paths, model, path, model_setting(name), spell(value))
    if as_json:
        values: dict[str, Any] = dict(tuned.values)
        trials = [{"name": t.name, "value": t.value, "gain": round(t.gain, 3)} for t in tried]
        saved = bool(values) and not dry_run
        print_json(
            console,
            {"gain": round(tuned.gain, 3), "values": values, "saved": saved, "trials": trials},
        )
        return
    for trial in tried:
        console.out(f"{trial.name} {trial.value}: {_gain(trial)}")
    console.out(_told(tuned, saved=not dry_run))


def _tuned(model: ChatModel, status: TerminalStatus) -> tuple[TuneResult, list[TrialResult], Any]:
    from tchat.engine.benchmark import Autotuner, TuneResult

    status.show("measuring how it is loaded now")
    tried: list[TrialResult] = []
    for event in Autotuner(model.engine.options, model.engine.cancel).run():
        if isinstance(event, TuneResult):
            return event, tried, model.facts.path
        tried.append(event)
        status.show(f"trying · {event.name} {event.value}: {_gain(event)}")
    raise InterruptedError


def _gain(trial: TrialResult) -> str:
    if not trial.gain:
        return "not possible"
    return f"{trial.gain:.2f}x" + (", kept" if trial.better else "")


def _told(tuned: TuneResult, *, saved: bool) -> str:
    if not tuned.values:
        return "nothing is clearly faster than the settings in force"
    values = ", ".join(f"{name} = {spell(value)}" for name, value in tuned.values.items())
    verb = "saved for this model" if saved else "would be saved for this model"
    return f"{tuned.gain:.2f}x as fast with {values}; {verb}"
