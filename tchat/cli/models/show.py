"""``tchat models show``: what a model says about itself, on this disk or on the hub."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from tchat.cli.console import Console
from tchat.cli.listing import print_json, print_rows
from tchat.cli.models.desk import JSON, open_library
from tchat.cli.models.fit_rows import fit_record, fit_rows
from tchat.cli.models.listing import record
from tchat.sanitize import printable

if TYPE_CHECKING:
    from tchat.models.details import Details
    from tchat.models.fit_report import Report
    from tchat.models.header import Value
    from tchat.models.hub_name import HubName
    from tchat.models.prospect import Prospect


class _Shown(NamedTuple):
    """What is told of a model: for a person, for a program, from its header, of its fit."""

    about: Sequence[tuple[str, str]]
    record: dict[str, Any]
    details: Details
    report: Report | None


def show(
    ctx: typer.Context,
    model: str = typer.Argument(..., metavar="MODEL", help="As `-m` takes it, or on the hub"),
    template: bool = typer.Option(False, "--template", help="Print its chat template only"),
    as_json: bool = JSON,
) -> None:
    """Show what a model says about itself, and whether it fits; also before it is pulled.

    Licence, memory, speed, tokens, tensors, metadata, template. Of a model that is only on the hub
    no more than its header is read.
    """
    from tchat.models.absent import NotOnDisk
    from tchat.models.details_rows import inside

    console: Console = ctx.obj
    try:
        shown = _on_disk(model, console)
    except NotOnDisk as absent:
        shown = _on_the_hub(absent.remote, console)
    if template:
        console.out(printable(shown.details.template))
    elif as_json:
        fit = {"fit": fit_record(shown.report)} if shown.report else {}
        print_json(console, {**shown.record, **_record(shown.details), **fit})
    else:
        fit_table = fit_rows(shown.report) if shown.report else ()
        print_rows(console, ("WHAT", "VALUE"), [*shown.about, *fit_table, *inside(shown.details)])


def _on_disk(model: str, console: Console) -> _Shown:
    from tchat.models.details_rows import about

    with open_library(console) as library:
        row, details = library.show(model)
    report = None
    if (facts := row.facts) is not None and not facts.refusal:
        from tchat.chat.speed import measured_machine
        from tchat.models.fit_report import report as judge

        machine = measured_machine(console.paths)
        report = judge(facts.shape, facts.context_length, machine, row.speed)
    return _Shown(list(about(row, details)), record(row), details, report)


def _on_the_hub(name: HubName, console: Console) -> _Shown:
    from tchat.chat.speed import measured_machine
    from tchat.cli.status import StatusLine
    from tchat.models.details_rows import about_prospect
    from tchat.models.hub import Hub
    from tchat.models.prospect import look

    hub, machine, line = Hub(console.environ), measured_machine(console.paths), StatusLine(console)
    try:
        line.show("asking the hub")
        listing = hub.listing(name.repo, name.revision)
        line.show("reading the header")
        prospect = look(listing, name, hub.read_range, machine, closely=True)
    finally:
        line.erase()
    report = None if prospect.refusal else prospect.report
    return _Shown(list(about_prospect(prospect)), _remote(prospect), prospect.details, report)


def _remote(prospect: Prospect) -> dict[str, Any]:
    return {
        "name": prospect.model.name,
        "path": None,
        "owner": None,
        "repo": prospect.listing.repo,
        "commit": prospect.listing.commit,
        "chosen": prospect.why or None,
        "files": [
            {"name": file.name, "size": file.size, "sha256": file.sha256 or None}
            for file in prospect.model.files
        ],
        "kind": prospect.kind,
        "family": prospect.architecture,
        "parameters": prospect.parameters,
        "quantization": prospect.quantization,
        "context": prospect.context_length,
        "size": prospect.size,
        "downloads": prospect.listing.downloads,
        "gated": prospect.listing.gated,
        "verdict": prospect.refusal or "not on this disk",
    }


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
