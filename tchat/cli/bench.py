"""``tchat bench``: benchmark a model on this machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.console import Console
from tchat.cli.model_loading import with_checked_model
from tchat.cli.output.columns import print_json, print_rows
from tchat.settings import load

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.cli.output.status import TerminalStatus
    from tchat.engine.benchmark import Figure

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

HEADER = ("WHAT", "FIGURE", "AGAINST")
AGAINST = {"write": "of a bare llama.cpp loop", "restore": "of reading them"}


@app.command(help="Measure load, prefill, decode, first token, candidates and restore of a model.")
def command(
    ctx: typer.Context,
    model: str = typer.Argument("", metavar="[MODEL]", help="Model name or path, as for -m"),
    as_json: bool = typer.Option(False, "--json", help="Print JSON"),
) -> None:
    """Run the benchmarks and print the results."""
    console: Console = ctx.obj
    settings = load(console.paths, console.environ).settings
    settings = replace(settings, model=model or settings.model)
    name, figures = with_checked_model(console, settings, _measured)
    if as_json:
        print_json(console, {"model": name, "figures": {f.name: _record(f) for f in figures}})
    else:
        print_rows(console, HEADER, [_cells(figure) for figure in figures])


def _measured(model: ChatModel, status: TerminalStatus) -> tuple[str, list[Figure]]:
    from tchat.engine.benchmark import Benchmark

    status.show(f"measuring {model.facts.name}")
    figures = []
    for figure in Benchmark(model.engine.options, model.engine.cancel).figures():
        figures.append(figure)
        status.show(f"measuring {model.facts.name} · {figure.name} {_amount(figure)}")
    return model.facts.name, figures


def _record(figure: Figure) -> dict[str, Any]:
    found: dict[str, Any] = {"value": figure.value, "unit": figure.unit}
    return found | ({"against": figure.of} if figure.of else {})


def _cells(figure: Figure) -> tuple[str, str, str]:
    words = AGAINST.get(figure.name.split(" ")[0], "")
    share = f"{figure.value / figure.of:.1%} {words}" if figure.of else ""
    return figure.name, _amount(figure), share


def _amount(figure: Figure) -> str:
    digits = 1 if figure.unit == "tok/s" else 3
    return f"{figure.value:.{digits}f} {figure.unit}"
