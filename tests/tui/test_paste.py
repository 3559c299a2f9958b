"""What a terminal sends, however it is cut: the same keys and pastes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events

from tchat.tui.terminal_driver import PasteParser

START, END = "\x1b[200~", "\x1b[201~"

# Marks next to each other, pieces of marks inside a paste, and keys that begin like a mark.
INPUTS = {
    f"a{START}two\nlines{END}b": ["a", ("two\nlines",), "b"],
    f"{START}x{END}{START}y{END}": [("x",), ("y",)],
    f"{START}\x1b[201\x1b[20~ \x1b[ \x1b{END}c": [("\x1b[201\x1b[20~ \x1b[ \x1b",), "c"],
    f"{START}nul \0 in it{END}": [("nul  in it",)],
    f"\x1b[20~\x1b[A{START}é😀{END}\x1b[B": ["f9", "up", ("é😀",), "down"],
    f"{START}a {START} inside{END}z": [(f"a {START} inside",), "z"],
    f"{START}{END}": [("",)],
    "\x1br\x1br": ["alt+r", "alt+r"],
    "\x1bra\x1bR\x1b[A": ["alt+r", "a", "alt+shift+r", "up"],
    "\x1bO\x1bP\x1bOPx": ["alt+shift+o", "alt+shift+p", "f1", "x"],
    f"\x1bé\x1bg{START}x{END}": ["alt+é", "alt+g", ("x",)],
}


def told(pieces: Iterable[str]) -> list[str | tuple[str]]:
    """Each key by its name, each paste as a tuple of its text."""
    parser = PasteParser()
    found: list[str | tuple[str]] = []
    for piece in pieces:
        for event in parser.feed(piece):
            if isinstance(event, events.Paste):
                found.append((event.text,))
            else:
                assert isinstance(event, events.Key)
                found.append(event.key)
    return found


@pytest.mark.parametrize(("text", "expected"), INPUTS.items())
def test_any_two_cuts_change_nothing(text: str, expected: list[str | tuple[str]]) -> None:
    for first, second in itertools.combinations(range(len(text) + 1), 2):
        cut = [text[:first], text[first:second], text[second:]]
        assert told(filter(None, cut)) == expected, cut


@pytest.mark.parametrize(("text", "expected"), INPUTS.items())
def test_one_character_at_a_time(text: str, expected: list[str | tuple[str]]) -> None:
    assert told(text) == expected


@given(st.text("\x1b[201~ab\n", max_size=40), st.integers(1, 7))
def test_a_paste_is_what_stands_between_the_marks(body: str, size: int) -> None:
    text = f"{START}{body}{END}"
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert told(pieces)[0] == (f"{body}{END}".partition(END)[0],)
