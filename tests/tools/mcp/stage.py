"""Servers in processes of their own, as a user's `mcp.json` names them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tchat.paths import Paths
from tchat.tools.mcp.host import FieldValue, McpForm, McpProgress, SamplingRequest
from tchat.tools.mcp.servers import McpServers, open_mcp_tools
from tchat.tools.tool import Tool

HERE = Path(__file__).parent
OFFICIAL = {"command": sys.executable, "args": [str(HERE / "official_server.py")]}


def hostile(mode: str) -> dict[str, Any]:
    return {"command": sys.executable, "args": [str(HERE / "hostile_server.py"), mode]}


@dataclass
class Person:
    """A front end with somebody who answers as told."""

    answers: Mapping[str, FieldValue] | None = None
    reply: str | None = None
    stops_after: float = float("inf")
    forms: list[McpForm] = field(default_factory=list)
    requests: list[SamplingRequest] = field(default_factory=list)
    seen: list[McpProgress] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)

    def ask_form(self, form: McpForm) -> Mapping[str, FieldValue] | None:
        self.forms.append(form)
        return self.answers

    def ask_sampling(self, request: SamplingRequest) -> str | None:
        self.requests.append(request)
        return self.reply

    def progress(self, progress: McpProgress) -> None:
        self.seen.append(progress)

    def cancelled(self) -> bool:
        return time.monotonic() - self.start > self.stops_after


@dataclass
class McpStage:
    """A configuration folder, and the servers that were opened from it."""

    home: Path
    opened: list[McpServers] = field(default_factory=list)

    @property
    def paths(self) -> Paths:
        return Paths(self.home, self.home / "cache")

    @property
    def log(self) -> str:
        path = self.paths.log_file
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def open(self, person: Person | None = None, **servers: Mapping[str, Any]) -> McpServers:
        self.paths.mcp_file.write_text(json.dumps({"mcpServers": servers}))
        opened = open_mcp_tools(self.paths, person)
        self.opened.append(opened)
        return opened

    def good(self, mode: str, person: Person | None = None) -> Tool:
        """The tool of a server that misbehaves in some way when it is called."""
        (tool,) = self.open(person, h=hostile(mode)).tools()
        return tool


@contextmanager
def served_over_http(*command: str) -> Iterator[str]:
    """A server that takes a port as its last argument; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, *command, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()
