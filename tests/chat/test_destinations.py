"""Which replies and calls of tools leave this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tchat.chat.destinations import Destinations
from tchat.paths import user_paths

SERVERS: dict[str, Any] = {
    "work": {"url": "https://api.example/v1"},
    "box": {"url": "http://127.0.0.1:8080/v1"},
    "odd": {"url": "http://[/"},
    "broken": 7,
}


@pytest.fixture
def destinations(home: Path) -> Destinations:
    home.mkdir()
    servers = {
        "far": {"url": "https://mcp.example/mcp"},
        "near": {"url": "http://localhost:9/mcp"},
        "files": {"command": "files-server"},
    }
    (home / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    return Destinations(SERVERS, user_paths())


@pytest.mark.parametrize(
    ("model", "name"),
    [
        *(("work", "work"), ("work/some-model", "work"), ("https://h.example:1/v1/m", "h.example")),
        *(("box/m", ""), ("http://localhost:1/v1", ""), ("/models/a.gguf", ""), ("starter", "")),
        *(("odd/x", ""), ("broken/x", ""), ("", "")),
    ],
)
def test_a_model_elsewhere_is_named(destinations: Destinations, model: str, name: str) -> None:
    assert destinations.of_model(model) == name


@pytest.mark.parametrize(
    ("tool", "arguments", "name"),
    [
        ("fetch_url", {"url": "https://page.example/a?b"}, "page.example"),
        ("fetch_url", {"url": "http://127.0.0.1/"}, ""),
        ("fetch_url", {}, ""),
        ("far__look", {}, "far"),
        ("near__look", {}, ""),
        ("files__read", {}, ""),
        ("calculator", {"expression": "1"}, ""),
    ],
)
def test_a_call_elsewhere_is_named(
    destinations: Destinations, tool: str, arguments: dict[str, Any], name: str
) -> None:
    assert destinations.of_call(tool, arguments) == name


def test_a_broken_list_of_servers_names_nothing(destinations: Destinations, home: Path) -> None:
    (home / "mcp.json").write_text("[")
    assert destinations.of_call("far__look", {}) == ""
