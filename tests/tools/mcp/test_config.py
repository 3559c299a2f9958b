"""The file mcp.json, as other programs write it and as tchat changes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tchat.errors import UsageError
from tchat.paths import Paths
from tchat.tools.mcp.config import (
    MAX_SERVERS,
    ServerConfig,
    add_server,
    find_server,
    read_servers,
    remove_server,
)
from tchat.tools.mcp.server import McpServer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mcp.json"


def written(path: Path, servers: object) -> Path:
    path.write_text(json.dumps({"mcpServers": servers}))
    return path


def test_entries_of_other_programs(path: Path) -> None:
    servers = read_servers(
        written(
            path,
            {
                "files": {"command": "npx", "args": ["-y", "files", "/tmp"], "env": {"N": 1}},
                "My Search!": {
                    "type": "http",
                    "url": "https://a.example/mcp",
                    "headers": {"A": "b"},
                },
                "old": {"command": "x", "disabled": True, "autoApprove": ["*"]},
                "wind": {"serverUrl": "https://b.example/mcp"},
                "null": {"command": "x", "args": None, "env": None},
            },
        )
    )
    assert servers["files"].command == ("npx", "-y", "files", "/tmp")
    assert servers["files"].env == {"N": "1"}
    assert servers["files"].transport == "stdio"
    assert servers["My Search!"].short_name == "My_Search"
    assert servers["My Search!"].headers == {"A": "b"}
    assert not servers["old"].is_enabled
    assert servers["wind"].url == "https://b.example/mcp"
    assert servers["null"].command == ("x",)
    assert find_server(path, "My_Search").name == "My Search!"


def test_without_a_file_there_are_none(path: Path) -> None:
    assert read_servers(path) == {}
    path.write_text("  \n")
    assert read_servers(path) == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "cannot be used"),
        ("[" * 100_000, "cannot be used"),
        ("[]", "no JSON object"),
        ('{"mcpServers": []}', "`mcpServers` is no JSON object"),
        ('{"mcpServers": {"a\\u001b[2J": 1}}', "`a␛.2J` is no JSON object"),
        ('{"mcpServers": {"a": {}}}', "either a `command` or a `url`"),
        ('{"mcpServers": {"a": {"command": "x", "url": "http://x"}}}', "either a `command`"),
        ('{"mcpServers": {"a": {"command": 1}}}', "either a `command`"),
        ('{"mcpServers": {"a": {"command": "x", "args": "y"}}}', "must be a list of texts"),
        ('{"mcpServers": {"a": {"command": "x", "args": [1]}}}', "must be a list of texts"),
        ('{"mcpServers": {"a": {"command": "x", "env": ["y"]}}}', "must hold texts by name"),
        ('{"mcpServers": {"a": {"command": "x", "cwd": 1}}}', "`cwd` of `a` must be text"),
        ('{"mcpServers": {"a": {"url": "ftp://x"}}}', "no http address"),
        ('{"mcpServers": {"a b": {"command": "x"}, "a!b": {"command": "x"}}}', "too much alike"),
        (
            json.dumps({"mcpServers": {f"s{n}": {"command": "x"} for n in range(MAX_SERVERS + 1)}}),
            "more than",
        ),
        ("x" * (1 << 21), "at most 1024 KB"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(path: Path, content: str, reason: str) -> None:
    path.write_text(content)
    with pytest.raises(UsageError, match=reason) as caught:
        read_servers(path)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    before = path.read_bytes()
    with pytest.raises(UsageError):
        add_server(path, ServerConfig("new", ("x",)))
    assert path.read_bytes() == before or "new" in path.read_text()


def test_a_file_that_others_may_change_is_refused(path: Path) -> None:
    written(path, {"a": {"command": "x"}})
    path.chmod(0o666)
    with pytest.raises(UsageError, match="others may change it: chmod o-w"):
        read_servers(path)


def test_adding_and_removing_keep_everything_else(path: Path) -> None:
    kept: dict[str, Any] = {
        "theme": "dark",
        "mcpServers": {"a": {"command": "x", "autoApprove": ["y"], "note": "ü"}},
    }
    path.write_text(json.dumps(kept))
    server = ServerConfig("b", ("npx", "-y", "b"), {"KEY": "${KEY}"}, cwd="/tmp")
    add_server(path, server)
    assert read_servers(path)["b"] == server
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="already; `tchat mcp rm b` removes it"):
        add_server(path, server)
    add_server(path, ServerConfig("c", url="https://c.example/mcp", headers={"A": "b"}))
    assert read_servers(path)["c"].headers == {"A": "b"}
    remove_server(path, "b")
    remove_server(path, "c")
    assert json.loads(path.read_text()) == kept
    with pytest.raises(UsageError, match="no MCP server `b`; there are a"):
        remove_server(path, "b")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", "x" * 65, "\x1b"])
def test_names_that_cannot_be_mentioned_are_not_added(path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of an MCP server"):
        add_server(path, ServerConfig(name, ("x",)))
    assert not path.exists()


@pytest.mark.parametrize("name", ["files_", "_files", "files."])
def test_what_would_make_the_file_unusable_is_not_written(path: Path, name: str) -> None:
    written(path, {"files": {"command": "x"}})
    before = path.read_bytes()
    with pytest.raises(UsageError, match="are too much alike"):
        add_server(path, ServerConfig(name, ("y",)))
    assert path.read_bytes() == before
    written(path, {f"s{n}": {"command": "x"} for n in range(MAX_SERVERS)})
    before = path.read_bytes()
    with pytest.raises(UsageError, match="more than"):
        add_server(path, ServerConfig("one-more", ("y",)))
    assert path.read_bytes() == before


def test_a_server_is_removed_from_a_file_that_cannot_be_used(path: Path) -> None:
    written(path, {"a": {"command": "x"}, "a_": {"command": "y"}})
    with pytest.raises(UsageError):
        read_servers(path)
    remove_server(path, "a_")
    assert list(read_servers(path)) == ["a"]


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("files", "files__"),
        ("a.b", "a_b__"),
        ("a__b", "a_b__"),
        ("a_.b", "a_b__"),
        ("x" * 64, "x" * 40 + "__"),
        ("x" * 39 + "__y", "x" * 39 + "__"),
        ("a-b", "a-b__"),
        ("。", "server__"),
    ],
)
def test_names_of_tools_begin_with_that_of_one_server(name: str, prefix: str) -> None:
    assert ServerConfig(name, ("x",)).tool_prefix == prefix


@pytest.mark.parametrize("other", ["a.b", "a__b", "a_b_"])
def test_servers_whose_tools_would_have_the_same_names_are_refused(path: Path, other: str) -> None:
    written(path, {"a_b": {"command": "x"}, other: {"command": "x"}})
    with pytest.raises(UsageError, match="are too much alike"):
        read_servers(path)


def test_starts_that_fail_for_a_variable_are_not_counted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(path, {"a": {"command": "${NOT_SET_HERE}"}})
    server = McpServer(find_server(path, "a"), Paths(path.parent, path.parent), None)
    for _ in range(9):
        with pytest.raises(UsageError, match="NOT_SET_HERE"):
            server.start()


def test_variables_are_put_in_everywhere_once() -> None:
    environ = {"A": "${B}", "B": "no", "HOST": "a.example"}
    config = ServerConfig(
        "x", ("${A}", "${env:B}"), {"K": "${C:-d}"}, url="https://${HOST}/", headers={"H": "${B}"}
    ).with_variables(environ)
    assert config.command == ("${B}", "no")
    assert (config.env["K"], config.url, config.headers["H"]) == ("d", "https://a.example/", "no")
    with pytest.raises(UsageError, match="needs the environment variable C"):
        ServerConfig("x", ("${C}",)).with_variables(environ)


def test_a_server_of_an_older_kind_harms_no_other(path: Path) -> None:
    entries = {"old": {"type": "sse\x1b[2J", "url": "https://a.example"}, "new": {"command": "x"}}
    servers = read_servers(written(path, entries))
    assert "old has the type sse␛[2J; tchat knows stdio and http" in servers["old"].problem
    assert servers["new"].problem == ""
    with pytest.raises(UsageError, match="has the type sse"):
        McpServer(servers["old"], Paths(path.parent, path.parent), None).tools()
