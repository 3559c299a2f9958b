"""What a terminal sends, however it is cut: the same keys and pastes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events

from tchat.tui.keymap import ALL_BINDINGS
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
    "\x1b/\x1b<\x1b>x": ["alt+slash", "alt+less_than_sign", "alt+greater_than_sign", "x"],
    "\x1b\x7f\x1b\r\x1bd": ["alt+backspace", "alt+enter", "alt+d"],
    "\x1b[45:95;6u\x1b[122;6ux": ["ctrl+shift+minus", "ctrl+shift+z", "x"],
    "\x1b[27;2;13~\x1b[27;5;47~x": ["shift+enter", "ctrl+slash", "x"],
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


# Each key that is bound by default, as xterm, tmux and a plain VT send it, and Kitty's protocol.
SENT = [
    (["\x12", "\x1b[114;5u", "\x1b[27;5;114~"], "chat.history"),
    (["\x0f", "\x1b[111;5u"], "chat.sessions"),
    (["\x1bx", "\x1b[120;3u", "\x1b[27;3;120~"], "chat.palette"),
    (["\x1bn", "\x1b[110;3u"], "chat.new-session"),
    (["\x1bk", "\x1b[107;3u"], "chat.branches"),
    (["\x18", "\x1b[120;5u"], "chat.leader"),
    (["\x1a", "\x1b[122;5u"], "chat.suspend"),
    (["\x11", "\x1b[113;5u"], "chat.quit"),
    (["\x1bOP", "\x1b[11~", "\x1b[[A", "\x1b[P"], "chat.help"),
    (["\x1bOS", "\x1b[14~", "\x1b[[D", "\x1b[S"], "chat.theme"),
    (["\x10", "\x1b[112;5u", "\x1b[A", "\x1bOA"], "prompt.up"),
    (["\x0e", "\x1b[110;5u", "\x1b[B", "\x1bOB"], "prompt.down"),
    (["\n", "\x1b\r", "\x1b[13;3u", "\x1b[13;2u", "\x1b[27;2;13~"], "prompt.newline"),
    (["\x1f", "\x1b[47;5u", "\x1b[45;6u", "\x1b[95;5u", "\x1b[45:95;6u"], "prompt.undo"),
    (["\x1b/", "\x1b[47;3u", "\x1b[122;6u", "\x1b[27;6;122~"], "prompt.redo"),
    (["\x04", "\x1b[100;5u"], "prompt.delete"),
    (["?", "\x1b[47;2;63u"], "prompt.help"),
    (["\x17", "\x1b[119;5u"], "prompt.kill-word-left"),
    (["\x1b\x7f", "\x1b\x08", "\x1b[127;3u"], "prompt.kill-word-part-left"),
    (["\x1bd", "\x1b[100;3u", "\x1b[3;3~"], "prompt.kill-word-right"),
    (["\x15", "\x1b[117;5u"], "prompt.kill-to-start"),
    (["\x0b", "\x1b[107;5u"], "prompt.kill-to-end"),
    (["\x19", "\x1b[121;5u"], "prompt.yank"),
    (["\x1by", "\x1b[121;3u"], "prompt.yank-older"),
    (["\x14", "\x1b[116;5u"], "prompt.transpose"),
    (["\x1bb", "\x1b[98;3u", "\x1b[1;3D", "\x1b[1;5D"], "prompt.word-left"),
    (["\x1bf", "\x1b[102;3u", "\x1b[1;3C", "\x1b[1;5C"], "prompt.word-right"),
]


@pytest.mark.parametrize(("sequences", "action"), SENT)
def test_what_terminals_send_for_a_key_is_bound(sequences: list[str], action: str) -> None:
    keys = next(each.keys for each in ALL_BINDINGS if each.id == action).split(",")
    for sequence in sequences:
        [key] = told([sequence])
        assert key in keys, sequence


@pytest.mark.parametrize(("text", "expected"), INPUTS.items())
def test_one_character_at_a_time(text: str, expected: list[str | tuple[str]]) -> None:
    assert told(text) == expected


@given(st.text("\x1b[201~ab\n", max_size=40), st.integers(1, 7))
def test_a_paste_is_what_stands_between_the_marks(body: str, size: int) -> None:
    text = f"{START}{body}{END}"
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert told(pieces)[0] == (f"{body}{END}".partition(END)[0],)
