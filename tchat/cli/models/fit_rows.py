"""Whether a model fits this machine: rows of a listing, and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tchat.models.fit_report import Report
    from tchat.models.shape import Shape


def report_of(shape: Shape, trained: int) -> Report:
    """What is to be told of a model on this machine, now."""
    from tchat.chat.room import this_machine
    from tchat.models.fit_report import report

    return report(shape, trained, this_machine())


def fit_rows(report: Report) -> Iterator[tuple[str, str]]:
    """The verdict, then what each context needs with an f16 and a q8_0 cache."""
    from tchat.models.fit_report import gigabytes

    yield "fit", f"it {report.fit.words}"
    if report.machine.memory is not None:
        yield "free memory", gigabytes(report.machine.memory.free)
    for gpu in report.machine.gpus:
        yield f"free on {gpu.name}", gigabytes(gpu.free)
    for context in sorted({row.context for row in report.rows}):
        told = (
            f"{gigabytes(row.need.total)} with {row.kv_type}{'' if row.fits else ' (too much)'}"
            for row in report.rows
            if row.context == context and row.kv_type != "q4_0"
        )
        yield f"needs at {context:,}", ", ".join(told)


def fit_record(report: Report) -> dict[str, Any]:
    """The same for programs; sizes are bytes."""
    memory = report.machine.memory
    return {
        "good": report.fit.good,
        "usable": report.fit.usable,
        "words": report.fit.words,
        "free": memory.free if memory else None,
        "gpus": [{"name": gpu.name, "free": gpu.free} for gpu in report.machine.gpus],
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
