"""The MCP servers of a chat: started when they are used, asked for what they offer, and called."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from tchat.errors import TchatError, UsageError
from tchat.sanitize import single_line
from tchat.tools.mcp.config import ServerConfig, read_servers
from tchat.tools.mcp.server_log import ServerLog
from tchat.tools.program_environment import program_environment
from tchat.tools.tool import Arguments, ToolError
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from mcp import Client
    from mcp.shared.dispatcher import ProgressFnT

    from tchat.paths import Paths
    from tchat.tools.mcp.connection import Connection, Work
    from tchat.tools.mcp.host import McpHost
    from tchat.tools.mcp.listings import McpPrompt, McpResource, ToolListing
    from tchat.tools.tool import Tool

T = TypeVar("T")

CALL_SECONDS = 120.0  # without a sign of progress
LIST_SECONDS = 30.0
MAX_RESTARTS = 5  # of a server that ends by itself, in one chat


class ServerState(StrEnum):
    """What a server does."""

    STARTING = N_("starting")
    READY = N_("ready")
    FAILED = N_("failed")
    STOPPED = N_("not started")


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """A server for a listing; its texts are printable.

    Attributes:
        name: Its short name.
        transport: ``stdio`` or ``http``.
        state: What it does.
        tools: The names of its tools, if they were asked for.
        left_out: Tools that cannot be used, and why.
        error: Why it failed; else empty.
    """

    name: str
    transport: str
    state: ServerState
    tools: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    error: str = ""


class McpServer:
    """One server of a chat. A server that ended is started again by the next call.

    Attributes:
        config: How it is reached.
    """

    def __init__(self, config: ServerConfig, paths: Paths, host: McpHost | None) -> None:
        self.config = config
        self._paths = paths
        self._host = host
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._listing: ToolListing | None = None
        self._starts = 0
        self._error = ""

    @property
    def name(self) -> str:
        """The name in front of its tools and resources."""
        return self.config.short_name

    def start(self) -> Connection:
        """The connection, opened if there is none; it may still be starting.

        Raises:
            ToolError: The package for it is not installed, or it ended too often.
            UsageError: A variable of its configuration is not set.
        """
        with self._lock:
            if self._connection is not None and self._connection.is_open:
                return self._connection
            if self._starts > MAX_RESTARTS:
                raise ToolError(
                    tr("the MCP server {name} ends again and again", name=self.name),
                    tr("`/mcp restart {name}` tries once more", name=self.name),
                )
            self._starts += 1
            self._listing = None
            self._connection = self._open()
            return self._connection

    def restart(self) -> None:
        """End it and start it anew."""
        self.close()
        self._starts, self._error = 0, ""
        self.start()

    def close(self) -> None:
        """End it."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def begin_close(self) -> None:
        """Ask it to end; does not wait."""
        if self._connection is not None:
            self._connection.begin_close()

    @property
    def is_stale(self) -> bool:
        """Whether its tools changed since they were listed."""
        return self._connection is not None and "tools" in self._connection.stale

    def tools(self) -> ToolListing:
        """Its tools; asked for once, and again after it said that they changed.

        Raises:
            ToolError: It does not start or does not list them.
            UsageError: A variable of its configuration is not set.
        """
        from tchat.tools.mcp.listings import list_tools, tool_listing

        connection = self._ready()
        if self._listing is None or "tools" in connection.stale:
            connection.stale.discard("tools")  # a change while they are listed is not missed
            listed = self._call(lambda client, _: list_tools(client), LIST_SECONDS)
            self._listing = tool_listing(self.name, listed, self.call_tool)
        return self._listing

    def call_tool(self, name: str, arguments: Arguments) -> str:
        """What the tool ``name`` answers, as text.

        Raises:
            ToolError: It failed, or cannot be called.
        """
        from tchat.tools.mcp.content import tool_text

        async def work(client: Client, report: ProgressFnT) -> tuple[str, bool]:
            result = await client.call_tool(name, dict(arguments), progress_callback=report)
            return tool_text(result), result.is_error

        text, failed = self._call(work, CALL_SECONDS)
        if failed:
            raise ToolError(text)
        return text

    def resources(self) -> list[McpResource]:
        """Its resources.

        Raises:
            ToolError: It does not start or does not list them.
        """
        from tchat.tools.mcp.listings import list_resources, resource_listing

        listed = self._call(lambda client, _: list_resources(client), LIST_SECONDS)
        return resource_listing(self.name, listed)

    def read_resource(self, uri: str) -> str:
        """The text of a resource.

        Raises:
            ToolError: It cannot be read, or is no text.
        """
        from tchat.tools.mcp.content import resource_text

        result = self._call(lambda client, _: client.read_resource(uri), CALL_SECONDS)
        if not (found := resource_text(result)):
            raise ToolError(
                tr("{uri} of {name} has no text", uri=single_line(uri), name=self.name),
                tr("name another resource"),
            )
        return found

    def prompts(self) -> list[McpPrompt]:
        """Its prompts.

        Raises:
            ToolError: It does not start or does not list them.
        """
        from tchat.tools.mcp.listings import list_prompts, prompt_listing

        listed = self._call(lambda client, _: list_prompts(client), LIST_SECONDS)
        return prompt_listing(self.name, listed)

    def get_prompt(self, name: str, arguments: Mapping[str, str]) -> str:
        """The text of a prompt with ``arguments`` in it.

        Raises:
            ToolError: There is none, or an argument is missing.
        """
        from tchat.tools.mcp.content import prompt_text

        result = self._call(
            lambda client, _: client.get_prompt(name, dict(arguments)), CALL_SECONDS
        )
        return prompt_text(result)

    def status(self) -> ServerStatus:
        """What it does now; does not wait."""
        listing = self._listing
        connection = self._connection
        state, error = ServerState.STOPPED, self._error
        if connection is not None and connection.is_ready:
            state, error = ServerState.READY, ""
        elif connection is not None and connection.is_open:
            state, error = ServerState.STARTING, ""
        elif connection is not None:
            error = connection.failure
        return ServerStatus(
            self.name,
            self.config.transport,
            ServerState.FAILED if error else state,
            tuple(tool.name for tool in listing.tools) if listing else (),
            listing.left_out if listing else (),
            single_line(error, 400),
        )

    def _call(self, work: Work[T], limit: float) -> T:
        return self._ready().call(work, limit)

    def _ready(self) -> Connection:
        try:
            connection = self.start()
            connection.wait_ready()
        except TchatError as error:
            self._error = str(error)
            raise
        self._error = ""
        return connection

    def _open(self) -> Connection:
        try:
            from tchat.tools.mcp.connection import Connection
        except ImportError as error:
            raise ToolError(
                tr("MCP servers need the package `mcp`"), tr("install it: pip install 'tchat[mcp]'")
            ) from error
        config = self.config.with_variables()
        log = ServerLog(self._paths.log_file, self.name)
        environment = {**program_environment(), **config.env}
        return Connection(config, environment, log, self._host)


@dataclass
class McpServers:
    """The servers of a chat.

    Attributes:
        servers: By their short names.
    """

    servers: Mapping[str, McpServer] = field(default_factory=dict)
    _problems: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start all of them at the same time; does not wait."""
        for server in self.servers.values():
            try:
                server.start()
            except TchatError as error:
                self._problems[server.name] = str(error)

    @property
    def is_stale(self) -> bool:
        """Whether a server changed its tools since they were listed."""
        return any(server.is_stale for server in self.servers.values())

    @property
    def problems(self) -> Mapping[str, str]:
        """Servers that the last listing found unusable, and why."""
        return dict(self._problems)

    def tools(self) -> list[Tool]:
        """The tools of all servers; one that cannot be used has none, see `problems`."""
        return [tool for listing in self._each(McpServer.tools) for tool in listing.tools]

    def resources(self) -> list[McpResource]:
        """The resources of all servers; one that cannot be used has none, see `problems`."""
        return [each for found in self._each(McpServer.resources) for each in found]

    def prompts(self) -> list[McpPrompt]:
        """The prompts of all servers; one that cannot be used has none, see `problems`."""
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
        self._problems.pop(name, None)

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
            try:
                found.append(ask(server))
            except TchatError as error:
                self._problems[server.name] = str(error)
            else:
                self._problems.pop(server.name, None)
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


def open_mcp_tools(paths: Paths, host: McpHost | None = None) -> McpServers:
    """The enabled servers of ``mcp.json``; none is started before it is asked for something.

    Raises:
        UsageError: The file is not in the expected form.
        StorageError: It cannot be read.
    """
    enabled = (each for each in read_servers(paths.mcp_file).values() if each.is_enabled)
    return McpServers({each.short_name: McpServer(each, paths, host) for each in enabled})
