"""The output of a shell command as text for a prompt: bounded, stoppable, safe to print."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import pytest

from tchat.chat import shell_output
from tchat.chat.commands import CommandCall, Surface, commands_for, parse_input
from tchat.chat.shell_output import End, run_bounded
from tchat.errors import UsageError

ENVIRON = {"SHELL": "/bin/sh"}


def run(command: str, stop: threading.Event | None = None) -> shell_output.ShellOutput:
    return run_bounded(command, stop or threading.Event(), ENVIRON)


def test_the_output_is_fenced_below_the_command() -> None:
    output = run("printf 'a\\n'; echo '```' >&2")
    assert str(output) == "Output of `printf 'a\\n'; echo '```' >&2`:\n````\na\n```\n````"
    assert (output.code, output.notice) == (0, "")


def test_an_exit_code_is_told_to_the_model_and_the_user() -> None:
    output = run("echo no; exit 3")
    assert str(output).startswith("Output of `echo no; exit 3` (exit code 3):\n")
    assert output.notice == "the command ended with exit code 3"
    assert run("kill -TERM $$").code == 143


def test_what_acts_on_a_terminal_is_made_safe() -> None:
    assert run(r"printf '\033[31mred\033[0m \033]0;x\007 \202'").text == "red ␛]0;x␇ \ufffd"


def test_the_command_has_no_input_and_no_terminal() -> None:
    assert run("cat; test -t 1 || echo none").text == "none\n"


def test_it_can_be_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    stop = threading.Event()
    mark = f"31{id(stop) % 10_000_000}"
    ended: list[shell_output.ShellOutput] = []
    command = f"echo begun; sleep {mark} & touch {tmp_path}/on; wait"
    thread = threading.Thread(target=lambda: ended.append(run(command, stop)))
    thread.start()
    while not (tmp_path / "on").exists():
        time.sleep(0.01)
    stop.set()
    thread.join(30)
    assert (ended[0].end, ended[0].text) == (End.STOPPED, "begun\n")
    assert "(stopped by the user)" in str(ended[0])
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert f"sleep {mark}" not in listed.stdout


def test_it_is_stopped_when_it_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_output, "MAX_SECONDS", 0.3)
    for command in ("echo on; sleep 60", "echo on; exec >&- 2>&-; sleep 60"):
        output = run(command)
        assert (output.end, output.text) == (End.TIME, "on\n")


def test_it_is_stopped_when_it_writes_too_much() -> None:
    output = run("yes")
    assert (output.end, len(output.text)) == (End.SIZE, shell_output.MAX_BYTES)
    assert output.notice == "the command was stopped: its output is cut off after 256 kB"


def test_what_it_leaves_in_the_background_is_not_waited_for() -> None:
    assert run("sleep 30 & echo done").end is End.EXIT


def test_a_shell_that_is_not_there_is_told() -> None:
    with pytest.raises(UsageError, match="cannot start the shell /no/sh"):
        run_bounded("ls", threading.Event(), {"SHELL": "/no/sh"})


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("!ls -l", "ls -l"),
        ("! ls", "ls"),
        ("!ls\n", "ls"),
        ("/shell ls", "ls"),
    ],
)
def test_a_command_is_typed_behind_an_exclamation_mark(typed: str, meant: str) -> None:
    for surface in (Surface.LINES, Surface.SCREEN):
        call = parse_input(typed, commands_for(surface))
        assert isinstance(call, CommandCall)
        assert (call.command.name, call.argument) == ("shell", meant)


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("!!important", "!important"),
        ("!", "!"),
        ("!ls\nof this", "!ls\nof this"),
        ("hi !ls", "hi !ls"),
    ],
)
def test_other_texts_with_exclamation_marks_are_prompts(typed: str, sent: str) -> None:
    assert parse_input(typed, commands_for(Surface.SCREEN)) == sent
