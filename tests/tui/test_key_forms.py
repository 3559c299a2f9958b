"""Keys and pastes in the forms of several terminals, through a real pty, into the prompt."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.terminal import Terminal

PROMPT = "Message · / commands"
CTRL_Q = "\x11"
START, END = "\x1b[200~", "\x1b[201~"

ESCAPE = "\x1b[27u"  # of Kitty's protocol

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def chat() -> Iterator[Terminal]:
    with Terminal((sys.executable, "-m", "tchat")) as terminal:
        terminal.until(PROMPT)
        yield terminal
        terminal.send(CTRL_Q)
        assert terminal.ended() == 0


def prompt(terminal: Terminal) -> list[str]:
    """The lines in the frame of the prompt."""
    lines = terminal.lines
    tops = [place for place, line in enumerate(lines) if line.startswith("╭")]
    rows = lines[tops[-1] + 1 :] if tops else []
    return [row[1:-1].strip() for row in rows if row.startswith("│")]


def shows(terminal: Terminal, *lines: str) -> None:
    """Wait until the prompt shows these lines."""
    terminal.until(lambda: prompt(terminal) == [*lines])


def clear(terminal: Terminal) -> None:
    """Empty the prompt."""
    terminal.send("\x03")
    terminal.until(PROMPT)


def test_a_new_line_in_the_forms_of_terminals(chat: Terminal) -> None:
    for form in (
        "\n",  # Ctrl+J
        "\x1b\r",  # Alt+Enter, in tmux too
        "\x1b[106;5u",  # Ctrl+J of Kitty's protocol
        "\x1b[13;2u",  # Shift+Enter of Kitty's protocol, and of tmux with csi-u keys
        "\x1b[13;3u",  # Alt+Enter of Kitty's protocol
        "\x1b[27;2;13~",  # Shift+Enter of xterm's modifyOtherKeys, and of tmux without that option
        "\x1b[27;3;13~",
    ):
        chat.send(f"one{form}two")
        shows(chat, "one", "two")
        clear(chat)


def test_ctrl_enter_types_nothing_and_sends_nothing(chat: Terminal) -> None:
    chat.send("one\x1b[13;5u\x1b[27;5;13~two")
    shows(chat, "onetwo")


def test_text_typed_with_kittys_protocol(chat: Terminal) -> None:
    chat.send("\x1b[97;;97u\x1b[97;2;65u\x1b[32;;32u\x1b[233;;233u\x1b[13;2u\x1b[49:33;2;33u")
    shows(chat, "aA é", "!")
    chat.send("\x1b[127u\x1b[127u\x1b[127u")  # Backspace
    shows(chat, "aA")
    chat.send("\x1b[98;;98u\x1b[98;3u\x1b[99;;99u")  # Alt+B goes a word back
    shows(chat, "aA cb")


def test_text_of_an_input_method_with_kittys_protocol(chat: Terminal) -> None:
    chat.send("\x1b[0;;20320:22909u!")
    shows(chat, "你好!")


@pytest.mark.parametrize("escape", ["\x1b", ESCAPE], ids=["plain", "kitty"])
def test_escape_alone_and_then_a_key(chat: Terminal, escape: str) -> None:
    chat.send("/he")
    chat.until("List the commands")  # the completions
    chat.send(escape)
    chat.until(lambda: "List the commands" not in chat.text)
    chat.send("lp")
    shows(chat, "/help")
    chat.send(f"{escape}\x1b[D\x1b[Dx")  # and a key that begins with an escape at once
    shows(chat, "/hexlp")


def test_escape_and_a_letter_at_once_are_alt_and_the_letter(chat: Terminal) -> None:
    chat.send("one two\x1bb\x1bbx\x1bfy")
    shows(chat, "xoney two")


def test_a_paste_with_control_characters_is_only_text(chat: Terminal) -> None:
    chat.send(f"{START}one\r\x03\x1a\x11\x1b[2J\x1b]0;t\x07\ttwo\x7f\x9b\r\nthree\x00{END}!")
    chat.until(lambda: prompt(chat)[-1:] == ["three!"])
    first, second, third = prompt(chat)
    assert first == "one"
    assert second.startswith("␃␚␑␛[2J␛]0;t␇")
    assert third == "three!"
    assert b"\x1b]0;t\x07" not in chat.written


def test_a_paste_comes_in_pieces(chat: Terminal) -> None:
    whole = f"a{START}b\x1b[20\r1~\x1b[Ac{END}d"
    for piece in whole:
        chat.send(piece)
        chat.read(0.02)
    shows(chat, "ab␛[20", "1~␛[Acd")


def test_late_answers_to_another_program_type_nothing(chat: Terminal) -> None:
    for answer in (
        "\x1b[?62;22c",  # the kind of the terminal
        "\x1b[>41;354;0c",
        "\x1b[?997;1n",  # dark or light
        "\x1b[?1u",  # Kitty's protocol
        "\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\",  # the background
        "\x1b]10;rgb:cdcd/d6d6/f4f4\x07",
        "\x1bP>|tmux 3.4\x1b\\",  # name and version
        "\x1bP1+r544e=787465726d\x1b\\",
        "\x1b_Gi=31;OK\x1b\\",  # graphics
    ):
        chat.send(f"a{answer}b")
    shows(chat, "ab" * 9)


def test_reports_of_the_focus_and_the_mouse_type_nothing(chat: Terminal) -> None:
    chat.send("a\x1b[O\x1b[I\x1b[<35;10;5M\x1b[<64;10;5M\x1b[?2026;2$yb")
    shows(chat, "ab")
