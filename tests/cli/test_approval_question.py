"""The question about a call of a tool, on a real terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from tests.cli.shell import CALL

# The command with a chat that calls what the prompt names.
PROGRAM = """
import os, sys
from tchat.cli.main import program
from tchat.cli.console import Console
from tests.cli.shell import Shell
shell = Shell(dict(os.environ))
console = Console(sys.stdin.buffer, sys.stdout, sys.stderr, os.environ, shell._open)
sys.exit(program(sys.argv[1:], console))
"""
RUN = f'{CALL}run_command {{"command": ["touch", "made"]}}'
OTHER = f'{CALL}run_command {{"command": ["touch", "other"]}}'
QUESTION = "other words are told to the model"

Start = Callable[..., pexpect.spawn]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def start(home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts the command on a terminal, in the current folder of the test."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("TCHAT_TOOLS_ENABLED", "run_command")

    def start(*arguments: str, before: str = "") -> pexpect.spawn:
        (folder / "program.py").write_text(PROGRAM)
        command = [sys.executable, str(folder / "program.py"), *arguments]
        if before:
            command = ["/bin/sh", "-c", f'{before} | "$@"', "sh", *command]
        return pexpect.spawn(
            command[0],
            command[1:],
            cwd=folder,
            encoding="utf-8",
            timeout=60,
            dimensions=(40, 200),
        )

    return start


def ended(child: pexpect.spawn) -> int:
    child.expect(pexpect.EOF)
    child.close()
    return int(child.exitstatus if child.exitstatus is not None else -1)


def test_a_yes_runs_it(start: Start, folder: Path) -> None:
    child = start(RUN)
    child.expect("command: touch made")
    child.expect(QUESTION)
    child.sendline("y")
    child.expect("▸ run_command touch made")
    assert ended(child) == 0
    assert (folder / "made").exists()


@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_ctrl_c_and_ctrl_d_run_nothing(start: Start, folder: Path, key: str) -> None:
    child = start(RUN)
    child.expect(f"{QUESTION}.*> ")
    child.send(key)
    assert ended(child) == (130 if key == "\x03" else 0)
    assert not (folder / "made").exists()


def test_what_was_typed_before_the_question_is_no_answer(start: Start, folder: Path) -> None:
    child = start(RUN)
    child.sendline("y")  # while it starts
    child.expect(f"{QUESTION}.*> ")
    child.sendline("n")
    child.expect("⊘ run_command touch made · refused")
    assert ended(child) == 0
    assert not (folder / "made").exists()


def test_a_piped_prompt_can_be_asked_about_on_the_terminal(start: Start, folder: Path) -> None:
    child = start("-", before=f"printf '%s' '{RUN}'")
    child.expect(f"{QUESTION}.*> ")
    child.sendline("y")
    child.expect("▸ run_command touch made")
    assert ended(child) == 0
    assert (folder / "made").exists()


def test_what_the_user_refuses_in_a_piped_chat_is_no_failure(start: Start, folder: Path) -> None:
    child = start("--plain", before=f"printf '%s' '{RUN}'")
    child.expect(f"{QUESTION}.*> ")
    child.sendline("n")
    assert ended(child) == 0
    assert not (folder / "made").exists()


def test_a_pattern_holds_for_the_session_and_not_for_another(start: Start) -> None:
    child = start("--plain")
    child.expect("You:")
    child.sendline(RUN)
    child.expect(f"{QUESTION}.*> ")
    child.sendline("p")  # shown as it is typed, though the reply hides what is typed
    child.expect("p\r\n")
    child.expect("Tool: run_command touch made")
    for line in (RUN, "/tools calculator", RUN):
        child.expect("You:")
        child.sendline(line)
    child.expect("Tool: run_command touch made")
    child.expect("You:")
    child.sendline("/new")
    child.expect("You:")
    child.sendline(RUN)
    child.expect(f"{QUESTION}.*> ")
    child.send("\x03")
    child.expect("Stopped.")
    child.expect("You:")
    child.sendline("/quit")
    assert ended(child) == 0


def test_after_text_of_others_always_is_asked_about_again(start: Start) -> None:
    child = start("--plain")
    child.expect("You:")
    child.sendline(RUN)
    child.expect(f"{QUESTION}.*> ")
    child.sendline("a")
    child.expect("Tool: run_command touch made")
    child.expect("You:")
    child.sendline(OTHER)
    child.expect("The chat holds text of others, which may have led to this call.")
    child.expect(f"{QUESTION}.*> ")
    child.sendline("you made enough")
    child.expect("Tool: run_command touch other · refused")
    child.expect("You:")
    child.sendline("/quit")
    assert ended(child) == 0
