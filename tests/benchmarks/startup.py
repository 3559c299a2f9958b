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


def rows() -> Iterator[Row]:
    """``--version``, ``--help`` and the first byte of an answer."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "TCHAT_HOME": home, "LLM_USER_PATH": home}
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
    for command in (ours, theirs):  # warm the page cache and the verdict of the model file
        first_byte(command, env=environment)
    mine, other = alternated(
        5, lambda: first_byte(ours, env=environment), lambda: first_byte(theirs, env=environment)
    )
    share = ratio(mine, other)
    what = (
        f"process start to first byte ({statistics.median(mine):.2f} s), "
        f"against llm ({statistics.median(other):.2f} s)"
    )
    yield Row(what, f"{share:.2f}x", "<= 0.45x", share <= 0.45)
