"""``tchat models ls``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.console import Console
from tchat.cli.listing import iso, print_json, print_rows, when
from tchat.cli.models.desk import JSON, open_library
from tchat.models.words import count_text, size_text

if TYPE_CHECKING:
    from tchat.models.library import ModelRow

HEADER = ("FAMILY", "WEIGHTS", "QUANT", "CONTEXT", "SIZE", "LAST USED", "VERDICT")


def ls(
    ctx: typer.Context,
    everything: bool = typer.Option(False, "-a", "--all", help="What other programs keep too"),
    as_json: bool = JSON,
) -> None:
    """List the models; with --all also those that Ollama, LM Studio and others keep."""
    console: Console = ctx.obj
    with open_library(console) as library:
        rows = library.models(all=everything)
    if as_json:
        print_json(console, [record(row) for row in rows])
        return
    lead = ("NAME", "OWNER") if everything else ("NAME",)
    print_rows(console, (*lead, *HEADER), [_cells(row, owner=everything) for row in rows])


def _cells(row: ModelRow, *, owner: bool) -> Sequence[str]:
    facts = row.facts
    return (
        row.name,
        *([row.owner] if owner else []),
        facts.architecture if facts else "",
        count_text(facts.parameters) if facts else "",
        facts.quantization if facts else "",
        f"{facts.context_length:,}" if facts and facts.context_length else "",
        size_text(facts.size) if facts else "",
        when(row.last_used) if row.last_used else "",
        row.verdict,
    )


def record(row: ModelRow) -> dict[str, Any]:
    """A row for a program."""
    facts = row.facts
    return {
        "name": row.name,
        "path": str(row.path),
        "owner": row.owner,
        "kind": facts.kind if facts else None,
        "family": facts.architecture if facts else None,
        "parameters": facts.parameters if facts else None,
        "quantization": facts.quantization if facts else None,
        "context": facts.context_length if facts else None,
        "size": facts.size if facts else None,
        "parts": [str(part) for part in facts.parts] if facts else [],
        "last_used": iso(row.last_used) if row.last_used else None,
        "verdict": row.verdict,
    }
