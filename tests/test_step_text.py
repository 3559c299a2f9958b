"""Calls of tools in words: short, on one line, with nothing hidden in them."""

from __future__ import annotations

from typing import Any

import pytest

from tchat.step_text import short_arguments, step_facts


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({}, ""),
        ({"path": "README.md"}, "README.md"),
        ({"command": ["git", "log", "--author=A B"]}, "git log '--author=A B'"),
        ({"pattern": "a b", "path": "src", "most": 3}, "a b path=src most=3"),
        ({"count": 3}, "count=3"),
        ({"values": [1, 2]}, "[1, 2]"),
        ({"path": "a\nb\x1b[31m"}, "a b␛[31m"),
        ({"path": "x\u202ey\u200bz"}, "x⟦U+202E⟧y⟦U+200B⟧z"),
        ({"content": "x" * 1000}, "x" * 39 + "…"),
    ],
)
def test_the_arguments_on_one_line(arguments: dict[str, Any], shown: str) -> None:
    assert short_arguments(arguments) == shown


@pytest.mark.parametrize(
    ("state", "content", "seconds", "told"),
    [
        ("done", "x" * 2100, 0.003, "2.1 kB · 3 ms"),
        ("done", "é", 1.24, "2 B · 1.2 s"),
        ("done", "", 0.0, "empty · 0 ms"),
        ("failed", "no such\nfile", 0.1, "failed · no such file"),
        ("refused", "The user refused this call.", 0.0, "refused"),
        ("stopped", "", 3.0, "stopped"),
        ("asking", "", 0.0, "asks"),
        ("running", "", 0.0, ""),
        ("running", "", 12.0, "12 s"),
    ],
)
def test_what_came_of_a_call(state: str, content: str, seconds: float, told: str) -> None:
    assert " · ".join(step_facts(state, content, seconds)) == told
