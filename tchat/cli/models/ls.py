"""``tchat models ls``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.console import Console
from tchat.cli.models.library import JSON, default_path, open_library
from tchat.cli.output.columns import iso, print_json, print_rows, when
from tchat.humanize import count_text, size_text

if TYPE_CHECKING:
    from tchat.models.library import LibraryModel

HEADER = ("FAMILY", "WEIGHTS", "QUANT", "CONTEXT", "SIZE", "LAST USED", "DEFAULT", "VERDICT")


def ls(
    ctx: typer.Context,
    everything: bool = typer.Option(False, "-a", "--all", help="Include models of other programs"),
    as_json: bool = JSON,
) -> None:
    """List the models; --all includes those of Ollama, LM Studio and others.

    Marks the default model.
    """
    console: Console = ctx.obj
    with open_library(console) as library:
        rows = library.models(all=everything)
    default = _default_of(rows, console)
    if as_json:
        print_json(console, [{**record(row), "default": row is default} for row in rows])
        return
    lead = ("NAME", "OWNER") if everything else ("NAME",)
    cells = [_cells(row, owner=everything, default=row is default) for row in rows]
    print_rows(console, (*lead, *HEADER), cells)


def _default_of(rows: Sequence[LibraryModel], console: Console) -> LibraryModel | None:
    """The row of the default model; None where it is in none."""
    path = default_path(console)
    if path is None:
        return None
    at = next((row for row in rows if row.path == path), None)
    return at or next((row for row in rows if row.path.resolve() == path.resolve()), None)


def _cells(row: LibraryModel, *, owner: bool, default: bool) -> Sequence[str]:
    facts = row.metadata
    return (
        row.name,
        *([row.owner] if owner else []),
        facts.architecture if facts else "",
        count_text(facts.parameters) if facts else "",
        facts.quantization if facts else "",
        f"{facts.context_length:,}" if facts and facts.context_length else "",
        size_text(facts.size) if facts else "",
        when(row.last_used) if row.last_used else "",
        "default" if default else "",
        row.verdict,
    )


def record(row: LibraryModel) -> dict[str, Any]:
    """A row for a program."""
    facts = row.metadata
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
