"""The promises of reliability as one table: ``python -m tests.faults [--long] [NAME ...]``.

Each promise is held by tests; the short form runs those of the suite (minutes), the long form also
the fault runs that are marked ``long`` (an hour). A figure that a test records is summed here.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.promises import PROMISES, Promise


@dataclass
class Outcome:
    """What the tests of a promise said.

    Attributes:
        passed: Tests.
        failed: Names of tests that did not pass.
        figures: What they recorded, summed by name.
        seconds: They took.
    """

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def told(self) -> str:
        """The figures, else how many tests passed."""
        told = [f"{value:,} {name}" for name, value in self.figures.items()]
        return ", ".join([*told, f"{self.passed} tests"])


def main(arguments: list[str]) -> int:
    """Print a row for each promise; the exit code is 1 when one does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--long", action="store_true", help="run the long fault runs too")
    parser.add_argument("names", nargs="*", help=f"promises: {', '.join(PROMISES)}")
    options = parser.parse_args(arguments)
    if strangers := set(options.names) - set(PROMISES):
        parser.error(f"{', '.join(sorted(strangers))}: not among {', '.join(PROMISES)}")
    broken = 0
    for name in options.names or PROMISES:
        promise = PROMISES[name]
        outcome = _outcome(promise, long=options.long)
        broken += bool(outcome.failed or not outcome.passed)
        mark = "ok  " if outcome.passed and not outcome.failed else "MISS"
        print(f"{mark} {name:<12} {promise.what:<74} {outcome.told} in {outcome.seconds:.0f} s")
        for test in outcome.failed:
            print(f"       {test}")
        sys.stdout.flush()
    return int(broken > 0)


def _outcome(promise: Promise, *, long: bool) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        marks = "not benchmark" if long else "not benchmark and not long"
        command += [
            "-o",
            "junit_family=xunit1",
            f"--junitxml={report}",
            "-m",
            marks,
            *promise.tests,
        ]
        if promise.matching:
            command += ["-k", promise.matching]
        started = time.monotonic()
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        outcome = Outcome(seconds=time.monotonic() - started)
        if not report.exists():
            outcome.failed.append(ended.stdout[-500:] + ended.stderr[-500:])
            return outcome
        for case in ET.parse(report).getroot().iter("testcase"):
            _add(outcome, case)
    return outcome


def _add(outcome: Outcome, case: ET.Element) -> None:
    if case.find("skipped") is not None:
        return
    if case.find("failure") is not None or case.find("error") is not None:
        outcome.failed.append(f"{case.get('classname')}.{case.get('name')}")
        return
    outcome.passed += 1
    for each in case.iter("property"):
        outcome.figures[each.get("name", "")] += int(each.get("value", "0"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
