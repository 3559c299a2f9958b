"""``tchat bench`` and ``tune``: benchmark a model, and find its fastest settings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.app import JSON, single_command
from tchat.cli.chat_setup import run_with_checked_model, settings_for_model
from tchat.cli.console import Console
from tchat.cli.output.columns import fields, print_json, print_rows
from tchat.errors import UsageError
from tchat.settings import load, spell
from tchat.translation import N_, english, tr

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.cli.output.status import TerminalStatus
    from tchat.engine.benchmark import Figure, TrialResult, TuneResult

app = single_command()
tune_app = single_command()

HEADER = (N_("WHAT"), N_("FIGURE"), N_("AGAINST"))
AGAINST = {
    "write": N_("{share:.1%} of a bare llama.cpp loop"),
    "restore": N_("{share:.1%} of reading them"),
}


@app.command(help="Measure load, prefill, decode, first token, candidates and restore of a model.")
def bench(
    ctx: typer.Context,
    model: str = typer.Argument("", metavar="[MODEL]", help="Model name or path, as for -m"),
    as_json: bool = JSON,
) -> None:
    """Run the benchmarks and print the results."""
    console: Console = ctx.obj
    name, figures = run_with_checked_model(console, settings_for_model(console, model), _measured)
    if as_json:
        records = {
            f.name: fields(f, "value", "unit") | ({"against": f.of} if f.of else {})
            for f in figures
        }
        print_json(console, {"model": name, "figures": records})
    else:
        print_rows(console, HEADER, [_cells(figure) for figure in figures])


def _measured(model: ChatModel, status: TerminalStatus) -> tuple[str, list[Figure]]:
    from tchat.engine.benchmark import Benchmark

    _require_local(model)
    status.show(tr("measuring {name}", name=model.metadata.name))
    figures, engine = [], model.require_engine()
    for figure in Benchmark(engine.options, engine.cancel).figures():
        figures.append(figure)
        status.show(
            tr(
                "measuring {name} · {what} {figure}",
                name=model.metadata.name,
                what=figure.name,
                figure=_amount(figure),
            )
        )
    return model.metadata.name, figures


def _require_local(model: ChatModel) -> None:
    """Refuse a model that is split over workers: this machine is what is measured.

    Raises:
        UsageError: It is.
    """
    if not model.require_engine().in_process:
        raise UsageError(
            tr("a model over RPC is not measured: the figures are of this machine"),
            tr("`tchat --usage` prints the speed of a reply"),
        )


def _cells(figure: Figure) -> tuple[str, str, str]:
    text = AGAINST[english(figure.name).split(" ")[0]] if figure.of else ""
    share = tr(text, share=figure.value / figure.of) if figure.of else ""
    return figure.name, _amount(figure), share


def _amount(figure: Figure) -> str:
    digits = 1 if figure.unit == "tok/s" else 3
    return f"{figure.value:.{digits}f} {figure.unit}"


TUNE_HELP = N_("""\
Benchmark threads, batch size, flash attention and KV cache type of a model.

Takes about a minute on an idle machine. Settings that are clearly faster are saved for the model,
like `tchat models set` does.""")


@tune_app.command(help=TUNE_HELP)
def tune(
    ctx: typer.Context,
    model: str = typer.Argument(..., metavar="MODEL", help="Model name or path, as for -m"),
    dry_run: bool = typer.Option(False, "--dry-run", help="Do not save the result"),
    as_json: bool = JSON,
) -> None:
    """Run the trials, save and print the result."""
    console: Console = ctx.obj
    settings = replace(load(console.paths, console.environ).settings, model=model)
    tuned, tried, path = run_with_checked_model(console, settings, _tuned)
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

    _require_local(model)
    status.show(tr("measuring how it is loaded now"))
    tried: list[TrialResult] = []
    engine = model.require_engine()
    for event in Autotuner(engine.options, engine.cancel).run():
        if isinstance(event, TuneResult):
            return event, tried, model.metadata.path
        tried.append(event)
        status.show(
            tr(
                "trying · {name} {value}: {gain}",
                name=event.name,
                value=event.value,
                gain=_gain(event),
            )
        )
    raise InterruptedError


def _gain(trial: TrialResult) -> str:
    if not trial.gain:
        return tr("not possible")
    gain = f"{trial.gain:.2f}x"
    return tr("{gain}, kept", gain=gain) if trial.better else gain


def _told(tuned: TuneResult, *, saved: bool) -> str:
    if not tuned.values:
        return tr("nothing is clearly faster than the settings in force")
    values = ", ".join(f"{name} = {spell(value)}" for name, value in tuned.values.items())
    if saved:
        return tr(
            "{gain:.2f}x as fast with {values}; saved for this model",
            gain=tuned.gain,
            values=values,
        )
    return tr(
        "{gain:.2f}x as fast with {values}; would be saved for this model",
        gain=tuned.gain,
        values=values,
    )
