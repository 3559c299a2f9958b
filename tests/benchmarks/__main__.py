"""All measurements as one table: ``python -m tests.benchmarks [NAME ...]``."""

from __future__ import annotations

import importlib
import sys

MEASUREMENTS = (
    "decode",
    "map",
    "models_ls",
    "pull",
    "snapshots",
    "startup",
    "threads",
    "turns",
    "typing",
    "tui_transcript",
    "tui_keys",
    "tui_decode",
    "tui_opening",
)


def main(names: list[str]) -> int:
    """Print the rows as they come; the exit code is 1 when a figure is not reached."""
    missed = 0
    for name in names or MEASUREMENTS:
        for row in importlib.import_module(f"tests.benchmarks.{name}").rows():
            missed += not row.reached
            mark = "ok  " if row.reached else "MISS"
            print(f"{mark} {row.what:<78} {row.figure:>16}   {row.reach}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
