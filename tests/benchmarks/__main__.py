"""All measurements as one table: ``python -m tests.benchmarks [NAME ...]``.

Each row is a figure, most of them a ratio of two that were taken in turn within one run, against
what is to be reached. A machine that is busy with other work gives other figures.

``judge`` and ``judge_duel`` run by name only: they take an hour and more. ``rpc`` needs a build
with the RPC backend.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

from tests.benchmarks.rows import Row

SECTIONS = {
    "One prompt": ("decode", "startup", "turns"),
    "The screen": ("tui_keys", "tui_transcript", "tui_decode", "tui_opening", "metering"),
    "Model files": ("models_ls", "pull", "fit", "headers", "model_speed"),
    "Waiting": (
        "snapshots",
        "unlocking",
        "reopening",
        "typing",
        "threads",
        "candidates",
        "map",
        "servers",
        "map_servers",
        "map_ray",
        "cluster",
        "rpc",
        "speculation",
        "bench",
    ),
    "Schemas": ("schemas",),
    "Tools": ("call_syntaxes", "tool_calls"),
    "Loops": ("loop_guard",),
    "Encryption": ("locked",),
    "Chats from elsewhere": ("import_chats",),
    "The discriminator": ("judge",),
}


def main(names: list[str]) -> int:
    """Print the rows as they come; the exit code is 1 when a figure is not reached."""
    missed = 0
    for title, measurements in SECTIONS.items():
        wanted = [name for name in measurements if not names or name in names]
        if wanted:
            print(title, flush=True)
        for name in wanted:
            for row in _rows(name):
                missed += not row.reached
                mark = "ok  " if row.reached else "MISS"
                print(f"{mark} {row.what:<84} {row.figure:>10}   {row.reach}", flush=True)
    return int(missed > 0)


def _rows(name: str) -> Iterator[Row]:
    """The rows of one measurement; what breaks it is a row, and the others are still taken."""
    try:
        yield from importlib.import_module(f"tests.benchmarks.{name}").rows()
    except Exception as error:
        print(f"{name}: {error}", file=sys.stderr)
        yield Row(f"{name}, measured as a whole", "broken", "to be measured", reached=False)


if __name__ == "__main__":
    known = [name for names in SECTIONS.values() for name in names]
    if strangers := set(sys.argv[1:]) - set(known):
        sys.exit(f"{', '.join(sorted(strangers))}: not among {', '.join(known)}")
    sys.exit(main(sys.argv[1:]))
