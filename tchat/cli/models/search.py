"""``tchat models search`` and ``catalogue``: models to download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.console import Console
from tchat.cli.models.library import JSON, open_library
from tchat.cli.output.columns import print_json, print_rows
from tchat.humanize import count_text, size_text

if TYPE_CHECKING:
    from tchat.models.catalogue import Recommendation
    from tchat.models.hub.api import SearchResult

HEADER = ("NAME", "DOWNLOADS", "LICENCE", "WEIGHTS", "UPDATED", "SIZES")
CATALOGUE_HEADER = (
    *("NAME", "WEIGHTS", "QUANT", "SIZE", "FIT", "TOKENS/S", "HERE", "LICENCE", "FOR"),
    "LANGUAGES",
)


def search(
    ctx: typer.Context,
    words: list[str] = typer.Argument(..., help="Words in the model name"),
    limit: int = typer.Option(10, "-l", "--limit", min=1, max=100, help="Maximum number"),
    as_json: bool = JSON,
) -> None:
    """Search the Hugging Face Hub for models, most downloaded first."""
    from tchat.models.hub.api import HubApi
    from tchat.models.hub.api import search_models as ask

    console: Console = ctx.obj
    results = ask(HubApi(console.environ), " ".join(words), limit)
    if as_json:
        print_json(console, [_record(result) for result in results])
        return
    if not results and console.stderr_is_terminal:
        console.say("the hub has no GGUF model of that name")
    print_rows(console, HEADER, [_cells(result) for result in results])


def _cells(result: SearchResult) -> Sequence[str]:
    hit = result.hit
    return (
        hit.repo,
        f"{hit.downloads:,}",
        hit.licence + (" (gated)" if hit.gated else ""),
        count_text(hit.parameters),
        hit.updated,
        _sizes(result),
    )


def _sizes(result: SearchResult) -> str:
    """The default model and the range of all: ``Q4_K_M 397 MB, of 12: 250 MB to 1.2 GB``."""
    from tchat.models.hub.repository import default_model

    models = result.listing.models if result.listing else ()
    if not models:
        return ""
    chosen, sizes = default_model(models), sorted(model.size for model in models)
    words = f"{chosen.quantization} {size_text(chosen.size)}".strip()
    if len(models) == 1:
        return words
    return f"{words}, of {len(models)}: {size_text(sizes[0])} to {size_text(sizes[-1])}"


def _record(result: SearchResult) -> dict[str, Any]:
    hit = result.hit
    return {
        "name": hit.repo,
        "downloads": hit.downloads,
        "likes": hit.likes,
        "licence": hit.licence or None,
        "gated": hit.gated,
        "updated": hit.updated or None,
        "family": hit.architecture or None,
        "parameters": hit.parameters or None,
        "context": hit.context_length or None,
        "models": [
            {"name": model.name, "quantization": model.quantization or None, "size": model.size}
            for model in (result.listing.models if result.listing else ())
        ],
    }


def catalogue(ctx: typer.Context, as_json: bool = JSON) -> None:
    """List recommended models, with their expected speed on this machine.

    Shows the largest quantization that fits; `tchat models pull NAME` downloads it.
    """
    from tchat.chat.throughput import measured_machine

    console: Console = ctx.obj
    with open_library(console) as library:
        found = library.catalogue(measured_machine(console.paths))
    if as_json:
        print_json(console, [_catalogue_record(each) for each in found])
    else:
        print_rows(console, CATALOGUE_HEADER, [_catalogue_cells(each) for each in found])


def _catalogue_cells(offer: Recommendation) -> Sequence[str]:
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


def _catalogue_record(offer: Recommendation) -> dict[str, Any]:
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
