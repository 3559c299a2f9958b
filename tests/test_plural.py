"""Counts are told with the right form of their noun."""

from __future__ import annotations

import pytest

from tchat.plural import counted


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 replies"), (1, "1 reply"), (2, "2 replies"), (1200, "1,200 replies")],
)
def test_a_count_with_its_noun(count: int, told: str) -> None:
    assert counted(count, "reply", "replies") == told


def test_a_verb_agrees_too() -> None:
    assert [counted(count, "byte is", "bytes are") for count in (1, 2)] == [
        "1 byte is",
        "2 bytes are",
    ]


def test_most_nouns_add_an_s() -> None:
    assert [counted(count, "token") for count in (0, 1, 2)] == ["0 tokens", "1 token", "2 tokens"]
