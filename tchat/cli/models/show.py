"""``tchat models show``: what a model file says about itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.console import Console
from tchat.cli.listing import print_json, print_rows
from tchat.cli.models.desk import JSON, open_library
from tchat.cli.models.fit_rows import fit_record, fit_rows, report_of
from tchat.cli.models.listing import record
from tchat.sanitize import printable

if TYPE_CHECKING:
    from tchat.models.details import Details
    from tchat.models.header import Value
    from tchat.models.library import ModelRow

Row = Sequence[str]


def show(
    ctx: typer.Context,
    model: str = typer.Argument(..., metavar="MODEL", help="A model, as `-m` takes it"),
    template: bool = typer.Option(False, "--template", help="Print its chat template only"),
    as_json: bool = JSON,
) -> None:
    """Show what a model file says about itself: licence, tokens, tensors, metadata, template."""
    console: Console = ctx.obj
    with open_library(console) as library:
        row, details = library.show(model)
    if as_json:
        print_json(console, {**record(row), **_record(details), **_fit(row)})
    elif template:
        console.out(printable(details.template))
    else:
        print_rows(console, ("WHAT", "VALUE"), list(_rows(row, details)))


def _rows(row: ModelRow, details: Details) -> Iterator[Row]:
    from tchat.models.details_rows import about, inside

    yield from about(row, details)
    if row.facts is not None and not row.facts.refusal:
        yield from fit_rows(report_of(row.facts.shape, row.facts.context_length))
    yield from inside(details)


def _fit(row: ModelRow) -> dict[str, Any]:
    facts = row.facts
    if facts is None or facts.refusal:
        return {}
    return {"fit": fit_record(report_of(facts.shape, facts.context_length))}


def _record(details: Details) -> dict[str, Any]:
    return {
        "licence": details.licence,
        "template": details.template,
        "templates": list(details.templates),
        "special_tokens": [token._asdict() for token in details.special],
        "adds_bos": details.adds["bos"],
        "adds_eos": details.adds["eos"],
        "tensors": [group._asdict() for group in details.tensors],
        "metadata": {key: _plain(value) for key, value in details.metadata.items()},
    }


def _plain(value: Value) -> Any:
    """A value that JSON knows; of a long array the number of its elements."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bool | int | str):
        return value
    return {"count": value.count, "items": [_plain(item) for item in value.items]}
