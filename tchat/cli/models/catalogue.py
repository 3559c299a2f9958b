"""``tchat models catalogue``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.console import Console
from tchat.cli.models.library import JSON, open_library
from tchat.cli.output.columns import print_json, print_rows
from tchat.humanize import size_text

if TYPE_CHECKING:
    from tchat.models.recommendations import Recommendation

HEADER = (
    *("NAME", "WEIGHTS", "QUANT", "SIZE", "FIT", "TOKENS/S", "HERE", "LICENCE", "FOR"),
    "LANGUAGES",
)


def catalogue(ctx: typer.Context, as_json: bool = JSON) -> None:
    """List recommended models, with their expected speed on this machine.

    Shows the largest quantization that fits; `tchat models pull NAME` downloads it.
    """
    from tchat.chat.throughput import measured_machine

    console: Console = ctx.obj
    with open_library(console) as library:
        found = library.catalogue(measured_machine(console.paths))
    if as_json:
        print_json(console, [_record(each) for each in found])
    else:
        print_rows(console, HEADER, [_cells(each) for each in found])


def _cells(offer: Recommendation) -> Sequence[str]:
    from tchat.models.fit_report import speed_text

    entry = offer.entry
    return (
        entry.name,
        entry.weights,
        offer.file.quantization,
        size_text(offer.file.size),
        offer.fit.short,
        speed_text(offer.speed),
        "yes" if offer.path else "",
        entry.licence,
        entry.purpose,
        entry.languages,
    )


def _record(offer: Recommendation) -> dict[str, Any]:
    entry, fit = offer.entry, offer.fit
    return {
        "name": entry.name,
        "title": entry.title,
        "maker": entry.maker,
        "repo": entry.repo,
        "licence": entry.licence,
        "languages": entry.languages,
        "purpose": entry.purpose,
        "parameters": entry.parameters,
        "active_parameters": entry.active,
        "context": entry.context,
        "quantization": offer.file.quantization,
        "size": offer.file.size,
        "quantizations": [{"name": name, "size": size} for name, size in entry.files],
        "fit": {"good": fit.good, "usable": fit.usable, "words": fit.summary},
        "speed": round(offer.speed, 2) or None,
        "speed_measured": offer.known,
        "path": str(offer.path) if offer.path else None,
    }
