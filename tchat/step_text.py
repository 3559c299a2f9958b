"""A call of a tool and what came of it in words, for both front ends."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tchat.humanize import measured_text, size_text
from tchat.sanitize import revealed
from tchat.translation import tr

SHORT = 60  # characters of all arguments on one line
VALUE = 40  # characters of one argument on one line
REASON = 80  # characters of why a call failed

_EXIT_CODE = re.compile(
    r"\[Exit code ([1-9]\d{0,9})\.\]\Z"
)  # what tools that run programs end with
MARKS = {
    "writing": "●",
    "asking": "?",
    "running": "●",
    "failed": "✗",
    "refused": "⊘",
    "stopped": "■",
}
"""What stands before a call by its state; one that is done needs none."""

REASON_FIRST = frozenset({"failed"})
"""The states of which the facts stand before the arguments, which may be long."""


def short_arguments(arguments: Mapping[str, Any]) -> str:
    """The arguments on one line: the first text as it is, the others with their names."""
    parts: list[str] = []
    for name, value in arguments.items():
        shown = one_line(argument_text(value), VALUE)
        bare = not parts and isinstance(value, str | list)
        parts.append(shown if bare else f"{one_line(name, VALUE)}={shown}")
    return one_line(" ".join(parts), SHORT)


def argument_text(value: object) -> str:
    """An argument for people: a text as it is, a list of words as a command line, else JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        import shlex

        return shlex.join(value)
    import json

    return json.dumps(value, ensure_ascii=False, default=str)


def step_facts(state: str, content: str, seconds: float) -> Iterator[str]:
    """What to tell of a call beside its arguments: ``2.1 kB``, ``3 ms``; or why it failed."""
    if state == "asking":
        yield tr("asks")
    elif state in ("writing", "running"):
        if seconds >= 1:
            yield measured_text(seconds)
    elif state == "stopped":
        yield tr("stopped")
    elif state == "refused":
        yield tr("refused")
    elif state == "failed":
        yield tr("failed")
        if reason := one_line(content, REASON):
            yield reason
    else:
        yield size_text(len(content.encode(errors="replace"))) or tr("empty")
        yield time_text(seconds)
        if ended := _EXIT_CODE.search(content):
            yield tr("exit code {code}", code=ended[1])


def time_text(seconds: float) -> str:
    """How long a call took: ``3 ms``, ``1.2 s``."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else measured_text(seconds)


def one_line(text: str, limit: int) -> str:
    """``text`` on one line of at most ``limit`` characters, in which nothing is hidden."""
    line = " ".join(revealed(text[: 8 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
