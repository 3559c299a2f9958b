"""``tchat models show`` and ``check``: the metadata of a model, and whether its file is sound."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.app import JSON
from tchat.cli.console import Console
from tchat.cli.models.local import open_library, record
from tchat.cli.output.columns import fields, print_json, print_rows
from tchat.cli.output.status import TerminalStatus
from tchat.humanize import size_text
from tchat.sanitize import printable
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.chat.model_info import ModelInfo
    from tchat.models.fit_report import FitReport
    from tchat.models.gguf.details import HeaderDetails
    from tchat.models.gguf.header import Value
    from tchat.models.hub.remote_model import RemoteModel
    from tchat.models.verify import VerifyProgress, VerifyResult


def show(
    ctx: typer.Context,
    model: str = typer.Argument(
        ..., metavar="MODEL", help="Model name or path, as for -m, or a name on the hub"
    ),
    template: bool = typer.Option(False, "--template", help="Print only the chat template"),
    as_json: bool = JSON,
) -> None:
    """Show the metadata of a model, and whether it fits; also before downloading.

    Licence, memory, speed, tokens, tensors, metadata, chat template. Of a model on the hub only the
    header is downloaded.
    """
    from tchat.chat.model_info import inspect_model
    from tchat.egress.egress_log import open_egress_log

    console: Console = ctx.obj
    egress = open_egress_log(console.paths)
    try:
        with TerminalStatus(console) as line:
            view = inspect_model(
                model,
                console.paths,
                console.environ,
                lambda: line.show(tr("asking the hub")),
                egress,
            )
    finally:
        if problem := egress.take_problem():
            console.notice(problem)
    if template:
        console.out(printable(view.details.template))
    elif as_json:
        print_json(console, _whole(view))
    else:
        print_rows(console, (N_("WHAT"), N_("VALUE")), list(view.rows()), whole=True)


def _whole(view: ModelInfo) -> dict[str, Any]:
    from tchat.models.hub.remote_model import RemoteModel

    found = view.found
    known = _remote(found) if isinstance(found, RemoteModel) else record(found)
    fit: dict[str, Any] = {"fit": fit_record(view.report)} if view.report else {}
    if view.workers:
        fit["workers"] = list(view.workers)
        fit["workers_fault"] = view.workers_fault or None
    sampling = {
        name: {"value": value, "from": origin} for name, (value, origin) in view.sampling.items()
    }
    own = {"sampling": sampling, "sampling_notes": list(view.sampling_notes)}
    return {**known, **own, **_record(view.details), **fit}


def _remote(remote_model: RemoteModel) -> dict[str, Any]:
    return {
        "name": remote_model.model.name,
        "path": None,
        "owner": None,
        "repo": remote_model.listing.repo,
        "commit": remote_model.listing.commit,
        "chosen": remote_model.reason or None,
        "files": [
            {"name": file.name, "size": file.size, "sha256": file.sha256 or None}
            for file in remote_model.model.files
        ],
        "kind": remote_model.kind,
        "family": remote_model.architecture,
        "parameters": remote_model.parameters,
        "quantization": remote_model.quantization,
        "context": remote_model.context_length,
        "size": remote_model.size,
        "downloads": remote_model.listing.downloads,
        "gated": remote_model.listing.gated,
        "verdict": remote_model.refusal or tr("not on this disk"),
    }


def _record(details: HeaderDetails) -> dict[str, Any]:
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


def fit_record(report: FitReport) -> dict[str, Any]:
    """The fit report as JSON; sizes in bytes, speeds in tokens per second."""
    memory = report.machine.memory
    return {
        "good": report.fit.good,
        "usable": report.fit.usable,
        "words": report.fit.summary,
        "free": memory.free if memory else None,
        "gpus": [{"name": gpu.name, "free": gpu.free} for gpu in report.machine.gpus],
        "speed": round(report.speed, 2) or None,
        "speed_measured": report.is_measured,
        "largest_context": report.largest,
        "needs": [
            {
                "context": row.context,
                "kv_type": row.kv_type,
                "weights": row.need.weights,
                "cache": row.need.context,
                "buffers": row.need.buffers,
                "total": row.need.total,
                "fits": row.fits,
            }
            for row in report.rows
        ],
    }


def check(
    ctx: typer.Context,
    model: str = typer.Argument(..., metavar="MODEL", help="Model name or path, as for -m"),
    quick: bool = typer.Option(False, "--quick", help="Skip the hash of the whole file"),
    as_json: bool = JSON,
) -> int:
    """Check a model file: header, hash, loading, chat template.

    Exits with the code of the first problem, or 0.
    """
    from tchat.chat.model import probe_command

    console: Console = ctx.obj
    with open_library(console) as library:
        events = library.verify(model, probe_command, content=not quick)
        findings = list(_show_progress(events, console))
    if as_json:
        print_json(console, [fields(each, "topic", "state", "text") for each in findings])
    else:
        rows = [(tr(each.topic), tr(each.state), each.text) for each in findings]
        print_rows(console, (N_("WHAT"), N_("STATE"), N_("FOUND")), rows, whole=True)
    return next((int(each.code) for each in findings if each.code), 0)


def _show_progress(events: Iterator[VerifyProgress], console: Console) -> Iterator[VerifyResult]:
    """Yield the findings; show progress on a terminal."""
    from tchat.models.files import HashProgress
    from tchat.models.verify import VerifyResult

    with TerminalStatus(console) as line:
        for event in events:
            if isinstance(event, VerifyResult):
                yield event
            elif isinstance(event, HashProgress):
                if line.due:
                    line.show(
                        tr(
                            "reading {done} of {total}",
                            done=size_text(event.done),
                            total=size_text(event.total),
                        )
                    )
            else:
                line.show(tr("loading it in a process of its own"))
