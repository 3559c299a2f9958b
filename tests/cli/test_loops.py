"""What the command prints where replies repeat themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.shell import tchat

LOOPS = ("--logit-bias", "the=1000", "--max-tokens", "300")
TOLD = (
    "tchat: stopped: it began to repeat itself; --no-loop-guard lets it go on, "
    "--dry-multiplier 0.8 penalizes repetition\n"
)


@pytest.fixture(autouse=True)
def _home(tiny_home: Path) -> None:
    """A home with the tiny model."""


def test_it_is_told_on_standard_error() -> None:
    ran = tchat(*LOOPS, "Hello")
    assert (ran.code, ran.err) == (0, TOLD)
    assert ran.out.count("the") > 50
    whole = tchat(*LOOPS, "--no-loop-guard", "Hello")
    assert "stopped" not in whole.err
    assert whole.out.count("the") == 300


def test_what_is_not_streamed_ends_after_the_first_round() -> None:
    assert tchat(*LOOPS, "--no-stream", "Hello").out.count("the") < 5
    value = json.loads(tchat(*LOOPS, "--json", "Hello").out)
    assert value["finish_reason"] == "loop"
    assert value["reply"].count("the") < 5
    assert [each["kind"] for each in value["notices"]] == ["loop"]


def test_rows_and_candidates_are_counted() -> None:
    rows = tchat("map", *LOOPS, "Say {}", stdin=b"one\ntwo\n")
    records = [json.loads(line) for line in rows.out.splitlines()]
    assert [each["finish_reason"] for each in records] == ["loop", "loop"]
    assert "2 of 2 replies were stopped: they began to repeat themselves" in rows.err
    several = tchat(*LOOPS, "--candidates", "2", "Hello")
    assert "2 of 2 replies were stopped: they began to repeat themselves" in several.err


def test_the_chat_on_lines_names_its_commands() -> None:
    ran = tchat("--plain", *LOOPS, stdin=b"Hello\n/regen dry\n/regen wet\n")
    assert ran.err.count("stopped: it began to repeat itself; /continue goes on, /regen dry") >= 1
    assert "/regen takes `dry` or nothing" in ran.err
