"""``tchat models ls``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.console import Console
from tchat.cli.listing import print_json, print_rows
from tchat.cli.models.desk import JSON, open_library

if TYPE_CHECKING:
    from tchat.models.library import ModelRow

HEADER = ("NAME", "FAMILY", "PARAMETERS", "QUANTIZATION", "CONTEXT", "SIZE", "VERDICT")


def ls(
    ctx: typer.Context,
    everything: bool = typer.Option(False, "-a", "--all", help="What other programs keep too"),
    as_json: bool = JSON,
) -> None:
    """List the models: yours, and with --all those that other programs keep."""
    console: Console = ctx.obj
    with open_library(console) as library:
        rows = library.models(all=everything)
    if as_json:
        print_json(console, [_record(row) for row in rows])
        return
    print_rows(console, HEADER, [_cells(row) for row in rows])


def _cells(row: ModelRow) -> tuple[str, ...]:
    facts = row.facts
    if facts is None:
        return (row.name, "", "", "", "", "", row.verdict)
    return (
        row.name,
        facts.architecture,
        f"{facts.parameters:,}",
        facts.quantization,
        f"{facts.context_length:,}",
        f"{facts.size:,}",
        row.verdict,
    )


def _record(row: ModelRow) -> dict[str, Any]:
    facts = row.facts
    return {
        "name": row.name,
        "path": str(row.path),
        "owner": row.owner,
        "family": facts.architecture if facts else None,
        "parameters": facts.parameters if facts else None,
        "quantization": facts.quantization if facts else None,
        "context": facts.context_length if facts else None,
        "size": facts.size if facts else None,
        "verdict": row.verdict,
    }
