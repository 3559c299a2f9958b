"""Ctrl+Z, `fg` and `bg`: in a shell with job control, and where nobody could resume tchat."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence

import pytest

from tests.terminal import Terminal

TCHAT = (sys.executable, "-m", "tchat")
PROMPT = "Message · / commands"
ALTERNATE = 1049
CTRL_Z, CTRL_Q = "\x1a", "\x11"
REFUSED = "Not suspended"
STARTED = shlex.join(TCHAT)
IN_A_SCRIPT = f"sh -c {shlex.quote(f'{STARTED}; echo script ended')}"
SHELL = ("bash", "--norc", "--noprofile", "--noediting", "-i")

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """An interactive shell."""
    monkeypatch.setenv("PS1", "ready$ ")
    monkeypatch.setenv("PS0", "")
    with Terminal(SHELL) as terminal:
        terminal.until("ready$")
        yield terminal


def run(terminal: Terminal, command: str, shown: str) -> None:
    """Let the shell run a command, and wait for what it prints."""
    terminal.send(f"{command}\r")
    terminal.until_bytes(shown.encode())


def start(terminal: Terminal, command: str = STARTED) -> None:
    terminal.send(f"{command}\r")
    terminal.until(lambda: ALTERNATE in terminal.modes and PROMPT in terminal.text)


def suspend(terminal: Terminal) -> None:
    terminal.send(CTRL_Z)
    terminal.until_bytes(b"Stopped")
    assert ALTERNATE not in terminal.modes


def resume(terminal: Terminal) -> None:
    """Put tchat into the foreground, and wait until its whole picture was drawn anew."""
    while terminal.read(0.1):
        pass
    before = len(terminal.written)
    terminal.send("fg\r")
    terminal.until(
        lambda: (
            ALTERNATE in terminal.modes
            and terminal.written.rfind(b"\x1b[?1049h") >= before
            and is_whole(terminal)
        )
    )


def is_whole(terminal: Terminal) -> bool:
    """Whether the frame of the prompt, with what is in it, and the status line are there."""
    lines = terminal.lines
    framed = any(line.startswith("╭") for line in lines) and lines[-2].startswith("╰")
    return framed and "help" in lines[-1]


def leave(terminal: Terminal) -> None:
    """Quit tchat; the shell is there with the terminal as it was."""
    terminal.send(CTRL_Q)
    terminal.until_bytes(b"ready$")
    assert terminal.modes == {7, 25}
    assert terminal.keyboards == 0


@pytest.mark.parametrize("command", [STARTED, IN_A_SCRIPT], ids=["itself", "in a script"])
def test_it_is_suspended_to_the_shell_and_resumed(shell: Terminal, command: str) -> None:
    start(shell, command)
    shell.send("a draft")
    shell.until("│ a draft ")
    suspend(shell)
    run(shell, "echo $((40+2))", "42")
    assert shell.modes == {7, 25}
    assert shell.keyboards == 0
    resume(shell)
    assert any("│ a draft " in line for line in shell.lines)
    assert "42" not in shell.text
    shell.send(" goes on")
    shell.until("│ a draft goes on ")
    suspend(shell)
    resume(shell)
    shell.send("!")
    shell.until("│ a draft goes on! ")
    leave(shell)


@pytest.mark.parametrize("size", [(60, 20), (120, 40)])
def test_it_is_resumed_in_a_terminal_of_another_size(
    shell: Terminal, size: tuple[int, int]
) -> None:
    start(shell)
    suspend(shell)
    shell.resize(size)
    resume(shell)
    columns, rows = size
    shell.until(lambda: len(shell.lines[rows - 2]) == columns and is_whole(shell))
    shell.send("still here")
    shell.until("│ still here ")
    leave(shell)


def test_it_waits_in_the_background_until_it_is_in_the_foreground(shell: Terminal) -> None:
    start(shell)
    shell.send("a draft")
    shell.until("│ a draft ")
    suspend(shell)
    run(shell, "bg", "[1]+")
    for _ in range(2):
        run(shell, "until jobs -s | grep -q tchat; do sleep 0.1; done; echo $((50+1))", "51")
        run(shell, "clear; bg; echo $((50+2))", "52")
    assert ALTERNATE not in shell.modes
    resume(shell)
    shell.send("!")
    shell.until("│ a draft! ")
    leave(shell)


def test_it_is_started_in_the_background_and_then_resumed(shell: Terminal) -> None:
    run(shell, f"{STARTED} &", "[1]")
    run(shell, "until jobs -s | grep -q tchat; do sleep 0.1; done; echo $((50+3))", "53")
    resume(shell)
    shell.send("a draft")
    shell.until("│ a draft ")
    suspend(shell)
    resume(shell)
    leave(shell)


@pytest.mark.parametrize(
    "command",
    [
        TCHAT,  # as a terminal emulator starts it
        ("sh", "-c", f"{STARTED}; echo ended"),  # a shell without job control
        ("bash", "--norc", "--noprofile", "-i", "-c", f"set +m; {STARTED}; echo ended"),
        ("bash", "--norc", "--noprofile", "-i", "-c", f"exec {STARTED}"),
    ],
    ids=["a terminal", "a script", "a shell without job control", "exec"],
)
def test_it_is_not_suspended_where_nobody_could_resume_it(command: Sequence[str]) -> None:
    with Terminal(command) as terminal:
        terminal.until(PROMPT)
        terminal.send(f"one{CTRL_Z}")
        terminal.until(REFUSED)
        assert ALTERNATE in terminal.modes
        terminal.send(" two")
        terminal.until("│ one two ")
        terminal.send(CTRL_Q)
        assert terminal.ended() == 0
