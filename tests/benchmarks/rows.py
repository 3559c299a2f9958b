"""What a measurement is: one line of the table, a ratio taken inside one run."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One figure against what is to be reached."""

    what: str
    figure: str
    reach: str
    reached: bool


Measurement = Callable[[], Iterator[Row]]


def child(module: str, *arguments: str) -> dict[str, Any]:
    """Run ``python -m module`` alone in a process and return the JSON of its last line."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def alternated(rounds: int, *runs: Callable[[], float]) -> list[list[float]]:
    """Measure each of ``runs`` in turn, ``rounds`` times: a machine that drifts does so for all."""
    figures: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for place, run in enumerate(runs):
            figures[place].append(run())
    return figures


def ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """Median of the ratios taken pair by pair."""
    return statistics.median(a / b for a, b in zip(these, those, strict=True))


def wall(command: Sequence[str], **options: Any) -> float:
    """Seconds that ``command`` takes as a whole."""
    started = time.perf_counter()
    subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, **options
    )
    return time.perf_counter() - started


def first_byte(command: Sequence[str], *, finish: bool = False, **options: Any) -> float:
    """Seconds from the start of ``command`` to the first byte on its standard output.

    With ``finish`` the command may end by itself, else it is killed then.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, **options
    )
    assert process.stdout is not None
    byte = process.stdout.read(1)
    seconds = time.perf_counter() - started
    if finish:
        process.communicate()
    process.stdout.close()
    process.kill()
    process.wait()
    if not byte:
        raise RuntimeError(f"{command[0]} wrote nothing")
    return seconds
