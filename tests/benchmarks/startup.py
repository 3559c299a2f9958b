"""Start-up: the command as a whole process."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator

from tests.benchmarks.peers import LLM, TCHAT
from tests.benchmarks.rows import Row, alternated, first_byte, ratio, wall

PROMPT = "Why is the sky blue?"
LLM_MODEL = "SmolLM2"
ROUNDS = 9


def rows() -> Iterator[Row]:
    """``--version``, ``--help`` and the first byte of an answer."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "TCHAT_HOME": home, "LLM_USER_PATH": home}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program is compiled
        yield from _bare_calls(environment)
        yield from _first_byte(environment)


def _bare_calls(environment: dict[str, str]) -> Iterator[Row]:
    calls = ([sys.executable, "-c", "pass"], [*TCHAT, "--version"], [*TCHAT, "--help"])
    nothing, version, help_page = alternated(
        15, *(lambda c=c: wall(c, env=environment) for c in calls)
    )
    base = 1000 * statistics.median(nothing)
    for name, figures, reach in (("--version", version, 3), ("--help", help_page, 9)):
        share = ratio(figures, nothing)
        what = f"tchat {name}, against python -c pass ({base:.0f} ms)"
        yield Row(what, f"{share:.2f}x", f"<= {reach}x", share <= reach)


def _first_byte(environment: dict[str, str]) -> Iterator[Row]:
    ours = [*TCHAT, PROMPT]
    theirs = [*LLM, "-m", LLM_MODEL, PROMPT]
    for command in (ours, ours, theirs):  # warm the page cache and what is kept of earlier calls
        first_byte(command, env=environment, finish=True)
    mine, other = alternated(
        ROUNDS,
        lambda: first_byte(ours, env=environment),
        lambda: first_byte(theirs, env=environment),
    )
    seconds, share = statistics.median(mine), ratio(mine, other)
    yield Row("process start to first byte", f"{seconds:.2f} s", "<= 0.7 s", seconds <= 0.7)
    what = f"process start to first byte, against llm ({statistics.median(other):.2f} s)"
    yield Row(what, f"{share:.2f}x", "<= 0.35x", share <= 0.35)
