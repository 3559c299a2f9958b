"""``tchat models catalogue``: recommended models, and which of them run here."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import typer

from tchat.cli.app import JSON
from tchat.cli.cells import GAP, cell_width
from tchat.cli.console import Console
from tchat.cli.models.local import open_library
from tchat.cli.output.columns import fields, print_json, print_rows
from tchat.errors import UsageError
from tchat.humanize import parse_size, size_text
from tchat.models.catalogue_entry import ALL_ABILITIES
from tchat.sanitize import single_line
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.models.recommendation import Recommendation

HEADER = (
    *(N_("NAME"), N_("WEIGHTS"), N_("QUANT"), N_("SIZE"), N_("FIT"), N_("TOKENS/S"), N_("HERE")),
    *(N_("LICENCE"), N_("FOR"), N_("LANGUAGES"), N_("ABILITIES")),
)
# What a narrow terminal shows, and what a wider one adds, in this order.
FIRST = ("NAME", "SIZE", "FIT", "TOKENS/S", "ABILITIES")
FURTHER = ("HERE", "QUANT", "FOR", "WEIGHTS", "LANGUAGES", "LICENCE")
PURPOSE = typer.Option(
    None, "--for", help="Only models for this", click_type=click.Choice(ALL_ABILITIES)
)
MAX_SIZE = typer.Option("", metavar="SIZE", help="Only files of at most this size, as in 8GB")


def catalogue(
    ctx: typer.Context,
    purpose: str | None = PURPOSE,
    max_size: str = MAX_SIZE,
    as_json: bool = JSON,
) -> None:
    """List recommended models, with their expected speed on this machine.

    Shows the quantization that `tchat models pull NAME` downloads. Models of your own go into
    catalogue.toml in the configuration folder. A narrow terminal shows fewer columns.
    """
    from tchat.chat.machine import measured_machine

    console: Console = ctx.obj
    most = _bytes(max_size)
    with open_library(console) as library:
        found = library.catalogue(measured_machine(console.paths), most)
    found = [each for each in found if not purpose or purpose in each.entry.abilities]
    if as_json:
        print_json(console, [_record(each) for each in found])
        return
    if not found and console.stderr_is_terminal:
        console.say(tr("the catalogue has no such model"))
    rows = [_cells(each) for each in found]
    shown = _columns(rows) if console.stdout_is_terminal else range(len(HEADER))
    header = [HEADER[index] for index in shown]
    print_rows(console, header, [[row[index] for index in shown] for row in rows])


def _columns(rows: Sequence[Sequence[str]]) -> list[int]:
    """Places of the columns that the terminal has room for, so that each model is on one line."""
    columns = zip(*[[*map(tr, HEADER)], *rows], strict=True)
    widths = [max(map(cell_width, column)) + len(GAP) for column in columns]
    shown = {HEADER.index(each) for each in FIRST}
    room = shutil.get_terminal_size().columns + len(GAP) - sum(widths[at] for at in shown)
    for index in map(HEADER.index, FURTHER):
        if widths[index] > room:
            break
        room -= widths[index]
        shown.add(index)
    return sorted(shown)


def _bytes(text: str) -> int:
    try:
        return parse_size(text) if text else 0
    except ValueError:
        raise UsageError(
            tr("{text} is no size", text=single_line(text, 40)), tr("write it as in 8GB or 700MB")
        ) from None


def _cells(offer: Recommendation) -> Sequence[str]:
    from tchat.humanize import speed_text

    entry = offer.entry
    return (
        offer.name,
        entry.weights,
        offer.file.quantization,
        size_text(offer.file.size),
        offer.fit.short,
        speed_text(offer.speed),
        tr("yes") if offer.path else "",
        entry.licence,
        tr(entry.purpose),
        tr(entry.languages),
        ", ".join(entry.abilities),  # as --for takes them
    )


def _record(offer: Recommendation) -> dict[str, Any]:
    entry, fit = offer.entry, offer.fit
    return {
        "name": offer.name,
        **fields(entry, "title", "maker", "repo", "licence", "languages", "purpose", "parameters"),
        "active_parameters": entry.active,
        "context": entry.context,
        "year": entry.year or None,
        "abilities": list(entry.abilities),
        "sampling": dict(entry.sampling),
        "mmproj": entry.mmproj or None,
        "draft": entry.draft or None,
        "source": entry.source or None,
        "own": entry.own,
        "quantization": offer.file.quantization,
        "size": offer.file.size,
        "quantizations": [{"name": name, "size": size} for name, size in entry.files],
        "fit": {"good": fit.good, "usable": fit.usable, "words": fit.summary},
        "speed": round(offer.speed, 2) or None,
        "speed_measured": offer.is_measured,
        "path": str(offer.path) if offer.path else None,
    }
