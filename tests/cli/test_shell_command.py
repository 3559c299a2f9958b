"""``tchat --cmd``: what is proposed, what is asked, and that only what was shown is run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pexpect
import pytest

from tchat.cli.shell_command import proposed_command, run_command
from tests.cli.shell import Shell

ASK = "Run it? y runs it, e edits it, Enter or n leaves it:"


@pytest.fixture
def proposing(shell: Shell) -> Shell:
    """A shell whose model proposes what the prompt holds behind a colon."""
    shell.answer = lambda prompt: prompt.partition("\n")[0].partition(": ")[2]
    shell.environ["SHELL"] = "/bin/sh"
    return shell


@pytest.mark.parametrize(
    ("reply", "command"),
    [
        ("ls -la", "ls -la"),
        ("```sh\nls -la\n```", "ls -la"),
        ("```sh\nls -la", "ls -la"),
        ("Use this:\n\n```bash\n# sizes\n$ du -sh *\n```\nIt prints them.", "du -sh *"),
        ("`ls`", "ls"),
        ("echo `date` `id`", "echo `date` `id`"),
        ("\n\nls\nExplained.", "ls"),
        ("find . \\\n  -name x\nrest", "find . \\\n  -name x"),
        ('echo "a  b"', 'echo "a  b"'),
        ("# nothing but a comment", "nothing but a comment"),
        ("ls \x1b[2K\u202e\u200b", "ls ␛[2K⟦U+202E⟧"),
        ("ls\u2028rm -r x", "ls"),
        ("ls\rrm -r x", "ls"),
        ("", ""),
        ("```sh\n```", ""),
    ],
)
def test_a_command_is_found_in_a_reply(reply: str, command: str) -> None:
    assert proposed_command(reply) == command


def test_without_a_terminal_the_command_is_printed(proposing: Shell, tmp_path: Path) -> None:
    ran = proposing("--cmd", f"make it: touch {tmp_path}/made", stdin=b"")
    assert (ran.code, ran.out) == (0, f"touch {tmp_path}/made\n")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("typed", [b"y\n", b"Yes\n", b"what?\ny\n"])
def test_it_runs_after_a_yes_and_gives_its_exit_code(
    proposing: Shell, tmp_path: Path, typed: bytes
) -> None:
    ran = proposing("--cmd", f"make it: touch {tmp_path}/made; exit 7", stdin=typed, terminal=True)
    assert (ran.code, ran.out) == (7, "")
    assert f"\n  touch {tmp_path}/made; exit 7\n" in ran.err
    assert ASK in ran.err
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("typed", [b"\n", b"n\n", b"no\n", b"q\n", b"", b"what?\n"])
def test_it_does_not_run_after_a_no(proposing: Shell, tmp_path: Path, typed: bytes) -> None:
    ran = proposing("--cmd", f"make it: touch {tmp_path}/made", stdin=typed, terminal=True)
    assert (ran.code, ran.out) == (0, "")
    assert not (tmp_path / "made").exists()


def test_it_can_be_edited_and_is_shown_again(proposing: Shell, tmp_path: Path) -> None:
    typed = f"e\ntouch {tmp_path}/other\ny\n".encode()
    ran = proposing("--cmd", f"make it: touch {tmp_path}/made", stdin=typed, terminal=True)
    assert ran.code == 0
    assert ran.err.index("/made") < ran.err.index("/other")
    assert sorted(path.name for path in tmp_path.glob("*er")) == ["other"]
    assert not (tmp_path / "made").exists()


def test_what_runs_is_what_was_shown(proposing: Shell, capfd: pytest.CaptureFixture[str]) -> None:
    ran = proposing("--cmd", "say: echo a\x1b[8m\u202e  b", stdin=b"y\n", terminal=True)
    assert "\x1b" not in ran.err
    assert "\n  echo a␛[8m⟦U+202E⟧  b\n" in ran.err
    assert capfd.readouterr().out == "a␛[8m⟦U+202E⟧ b\n"


def test_no_command_is_an_error(proposing: Shell) -> None:
    ran = proposing("--cmd", "nothing", stdin=b"")
    assert (ran.code, ran.out) == (1, "")
    assert "the model proposed no command" in ran.err


def test_a_prompt_and_the_shell_are_told_to_the_model(shell: Shell) -> None:
    prompts: list[str] = []
    shell.answer = lambda prompt: prompts.append(prompt) or "ls"  # type: ignore[func-returns-value]
    shell.environ["SHELL"] = "/usr/bin/fish"
    assert shell("--cmd", "list files", stdin=b"a log").out == "ls\n"
    assert prompts[0].startswith("a log\n\nlist files\n\nReply with one command for fish on ")


@pytest.mark.parametrize(
    "flag", ["--json", "-x", "--yes-no", "--choose=a,b", "--schema={}", "-N3", "--best-of=2"]
)
def test_forms_of_a_reply_cannot_be_combined_with_it(shell: Shell, flag: str) -> None:
    ran = shell("--cmd", flag, "hi", stdin=b"")
    assert (ran.code, ran.out) == (2, "")
    assert "--cmd and " in ran.err


def test_a_signal_that_ends_the_command_is_its_exit_code() -> None:
    assert run_command("kill -TERM $$", "/bin/sh") == 143


SCRIPT = """
import sys
from tests.cli.shell import Shell
from dataclasses import replace
from tchat.cli.console import process_console
from tchat.cli.main import program
shell = Shell({})
shell.answer = lambda prompt: "echo first-$((1+1))"
console = replace(process_console(), open_chat=shell._open)
sys.exit(program(["-n", "--cmd", "say"], console))
"""


def test_the_command_is_there_to_edit_on_a_terminal(home: Path) -> None:
    child = pexpect.spawn(
        sys.executable,
        ["-c", SCRIPT],
        env={**os.environ, "TCHAT_HOME": str(home), "TERM": "xterm", "SHELL": "/bin/sh"},
        encoding="utf-8",
        timeout=60,
    )
    try:
        child.expect_exact(ASK)
        child.sendline("e")
        child.expect_exact("echo first-$((1+1))")
        child.sendline("; echo more")
        child.expect_exact(ASK)
        child.sendline("y")
        child.expect_exact("first-2")
        child.expect_exact("more")
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 0
    finally:
        child.close(force=True)


def test_what_was_typed_before_the_question_is_no_answer(home: Path) -> None:
    slow = SCRIPT.replace(
        "lambda prompt: ", "lambda prompt: print('busy', flush=True) or input() and "
    )
    child = pexpect.spawn(
        sys.executable,
        ["-c", slow],
        env={**os.environ, "TCHAT_HOME": str(home), "TERM": "xterm", "SHELL": "/bin/sh"},
        encoding="utf-8",
        timeout=60,
    )
    try:
        child.expect_exact("busy")
        child.send("go\ny\ny\n")  # in one piece: the program reads its first line
        child.expect_exact(ASK)
        assert child.expect_exact(["first-2", pexpect.TIMEOUT], timeout=1) == 1
        child.sendline("n")
        child.expect(pexpect.EOF)
        assert "first-2" not in child.before
    finally:
        child.close(force=True)


def test_a_command_that_was_cut_off_is_not_proposed(tiny_home: Path) -> None:
    from tests.cli.shell import tchat

    ran = tchat("-n", "--cmd", "--max-tokens", "2", "hi")
    assert (ran.code, ran.out) == (1, "")
    assert "cut off" in ran.err


LINES = """
import sys
from dataclasses import replace
from tchat.cli.console import process_console
from tchat.cli.main import program
from tests.cli.shell import Shell
console = replace(process_console(), open_chat=Shell({})._open)
sys.exit(program(["-n", "--plain"], console))
"""


def test_the_line_chat_sends_the_output_of_a_command(home: Path) -> None:
    child = pexpect.spawn(
        sys.executable,
        ["-c", LINES],
        env={**os.environ, "TCHAT_HOME": str(home), "TERM": "dumb", "SHELL": "/bin/sh"},
        encoding="utf-8",
        timeout=60,
    )
    try:
        child.expect_exact("You:")
        child.sendline("!echo first-$((1+1))")
        child.expect_exact("Run this command?")
        child.sendline("y")
        child.expect_exact("first-2")
        child.expect_exact("goes with your next message")
        child.sendline("what is it?")
        child.expect_exact("Output of `echo first-$((1+1))`:")
        child.expect_exact("first-2")
        child.expect_exact("what is it?")
        child.sendline("!touch never")
        child.expect_exact("Run this command?")
        child.sendline("")
        child.expect_exact("You:")
        child.sendeof()
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)
    assert not Path("never").exists()


def test_the_line_chat_runs_no_command_of_a_script(shell: Shell) -> None:
    ran = shell("--plain", stdin=b"!touch never\n!!never\n")
    assert (ran.code, ran.out) == (0, "!never\n")
    assert "a shell command needs a terminal" in ran.err
