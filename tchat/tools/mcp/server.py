"""One MCP server of a chat: started when it is used, asked for what it offers, and called."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from tchat.errors import TchatError, UsageError
from tchat.sanitize import revealed, single_line
from tchat.settings.keys import did_you_mean
from tchat.tools.mcp.config import ServerConfig
from tchat.tools.mcp.server_log import ServerLog
from tchat.tools.program_environment import program_environment
from tchat.tools.tool import Arguments, ToolError
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from mcp import Client
    from mcp.shared.dispatcher import ProgressFnT

    from tchat.egress.egress_log import EgressLog
    from tchat.paths import Paths
    from tchat.tools.mcp.connection import McpConnection, Work
    from tchat.tools.mcp.host import McpHost
    from tchat.tools.mcp.listings import McpPrompt, McpResource, ToolListing

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
        self._restarting = threading.Lock()
        self._connection: McpConnection | None = None
        self._listing: ToolListing | None = None
        self._starts = 0
        self._error = ""
        self._were_tools_wanted = False
        self._egress: EgressLog | None = None

    @property
    def name(self) -> str:
        """The name in front of its tools and resources."""
        return self.config.short_name

    def start(self) -> McpConnection:
        """The connection, opened if there is none; it may still be starting.

        One that ended is opened again, but not one that never came up: see `restart`.

        Raises:
            ToolError: The package for it is not installed, or it ended too often.
            UsageError: A variable of its configuration is not set.
        """
        with self._lock:
            connection = self._connection
            if connection is not None and (connection.is_open or not connection.was_ready):
                return connection
            if self._starts > MAX_RESTARTS:
                raise ToolError(
                    tr("the MCP server {name} ends again and again", name=self.name),
                    tr("`/mcp restart {name}` tries once more", name=self.name),
                )
            self._listing, self._error = None, ""
            try:
                self._connection = self._open()
            except TchatError as error:
                self._error = str(error)
                raise
            self._starts += 1
            return self._connection

    @property
    def has_written(self) -> bool:
        """Whether the log has lines of it."""
        connection = self._connection
        return connection is not None and connection.has_written

    def restart(self) -> None:
        """End it and start it anew."""
        with self._restarting:
            self.close()
            self._starts, self._error = 0, ""
            self.start()

    def close(self) -> None:
        """End it."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def begin_close(self) -> None:
        """Ask it to end; does not wait."""
        connection = self._connection
        if connection is not None:
            connection.begin_close()

    @property
    def was_opened(self) -> bool:
        """Whether it was tried to start or reach it."""
        return self._connection is not None

    @property
    def is_stale(self) -> bool:
        """Whether its tools changed since they were listed, or can be listed only now."""
        connection = self._connection
        if not self._were_tools_wanted or connection is None or not connection.is_ready:
            return False
        return self._listing is None or "tools" in connection.stale

    @property
    def listing(self) -> ToolListing | None:
        """Its tools as they were last listed; None before they were asked for."""
        return self._listing

    def tools(self, patience: float = math.inf) -> ToolListing:
        """Its tools; asked for once, and again after it said that they changed.

        Args:
            patience: Seconds to wait for a server that is still starting.

        Raises:
            ToolError: It does not start or does not list them. A server that fails to list them is
                asked again only after it ended or said that they changed.
            UsageError: A variable of its configuration is not set.
        """
        from tchat.tools.mcp.listings import ToolListing, list_tools, tool_listing

        self._were_tools_wanted = True
        connection = self.start()
        if self._listing is not None and "tools" not in connection.stale and connection.is_open:
            return self._listing
        connection.wait_ready(patience)
        connection.stale.discard("tools")  # a change while they are listed is not missed
        try:
            listed = connection.call(lambda client, _: list_tools(client), LIST_SECONDS)
        except ToolError as error:
            self._listing, self._error = ToolListing(), str(error)
            raise
        prefix = self.config.tool_prefix
        self._listing, self._error = (
            tool_listing(prefix, listed, self.call_tool, self.config.with_variables().outgoing),
            "",
        )
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

        text, failed = self._call(work, CALL_SECONDS, may_ask=True)
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
        return revealed(found)

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
            UsageError: There is none, an argument is missing, or there is none of that name.
            ToolError: The server does not give it.
        """
        from tchat.tools.mcp.content import prompt_text

        self._require_arguments(name, arguments)
        result = self._call(
            lambda client, _: client.get_prompt(name, dict(arguments)), CALL_SECONDS
        )
        return revealed(prompt_text(result))  # as the user will see it, who sends it

    def _require_arguments(self, name: str, arguments: Mapping[str, str]) -> None:
        prompts = {prompt.name: prompt for prompt in self.prompts()}
        if name not in prompts:
            raise UsageError(
                tr("{server} has no prompt `{name}`", server=self.name, name=single_line(name)),
                did_you_mean(name, prompts) or tr("it has {names}", names=", ".join(prompts)),
            )
        known = {each.name: each for each in prompts[name].arguments}
        for given in arguments:
            if given not in known:
                raise UsageError(
                    tr(
                        "the prompt `{name}` has no variable `{variable}`",
                        name=name,
                        variable=given,
                    ),
                    did_you_mean(given, known)
                    or tr("its variables: {listed}", listed=", ".join(known)),
                )
        for each in known.values():
            if each.is_required and each.name not in arguments:
                raise UsageError(
                    tr(
                        "the prompt `{name}` needs a value for `{variable}`",
                        name=name,
                        variable=each.name,
                    ),
                    each.description,
                )

    def status(self) -> ServerStatus:
        """What it does now; does not wait."""
        listing = self._listing
        connection = self._connection
        state, error = ServerState.STOPPED, self._error
        if connection is not None and connection.is_ready:
            state = ServerState.READY
        elif connection is not None and connection.is_open:
            state = ServerState.STARTING
        elif connection is not None:
            error = error or connection.failure
        return ServerStatus(
            self.name,
            self.config.transport,
            ServerState.FAILED if error else state,
            tuple(tool.name for tool in listing.tools) if listing else (),
            listing.left_out if listing else (),
            single_line(error, 400),
        )

    def take_log_problem(self) -> str:
        """Why what it is sent is not logged, the first time; else empty."""
        return self._egress.take_problem() if self._egress is not None else ""

    def _call(self, work: Work[T], limit: float, *, may_ask: bool = False) -> T:
        connection = self.start()
        connection.wait_ready()
        return connection.call(work, limit, may_ask=may_ask)

    def _open(self) -> McpConnection:
        if self.config.problem:
            raise UsageError(self.config.problem, tr("ask its makers for streamable HTTP"))
        try:
            from tchat.tools.mcp.connection import McpConnection
        except ImportError as error:
            raise ToolError(
                tr("MCP servers need the package `mcp`"), tr("install it: pip install 'tchat[mcp]'")
            ) from error
        from tchat.egress.egress_log import open_egress_log

        if self._egress is None:
            self._egress = open_egress_log(self._paths)
        config = self.config.with_variables()
        log = ServerLog(self._paths.log, self.name)
        environment = {**program_environment(), **config.env}
        return McpConnection(config, environment, self._egress, log, self._host)
