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
from tchat.models.words import count_text, size_text
from tchat.sanitize import printable

if TYPE_CHECKING:
    from tchat.models.details import Details
    from tchat.models.header import Value
    from tchat.models.library import ModelRow

LONGEST_VALUE = 200  # characters of a metadata value
MOST_KEYS = 400
LONGEST_TEMPLATE = 20_000  # characters; the longest in circulation has 18,000

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
    yield from _about(row, details)
    for token in details.special:
        text = "(no such token)" if token.text is None else token.text
        yield f"token {token.role}", f"{token.id:,} {text}"
    for mark, added in details.adds.items():
        if added is not None:
            yield f"adds {mark}", "yes" if added else "no"
    for group in details.tensors:
        told = f"{group.tensors:,} tensors, {count_text(group.weights)} weights"
        yield f"tensors {group.type}", f"{told}, {size_text(group.size)}"
    for key, value in list(details.metadata.items())[:MOST_KEYS]:
        yield key, _told(value)
    if len(details.metadata) > MOST_KEYS:
        yield "…", f"and {len(details.metadata) - MOST_KEYS:,} more keys"
    if not details.template:
        yield "template", "none"
    for line in details.template[:LONGEST_TEMPLATE].splitlines():
        yield "template", line


def _about(row: ModelRow, details: Details) -> Iterator[Row]:
    facts = row.facts
    assert facts is not None  # noqa: S101 - a file without a sound header raised before
    yield "name", row.name
    yield "file", str(row.path)
    for part in facts.parts:
        yield "part", str(part)
    yield "owner", row.owner
    yield "title", facts.title
    yield "kind", facts.kind
    yield "family", facts.architecture
    yield "weights", count_text(facts.parameters)
    yield "quantization", facts.quantization
    yield "context", f"{facts.context_length:,}"
    yield "size", size_text(facts.size)
    yield "licence", details.licence or "not declared"
    yield "verdict", row.verdict
    yield "GGUF", f"version {details.version}"
    if not facts.refusal:
        yield from fit_rows(report_of(facts.shape, facts.context_length))


def _fit(row: ModelRow) -> dict[str, Any]:
    facts = row.facts
    if facts is None or facts.refusal:
        return {}
    return {"fit": fit_record(report_of(facts.shape, facts.context_length))}


def _told(value: Value) -> str:
    """A metadata value in words; of a long array only what it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float | str):
        return str(value)[:LONGEST_VALUE]
    items = ", ".join(str(item) for item in value.items[:8])[:LONGEST_VALUE]
    return f"{value.count:,} values" + (f": {items}" if items else "")


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
