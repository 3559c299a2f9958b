"""The walk of a one-shot prompt: how much of the program it imports, and how much it enters.

What it imports and never enters costs start-up; what it enters is read by whoever follows a prompt.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MOST_ENTERED = 60  # modules of which a function is called
MOST_UNUSED = 7  # modules that are imported, and of which none is called
ONCE = {"tchat.engine.snapshots.restore_check"}  # for each model, as soon as there is time for it

TRACED = """
import sys, threading
entered = set()

def enter(frame, event, _):
    code = frame.f_code
    is_function = code.co_flags & 1 and not code.co_name.startswith("<")  # no body of a class
    if event == "call" and is_function and code.co_filename != "<string>":  # written in the module
        entered.add(frame.f_globals.get("__name__", ""))

sys.setprofile(enter)
threading.setprofile(enter)
from tchat.cli.main import program
code = program(sys.argv[1:])
sys.setprofile(None)
for name in sorted(sys.modules):
    if name.startswith("tchat"):
        print("entered" if name in entered else "unused", name, file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def walk(tiny_home: Path) -> dict[str, list[str]]:
    """The modules that a second one-shot enters, and those that it imports and does not."""
    for _ in range(2):  # the first one makes the database
        ran = subprocess.run(
            [sys.executable, "-c", TRACED, "Say hi"],
            env={**os.environ, "TCHAT_MAX_TOKENS": "40"},  # a tiny model says hi without an end
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
    found: dict[str, list[str]] = {"entered": [], "unused": []}
    for line in ran.stderr.splitlines():
        kind, _, name = line.partition(" ")
        if kind in found and name not in ONCE:
            found[kind].append(name)
    return found


def test_a_one_shot_enters_few_modules(walk: dict[str, list[str]]) -> None:
    assert "tchat.engine.generation" in walk["entered"]
    assert len(walk["entered"]) <= MOST_ENTERED, " ".join(walk["entered"])


def test_a_one_shot_imports_little_that_it_does_not_enter(walk: dict[str, list[str]]) -> None:
    unused = [name for name in walk["unused"] if not is_package(name)]
    assert len(unused) <= MOST_UNUSED, " ".join(unused)


def is_package(name: str) -> bool:
    return (Path(sys.modules["tchat"].__path__[0]).parent / name.replace(".", "/")).is_dir()
