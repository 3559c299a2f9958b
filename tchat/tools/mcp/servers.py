"""The MCP servers of a chat, all together."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from tchat.errors import TchatError, UsageError
from tchat.sanitize import single_line
from tchat.tools.mcp.config import read_servers
from tchat.tools.mcp.server import McpServer, ServerState, ServerStatus
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.paths import Paths
    from tchat.tools.mcp.host import McpHost
    from tchat.tools.mcp.listings import McpPrompt, McpResource
    from tchat.tools.tool import Tool

T = TypeVar("T")

START_PATIENCE = 15.0  # seconds for all servers that are starting


@dataclass(frozen=True, slots=True)
class McpServers:
    """The servers of a chat.

    Attributes:
        servers: By their short names.
    """

    servers: Mapping[str, McpServer] = field(default_factory=dict)

    def start(self) -> None:
        """Start all of them at the same time; does not wait. See `status` for those that fail."""
        for server in self.servers.values():
            with suppress(TchatError):  # kept in its status
                server.start()

    def having(self, names: Collection[str]) -> McpServers:
        """Those of the servers that have tools of these names, or may have by a pattern."""
        return McpServers(
            {
                short: server
                for short, server in self.servers.items()
                if any(_is_about(name, server.config.tool_prefix) for name in names)
            }
        )

    def problems(self) -> list[str]:
        """A line for each server that failed or is still starting."""
        lines = []
        for each in self.status():
            if each.state is ServerState.FAILED:
                lines.append(
                    tr("the MCP server {name} fails: {reason}", name=each.name, reason=each.error)
                )
            elif each.state is ServerState.STARTING:
                lines.append(tr("the MCP server {name} is still starting", name=each.name))
        return lines

    @property
    def is_stale(self) -> bool:
        """Whether there are other tools than `tools` found."""
        return any(server.is_stale for server in self.servers.values())

    def tools(self, patience: float = START_PATIENCE) -> list[Tool]:
        """The tools of all servers; one that cannot be used has none, see `status`.

        Servers that are still starting after ``patience`` seconds have none yet; `is_stale` tells
        when they have.
        """
        until = time.monotonic() + patience
        found = self._each(lambda server: server.tools(max(0.0, until - time.monotonic())))
        return [tool for listing in found for tool in listing.tools]

    def resources(self) -> list[McpResource]:
        """The resources of all servers; one that cannot be used has none, see `status`."""
        return [each for found in self._each(McpServer.resources) for each in found]

    def prompts(self) -> list[McpPrompt]:
        """The prompts of all servers; one that cannot be used has none, see `status`."""
        return [each for found in self._each(McpServer.prompts) for each in found]

    def read_resource(self, mention: str) -> str:
        """The text of the resource ``SERVER:URI``.

        Raises:
            UsageError: There is no such server.
            ToolError: It cannot be read.
        """
        server, uri = self._split(mention)
        return server.read_resource(uri)

    def get_prompt(self, full_name: str, arguments: Mapping[str, str]) -> str:
        """The text of the prompt ``SERVER:NAME``.

        Raises:
            UsageError: There is no such server.
            ToolError: There is no such prompt, or an argument is missing.
        """
        server, name = self._split(full_name)
        return server.get_prompt(name, arguments)

    def listed_tools(self) -> list[Tool]:
        """The tools that are known by now; nothing is asked, and no server is started."""
        listings = (server.listing for server in self.servers.values())
        return [tool for listing in listings if listing is not None for tool in listing.tools]

    def take_log_problem(self) -> str:
        """Why what they are sent is not logged, the first time; else empty."""
        found = [server.take_log_problem() for server in self.servers.values()]
        return next(filter(None, found), "")

    def status(self) -> list[ServerStatus]:
        """All servers as they are now; does not wait."""
        return [server.status() for server in self.servers.values()]

    def restart(self, name: str) -> None:
        """End a server and start it anew.

        Raises:
            UsageError: There is no such server.
            ToolError: It cannot be started.
        """
        self._server(name).restart()

    def restart_and_list(self, name: str) -> None:
        """End a server, start it anew and ask for its tools; see `status` where that fails.

        Raises:
            UsageError: There is no such server.
        """
        server = self._server(name)
        with suppress(TchatError):  # kept in its status
            server.restart()
            server.tools(START_PATIENCE)

    def close(self) -> None:
        """End all servers; takes a few seconds at most."""
        for server in self.servers.values():
            server.begin_close()
        for server in self.servers.values():
            server.close()

    def _each(self, ask: Callable[[McpServer], T]) -> Sequence[T]:
        self.start()
        found = []
        for server in self.servers.values():
            with suppress(TchatError):  # one that cannot be used harms no other
                found.append(ask(server))
        return found

    def _split(self, name: str) -> tuple[McpServer, str]:
        server, _, rest = name.partition(":")
        return self._server(server), rest

    def _server(self, name: str) -> McpServer:
        if name not in self.servers:
            raise UsageError(
                tr("there is no MCP server `{name}`", name=single_line(name)),
                tr("there are {names}", names=", ".join(self.servers))
                if self.servers
                else tr("add one with `tchat mcp add`"),
            )
        return self.servers[name]


def _is_about(name: str, prefix: str) -> bool:
    """Whether a name, or a pattern with ``*`` behind what it begins with, is about a server."""
    fixed = name.partition("*")[0]
    return name.startswith(prefix) or (len(fixed) < len(name) and prefix.startswith(fixed))


def open_mcp_tools(paths: Paths, host: McpHost | None = None) -> McpServers:
    """The enabled servers of ``mcp.json``; none is started before it is asked for something.

    Raises:
        UsageError: The file is not in the expected form.
        StorageError: It cannot be read.
    """
    enabled = (each for each in read_servers(paths.mcp_file).values() if each.is_enabled)
    return McpServers({each.short_name: McpServer(each, paths, host) for each in enabled})
