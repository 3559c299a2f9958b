"""Programs that tools start: real ones, with and without a sandbox where the machine has one."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tchat.tools.program_environment import program_environment, safe_path
from tchat.tools.python_code import python_tool
from tchat.tools.run_command import run_command_tool
from tchat.tools.sandbox import Sandbox, find_sandbox
from tchat.tools.tool import ToolError
from tests.tools.workplace import MARK, Workplace

SHELL_TEXTS = (
    "$(touch made)",
    "`touch made`",
    "; touch made",
    "&& touch made",
    "| touch made",
    "> made",
    "\ntouch made",
    "'; touch made; '",
    '"; touch made; "',
    "$HOME",
    "*",
    "~",
    "{a,b}",
    "!!",
    "\\",
    "--",
    "%s%n",
    "é\u202e\x1b[31m",
)


@pytest.mark.parametrize("text", SHELL_TEXTS)
def test_there_is_no_shell(place: Workplace, text: str) -> None:
    result = place.run("run_command", command=["printf", "%s", text])
    assert result.content == text
    assert not (place.root / "made").exists()


@pytest.mark.parametrize(
    "command",
    [["no-such-program"], ["./notes.txt"], ["../outside/x"], ["docs"], [""], ["/root-x/y"], [" "]],
)
def test_what_is_no_program_is_refused(place: Workplace, command: list[str]) -> None:
    assert place.run("run_command", command=command).failed


@pytest.mark.parametrize("command", [[], "ls", [1], ["a\0b"], [["ls"]], ["x"] * 300])
def test_what_is_no_argument_list_is_refused(place: Workplace, command: object) -> None:
    assert "do not fit" in place.run("run_command", command=command).content


def test_a_program_planted_below_the_root_is_not_found_in_path(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = place.root / "git"
    planted.write_text("#!/bin/sh\necho planted\n")
    planted.chmod(0o755)
    usual = os.environ["PATH"]
    monkeypatch.chdir(place.root)
    monkeypatch.setenv("PATH", f"{place.root}:.::{place.root}/docs/..:{place.root}/inside:{usual}")
    for name in ("git", "./git"):
        assert "planted" not in place.run("run_command", command=[name, "--version"]).content
    assert safe_path(f".::bin:{place.root}:{place.root}/x", [place.root]) == safe_path("", [])


def test_the_environment_holds_no_secrets(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        *("API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "SSH_AUTH_SOCK"),
        *("LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONSTARTUP", "BASH_ENV", "ENV"),
        *("GIT_SSH_COMMAND", "GIT_EXTERNAL_DIFF", "EDITOR", "TCHAT_HOME", "http_proxy", "LC_X"),
    ):
        monkeypatch.setenv(name, MARK)
    assert MARK not in place.run("run_command", command=["env"]).content
    kept = program_environment({"MY_VARIABLE": "x", "OTHER": "y"}, extra=["MY_VARIABLE"])
    assert kept["MY_VARIABLE"] == "x"
    assert "OTHER" not in kept


def test_a_program_starts_where_it_is_told(place: Workplace) -> None:
    assert place.run("run_command", command=["cat", "guide.md"], directory="docs").content == (
        "# Guide\nTwo lines\n"
    )
    assert place.run("run_command", command=["pwd"]).content.strip() == str(place.root)


def test_how_a_program_ended_is_told(place: Workplace) -> None:
    failed = place.run("run_command", command=["ls", "no-such-file"]).content
    assert "[stderr]" in failed
    assert "[Exit code" in failed
    assert place.run("run_command", command=["true"]).content == "[Exit code 0.]"
    assert place.run("run_command", command=["cat"]).content == "[Exit code 0.]"
    killed = place.run("run_command", command=["sh", "-c", "kill -9 $$"]).content
    assert killed == "[It was ended by SIGKILL.]"


def test_time_and_output_are_bounded(place: Workplace) -> None:
    slow = place.run("run_command", command=["sh", "-c", "sleep 60 & sleep 60"], seconds=0.3)
    assert slow.content == "[It was ended after 0.3 seconds.]"
    flood = place.run("run_command", command=["yes"]).content
    assert "bytes of output" in flood
    assert len(flood) < 40_000


def test_stopping_ends_the_program(place: Workplace) -> None:
    end = time.monotonic() + 0.3
    tool = run_command_tool(place.roots(), None, cancelled=lambda: time.monotonic() > end)
    with pytest.raises(ToolError, match="stopped"):
        tool.call({"command": ["sleep", "100"]})


def test_python_runs_in_a_sandbox_or_not_at_all() -> None:
    sandbox = find_sandbox()
    tool = python_tool(sandbox)
    code = f"import os\nprint(6 * 7, os.path.exists({str(Path(__file__))!r}))"
    if sandbox is None:
        with pytest.raises(ToolError, match="bubblewrap"):
            tool.call({"code": code})
        return
    assert tool.call({"code": code}) == "42 False\n"
    assert "MemoryError" in tool.call({"code": "x = bytearray(4 << 30)"})
    assert "Error" in tool.call({"code": "import urllib.request as u\nu.urlopen('http://1.1.1.1')"})
    assert "Error" in tool.call({"code": "open('/usr/x', 'w')"})


def test_a_command_in_a_sandbox_sees_only_the_root(place: Workplace) -> None:
    sandbox = find_sandbox()
    if sandbox is None:
        assert find_sandbox("no-such-sandbox") is None
        return
    tool = run_command_tool(place.roots(), sandbox)
    assert tool.call({"command": ["cat", "notes.txt"]}) == "one\ntwo\nthree\n"
    tool.call({"command": ["sh", "-c", "echo made > made.txt"]})
    assert (place.root / "made.txt").read_text() == "made\n"
    before = place.tree()
    for text in (
        f"cat {place.outside}/secret.txt",
        "cat ../outside/secret.txt out relative-out",
        "cat own/config.toml .env .ssh/id_rsa to-env harmless-name",
        f"echo x > {place.outside}/new.txt",
        "echo x > dangling; echo x > out",
        "mkdir -p .git/hooks; echo x >> .git/config",
        f"cat /proc/*/root{place.outside}/secret.txt",
        f"cat /proc/1/cwd/../outside/secret.txt; ls {Path.home()}",
        "cat ~/.ssh/* /root/.ssh/* /etc/shadow",
    ):
        assert MARK not in tool.call({"command": ["sh", "-c", text]})
    assert place.tree() == before


def test_the_command_of_a_sandbox_shuts_out_everything_else(tmp_path: Path) -> None:
    command = Sandbox(Path("/usr/bin/bwrap")).command(["x", "--bind"], writable=[tmp_path])
    assert command[: command.index("--ro-bind-try")] == [
        "/usr/bin/bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
    ]
    assert command[command.index("--") :] == ["--", "x", "--bind"]
    assert str(Path(sys.prefix).anchor) not in command
