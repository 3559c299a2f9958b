"""``tchat mcp``: the servers of mcp.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.tools.mcp.stage import HERE

OFFICIAL = (sys.executable, str(HERE / "official_server.py"))


def servers(home: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((home / "mcp.json").read_text())["mcpServers"]
    return found


def test_a_server_is_added_listed_tried_and_removed(shell: Shell, home: Path) -> None:
    added = shell("mcp", "add", "--env", "KEY=a=b", "here", *OFFICIAL)
    assert added.code == 0
    assert "`tchat -T 'here__*'` lets the model call its tools" in added.err
    command, *arguments = OFFICIAL
    assert servers(home) == {"here": {"command": command, "args": arguments, "env": {"KEY": "a=b"}}}
    (row,) = [line.split("\t") for line in shell("mcp", "ls").out.splitlines()]
    assert row[:3] == ["here", "stdio", "on"]

    tried = shell("mcp", "test", "here")
    assert (tried.code, "here answers: 8 tools" in tried.err) == (0, True)
    rows = [line.split("\t") for line in tried.out.splitlines()]
    assert ["tool", "here__add", "Add two numbers."] in rows
    assert ["resource", "@here:memo://today", "The memo of today."] in rows
    assert ["prompt", "here:review", "Review code."] in rows
    found = json.loads(shell("mcp", "test", "here", "--json").out)
    assert found["env"] == ["KEY"]
    assert found["tools"][0]["parameters"]["required"] == ["a", "b"]
    assert found["prompts"][0]["arguments"][0]["is_required"]

    assert shell("mcp", "rm", "--dry-run", "here").out.startswith("here: ")
    removed = shell("mcp", "rm", "here")
    assert (removed.code, "here is removed from" in removed.err) == (0, True)
    assert shell("mcp", "ls", "--json").out == "[]\n"


def test_a_server_elsewhere_is_added_by_its_url(shell: Shell, home: Path) -> None:
    shell("mcp", "add", "--header", "Authorization: Bearer ${KEY}", "web", "https://a.example/mcp")
    assert servers(home) == {
        "web": {"url": "https://a.example/mcp", "headers": {"Authorization": "Bearer ${KEY}"}}
    }
    (listed,) = json.loads(shell("mcp", "ls", "--json").out)
    assert (listed["transport"], listed["headers"]) == ("http", ["Authorization"])
    failed = shell("mcp", "test", "web")
    assert failed.code == 2
    assert "needs the environment variable KEY" in failed.err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("add", "a b", "x"), 2, "cannot be the name of an MCP server"),
        (("add", "--env", "KEY", "a", "x"), 2, "--env takes NAME=VALUE, not `KEY`"),
        (("add", "--header", "K: v", "a", "x"), 2, "--header is for URLs"),
        (("add", "--env", "K=v", "a", "http://x"), 2, "a URL takes no arguments"),
        (("add", "a"), 2, "missing argument"),
        (("rm", "no"), 2, "there is no MCP server `no`; add one with `tchat mcp add`"),
        (("test", "no"), 2, "there is no MCP server `no`"),
    ],
)
def test_what_cannot_be_done_is_told(
    shell: Shell, home: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    result = shell("mcp", *arguments)
    assert result.code == code
    assert told in result.err
    assert not (home / "mcp.json").exists()


def test_a_server_that_fails_is_told_with_where_its_words_are(shell: Shell, home: Path) -> None:
    shell("mcp", "add", "bad", sys.executable, str(HERE / "hostile_server.py"), "early-end")
    failed = shell("mcp", "test", "bad")
    assert failed.code == 2
    assert "it ended with exit code 3 (cannot find the key ␛[31mKEY)" in failed.err
    assert "what it wrote is in" in failed.err
    shell("mcp", "add", "gone", "http://127.0.0.1:9/mcp")
    gone = shell("mcp", "test", "gone")
    assert gone.code == 5
    assert "what it wrote" not in gone.err


@pytest.mark.parametrize("program", ["no-such-program", "./no-such-program"])
def test_a_program_that_is_not_there_is_told_when_it_is_added(shell: Shell, program: str) -> None:
    added = shell("mcp", "add", "here", program)
    assert added.code == 0
    assert "warning: there is no program" in added.err
    tried = shell("mcp", "test", "here")
    assert tried.code == 2
    assert "there is no program" in tried.err
    assert "check its entry in" in tried.err
    assert "what it wrote" not in tried.err


def test_a_program_that_is_there_or_named_by_a_variable_is_added_without_a_warning(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "warning" not in shell("mcp", "add", "one", "sh").err
    assert "warning" not in shell("mcp", "add", "two", "${NOT_SET_HERE}/server").err
    program = tmp_path / "server-of-mine"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert "warning" in shell("mcp", "add", "three", program.name).err
    assert (
        "warning" not in shell("mcp", "add", "--env", f"PATH={tmp_path}", "four", program.name).err
    )


@pytest.mark.parametrize(
    ("url", "is_told"),
    [
        ("http://a.example/mcp", True),
        ("https://a.example/mcp", False),
        ("http://127.0.0.1:9/mcp", False),
        ("http://[::1]:9/mcp", False),
    ],
)
def test_headers_that_go_unencrypted_are_told(shell: Shell, url: str, is_told: bool) -> None:
    added = shell("mcp", "add", "--header", "Authorization: Bearer k-88", "web", url)
    assert added.code == 0
    assert ("headers are sent unencrypted" in added.err) is is_told
    assert "k-88" not in added.err


def test_a_server_without_some_lists_is_tried(shell: Shell) -> None:
    shell("mcp", "add", "few", sys.executable, str(HERE / "hostile_server.py"), "few-lists")
    tried = shell("mcp", "test", "few")
    assert tried.code == 0
    kinds = [line.split("\t")[:2] for line in tried.out.splitlines()]
    assert kinds == [["tool", "few__good"], ["resource", "@few:memo://a"]]


def test_a_broken_file_is_told_and_kept(shell: Shell, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / "mcp.json").write_text("{")
    for arguments in (("ls",), ("add", "a", "x"), ("rm", "a"), ("test", "a")):
        result = shell("mcp", *arguments)
        assert result.code == 2
        assert "mcp.json cannot be used" in result.err
    assert (home / "mcp.json").read_text() == "{"


def test_tools_tell_the_server_that_they_are_of(shell: Shell) -> None:
    shell("mcp", "add", "my.shop", *OFFICIAL)
    shell("config", "set", "tools.enabled", "calculator,my_shop__add")
    rows = {
        line.split("\t")[0]: line.split("\t")[2] for line in shell("tools", "ls").out.splitlines()
    }
    assert (rows["my_shop__*"], rows["my_shop__add"]) == ("MCP server my.shop",) * 2
    assert rows["calculator"] == "built in"
    found = {
        each["name"]: each["server"] for each in json.loads(shell("tools", "ls", "--json").out)
    }
    assert (found["my_shop__add"], found["calculator"]) == ("my.shop", None)


def test_a_program_named_by_a_path_is_found_from_everywhere(
    shell: Shell, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "server"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    shell("mcp", "add", "here", "./server", OFFICIAL[1])
    monkeypatch.chdir("/")
    assert shell("mcp", "test", "here").code == 0
    monkeypatch.setenv("HOME", str(tmp_path))
    written = {"mcpServers": {"tilde": {"command": "~/server", "args": [OFFICIAL[1]]}}}
    (home / "mcp.json").write_text(json.dumps(written))
    assert shell("mcp", "test", "tilde").code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("npx", "--token", "abc123def"), "npx --token …"),
        (("npx", "--api-key=abc123def"), "npx --api-key=…"),
        (("npx", "ghp_" + "a1B2" * 10), "npx …"),
        (("env", "SHOP_TOKEN=abc123def", "npx"), "env SHOP_TOKEN=… npx"),
        (("npx", "https://u:p4ss@host/x?key=abc123def"), "npx https://…@host/x?…"),
        (("https://u:p4ss@host/mcp?key=abc123def",), "https://…@host/mcp?…"),
        (("npx", "--token", "${SHOP_TOKEN}"), "npx --token '${SHOP_TOKEN}'"),
        (("npx", "-y", "some-server", "/srv/data"), "npx -y some-server /srv/data"),
    ],
)
def test_secrets_in_commands_and_addresses_are_not_shown(
    shell: Shell, home: Path, words: tuple[str, ...], told: str
) -> None:
    shell("mcp", "add", "shop", "--", *words)
    listed = shell("mcp", "ls")
    assert told in listed.out.replace("/usr/bin/", "").replace(str(Path.cwd()), "")
    everything = listed.out + shell("mcp", "ls", "--json").out
    everything += shell("mcp", "rm", "shop", "--dry-run").out
    assert not any(secret in everything for secret in ("abc123def", "a1B2", "p4ss"))
    assert json.loads((home / "mcp.json").read_text())["mcpServers"]["shop"]
