"""Whether a model fits a machine, as lines of two texts."""

from __future__ import annotations

from collections.abc import Iterator

from tchat.models.fit_report import FitReport, gigabytes, speed_text

SHOWN = ("f16", "q8_0")  # types of the KV cache


def fit_rows(report: FitReport) -> Iterator[tuple[str, str]]:
    """The verdict, the speed, then what each context needs with an f16 and a q8_0 cache."""
    yield "fit", f"it {report.fit.summary}"
    if report.speed:
        told = "measured here" if report.known else "expected, with a short context"
        yield "speed", f"{speed_text(report.speed)} tokens/s {told}"
    if report.machine.memory is not None:
        yield "free memory", gigabytes(report.machine.memory.free)
    for gpu in report.machine.gpus:
        yield f"free on {gpu.name}", gigabytes(gpu.free)
    largest = (f"{report.largest[kv_type]:,} tokens with {kv_type}" for kv_type in SHOWN)
    yield "largest context", ", ".join(largest)
    yield "needs for weights", gigabytes(report.rows[0].need.weights)
    for context in sorted({row.context for row in report.rows}):
        needs = (
            f"{gigabytes(row.need.total)} with {row.kv_type}"
            f" ({gigabytes(row.need.context)} of it the context{'' if row.fits else ': too much'})"
            for row in report.rows
            if row.context == context and row.kv_type in SHOWN
        )
        yield f"needs at {context:,}", ", ".join(needs)
