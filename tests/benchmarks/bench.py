"""What `tchat bench` and `tchat tune` say of the starter on this machine."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from tests.benchmarks.peers import TCHAT
from tests.benchmarks.rows import Row

RUNS = 3
MINUTE = 120  # seconds that tuning may take


def rows() -> Iterator[Row]:
    """Whole processes, in a home of their own."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "TCHAT_HOME": home}
        found = [_said(["bench"], environment)["figures"] for _ in range(RUNS)]
        share = statistics.median(f["write"]["value"] / f["write"]["against"] for f in found)
        rates = {n: statistics.median(f[n]["value"] for f in found) for n in ("read", "write")}
        what = f"tchat bench: {rates['read']:.0f} tok/s read, {rates['write']:.0f} written, "
        yield Row(f"{what}against a bare loop", f"{share:.3f}x", ">= 0.97x", share >= 0.97)
        started = time.perf_counter()
        tuned = _said(["tune", "starter", "--dry-run"], environment)
        seconds = time.perf_counter() - started
        values = ", ".join(f"{name} {value}" for name, value in tuned["values"].items())
        what = (
            f"tchat tune of the starter: {tuned['gain']:.2f}x with {values or 'what is in force'}"
        )
        yield Row(what, f"{seconds:.0f} s", f"<= {MINUTE} s", seconds <= MINUTE)


def _said(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [*TCHAT, *command, "--json"], env=environment, capture_output=True, check=True
    )
    value: dict[str, Any] = json.loads(done.stdout)
    return value
