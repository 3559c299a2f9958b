"""Whether a model fits this machine, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tchat.models.fit_report import FitReport


def fit_record(report: FitReport) -> dict[str, Any]:
    """What `fit_rows` tells a person; sizes are bytes, speeds tokens a second."""
    memory = report.machine.memory
    return {
        "good": report.fit.good,
        "usable": report.fit.usable,
        "words": report.fit.summary,
        "free": memory.free if memory else None,
        "gpus": [{"name": gpu.name, "free": gpu.free} for gpu in report.machine.gpus],
        "speed": round(report.speed, 2) or None,
        "speed_measured": report.known,
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
