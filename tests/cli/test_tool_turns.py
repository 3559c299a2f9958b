"""Turns with tools through the real command and real models, which are made to call."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pexpect
import pytest

from tchat.cli.output.steps import step_line
from tchat.engine.events import StepState, ToolStep
from tchat.sessions.records import Role, ToolState
from tchat.sessions.store import SessionStore
from tests.cli.shell import Ran, tchat

MARK = """
import pathlib

description = "Leave a mark."
parameters = {"type": "object", "properties": {}, "additionalProperties": False}
effects = ["writes files"]


def call(arguments):
    pathlib.Path(PLACE).touch()
    return "It is there."
"""
LOOK = """
description = "Look around."
effects = ["reads files"]


def call(arguments):
    return "Nothing is there."
"""
FLAGS = ("-T", "mark", "--tool-choice", "mark", "--max-steps", "1", "--max-tokens", "60")


@pytest.fixture
def mark(tiny_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the tool ``mark`` makes, which takes no arguments and counts as writing."""
    place = tmp_path / "work" / "mark"
    place.parent.mkdir()
    (tiny_home / "tools").mkdir(mode=0o700)
    (tiny_home / "tools" / "mark.py").write_text(MARK.replace("PLACE", repr(str(place))))
    (tiny_home / "tools" / "look.py").write_text(LOOK)
    monkeypatch.chdir(place.parent)
    return place


def one_shot(*flags: str) -> Ran:
    return tchat(*FLAGS, *flags, "Leave a mark")


def test_a_refused_call_ends_with_7_and_is_stored(mark: Path, tiny_home: Path) -> None:
    ran = one_shot()
    assert ran.code == 7
    assert ran.err.startswith("⊘ mark · refused\n")
    assert not mark.exists()
    with SessionStore(tiny_home / "sessions.db") as store:
        [session] = store.sessions()
        question, reply, result, *_ = store.branch(session.id)
    assert (question.role, reply.role, result.role) == (Role.USER, Role.ASSISTANT, Role.TOOL)
    assert [call.name for call in reply.tool_calls] == ["mark"]
    assert result.tool_outcome is not None
    assert result.tool_outcome.state is ToolState.REFUSED


def test_a_call_that_a_rule_allows_runs_and_is_in_the_json(mark: Path) -> None:
    ran = one_shot("--allow", "mark", "--json")
    assert ran.code == 0
    assert mark.exists()
    [call, *_] = json.loads(ran.out)["tool_calls"]
    seconds = call.pop("seconds")
    assert seconds >= 0
    assert call == {"name": "mark", "arguments": {}, "state": "done", "result": "It is there."}


@pytest.mark.parametrize(("flags", "is_whole"), [((), True), (("-n",), False)])
def test_the_log_of_a_session_that_is_not_stored_has_no_arguments(
    mark: Path, flags: tuple[str, ...], is_whole: bool
) -> None:
    one_shot("--allow", "mark", *flags)
    first, *_ = json.loads(tchat("tools", "log", "--json").out)
    assert first["tool"] == "mark"
    assert ("arguments" in first, "result" in first) == (is_whole, is_whole)


@pytest.mark.parametrize(("answer", "is_made"), [("y", True), ("not here", False)])
def test_the_user_is_asked_on_a_terminal(mark: Path, answer: str, is_made: bool) -> None:
    command = [sys.executable, "-m", "tchat", *FLAGS, "Leave a mark"]
    child = pexpect.spawn(
        command[0], command[1:], encoding="utf-8", timeout=60, dimensions=(40, 120)
    )
    child.expect("The model wants to call mark:")
    child.expect("told to the model.*> ")
    assert not mark.exists()
    child.sendline(answer)
    child.expect("▸ mark" if is_made else "⊘ mark · refused")
    child.expect(pexpect.EOF)
    child.close()
    assert (child.exitstatus, mark.exists()) == (0, is_made)


def test_a_failed_call_tells_its_reason_before_its_arguments() -> None:
    said = "17 * 23 } }; 17 * 23 = 406. " * 3
    step = ToolStep(1, 0, "calculator", {"expression": said}, StepState.FAILED, "no arithmetic")
    line = step_line(step, spoken=False)
    assert line.startswith("✗ calculator · failed · no arithmetic · 17 * 23 }")


def test_rows_of_a_map_call_tools_that_only_read(mark: Path) -> None:
    ran = tchat("map", *FLAGS, "Leave a mark for {}", stdin=b"one\n")
    assert ran.code == 2
    assert "mark may do more than read, and nobody can be asked for each row" in ran.err
    flags = ("-T", "look", "--tool-choice", "look", "--max-steps", "1", "--max-tokens", "60")
    ran = tchat("map", *flags, "Look for {}", stdin=b"one\ntwo\n")
    assert ran.code == 0
    calls = [json.loads(line)["tool_calls"] for line in ran.out.splitlines()]
    assert [each[0]["result"] for each in calls] == ["Nothing is there."] * 2


def test_the_starter_computes_with_the_calculator(home: Path, starter_model: Path) -> None:
    flags = ("-T", "calculator", "--tool-choice", "calculator", "--max-steps", "1", "--temp", "0")
    short = ("--max-tokens", "40", "--json", "-m", str(starter_model))
    ran = tchat(*flags, *short, "What is 17 * 23?")
    assert ran.code == 0
    [call, *_] = json.loads(ran.out)["tool_calls"]
    assert (call["arguments"], call["result"]) == ({"expression": "17 * 23"}, "391")
