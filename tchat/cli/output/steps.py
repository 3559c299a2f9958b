"""The calls of tools of a turn: a line each for people, a record each for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tchat.engine.events import StepState, ToolStep
from tchat.step_text import MARKS, REASON_FIRST, one_line, short_arguments, step_facts
from tchat.translation import tr

MARK = "▸"
NAME = 64  # characters
ENDED = frozenset({StepState.DONE, StepState.FAILED, StepState.REFUSED, StepState.STOPPED})


def call_text(name: str, arguments: Mapping[str, Any]) -> str:
    """A call on one line: its tool, and its arguments in short."""
    return f"{one_line(name, NAME)} {short_arguments(arguments)}".rstrip()


def step_line(step: ToolStep, *, spoken: bool) -> str:
    """A call and what came of it on one line; without a mark where it is ``spoken``."""
    parts = [*step_facts(step.state.value, step.content, step.seconds)]
    if step.state.value in REASON_FIRST:
        parts = [one_line(step.name, NAME), *parts, short_arguments(step.arguments)]
    else:
        parts.insert(0, call_text(step.name, step.arguments))
    text = " · ".join(filter(None, parts))
    if spoken:
        return tr("Tool: {text}", text=text)
    return f"{MARKS.get(step.state.value, MARK)} {text}"


def step_record(step: ToolStep) -> dict[str, Any]:
    """A call and its result, for JSON."""
    return {
        "name": step.name,
        "arguments": dict(step.arguments),
        "state": step.state.value,
        "result": step.content,
        "seconds": round(step.seconds, 3),
    }
