"""How many refusals of llama.cpp are held: ``python -m tests.refusals.report [CALLS PART PARTS]``.

The arguments are those of `tests.refusals.trying`. Each case is tried in a child process; one that
ends it is a crash, and the next child goes on behind it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SHORT = 7  # parts of which the short form is one; no divisor of the faults of a function
LONG = 12  # parts of the long form


@dataclass
class Report:
    """What was tried, and what did not hold.

    Args:
        uses: Cases by use.
        functions: Cases by the function that was refused.
        told: Cases that ended in an error of one line; the others went on without.
        problems: Those that did not hold.
        unknown: Functions of llama.cpp of which is not said whether they fail.
    """

    uses: Counter[str] = field(default_factory=Counter)
    functions: Counter[str] = field(default_factory=Counter)
    told: int = 0
    problems: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """Cases in all."""
        return sum(self.uses.values())

    def __str__(self) -> str:
        held = self.tried - len(self.problems)
        return (
            f"llama.cpp refused {self.tried} times, {len(self.functions)} functions in "
            f"{len(self.uses)} uses: {held} held ({self.told} with one line, the rest unnoticed)"
        )


def report(folder: Path, calls: str = "some", part: int = 0, parts: int = SHORT) -> Report:
    """Try one part of the cases, of ``some`` or of ``every`` call, in an empty folder."""
    found = Report()
    first: int | None = 1
    while first is not None:
        first = _child(folder, first, (calls, str(part), str(parts)), found)
    return found


def _child(folder: Path, first: int, which: Sequence[str], found: Report) -> int | None:
    """Let a child try the cases from ``first`` on; returns where it crashed, and one more."""
    environment = {
        **os.environ,
        "TCHAT_HOME": str(folder / "home"),
        "HOME": str(folder / "user"),
        "TCHAT_THREADS": "1",
        "GGML_NO_BACKTRACE": "1",
    }
    command = [sys.executable, "-m", "tests.refusals.trying", str(folder), str(first), *which]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as child:
        output, errors = child.communicate()
    tried: dict[str, Any] = {}
    for line in output.splitlines():
        facts = json.loads(line)
        if "use" in facts:
            tried = facts
            found.uses[facts["use"]] += 1
            found.functions[facts["fault"][0]] += 1
        elif "problem" in facts:
            found.told += facts["outcome"] not in ("", "held")
            if facts["problem"]:
                found.problems.append(f"{_named(tried)}: {facts['problem']}")
            tried = {}
        else:
            found.unknown = facts["unknown"]
    if not child.returncode:
        return None
    last = errors.strip().splitlines()[-1:]
    found.problems.append(f"{_named(tried)}: the process ended, {_end(child.returncode)} {last}")
    return tried["number"] + 1 if tried else None


def _named(tried: dict[str, Any]) -> str:
    return f"{tried['use']}, {tried['fault']}" if tried else "between two cases"


def _end(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


if __name__ == "__main__":
    given = sys.argv[1:]
    with tempfile.TemporaryDirectory() as made:
        which = (given[0], int(given[1]), int(given[2])) if given else ()
        result = report(Path(made), *which)
    print(result)
    print("\n".join(result.problems))
