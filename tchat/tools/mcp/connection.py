"""One run of a server: a thread with an event loop that holds the connection and makes the calls.

Importing this imports the package `mcp`; `tchat.tools.mcp.servers` does so when a server is used.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import CancelledError
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import anyio
import mcp_types as types
from anyio.from_thread import BlockingPortal
from mcp import Client, MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from tchat import __version__
from tchat.errors import TchatError
from tchat.sanitize import single_line
from tchat.tools.mcp.elicitation import elicitation_result, form_of
from tchat.tools.mcp.host import McpHost, McpProgress
from tchat.tools.mcp.http import HTTPError, http_transport
from tchat.tools.mcp.questions import POLL_SECONDS, Caller, ServerQuestion
from tchat.tools.mcp.sampling import sampling_request, sampling_result
from tchat.tools.mcp.stdio import stdio_transport
from tchat.tools.tool import ToolError
from tchat.translation import tr

if TYPE_CHECKING:
    from mcp.client import ClientRequestContext, IncomingMessage
    from mcp.shared.dispatcher import ProgressFnT

    from tchat.egress.egress_log import EgressLog
    from tchat.tools.mcp.config import ServerConfig
    from tchat.tools.mcp.server_log import ServerLog

T = TypeVar("T")
Work: TypeAlias = "Callable[[Client, ProgressFnT], Awaitable[T]]"

START_SECONDS = 60.0  # a first start may download the server
CLOSE_SECONDS = 4.0
LISTEN_AGAIN_SECONDS = 5.0
MAX_WAITING = 4  # questions at once; more are declined
_CHANGES: Mapping[type, str] = {
    types.ToolListChangedNotification: "tools",
    types.ResourceListChangedNotification: "resources",
    types.PromptListChangedNotification: "prompts",
}


class McpConnection:
    """A connected server. Calls may come from any thread.

    Attributes:
        stale: The lists that the server has changed since it was asked for them: ``tools``,
            ``resources``, ``prompts``.
    """

    def __init__(
        self,
        config: ServerConfig,
        environment: Mapping[str, str],
        egress: EgressLog,
        log: ServerLog,
        host: McpHost | None,
    ) -> None:
        self.stale: set[str] = set()
        self._config = config
        self._environment = environment
        self._egress, self._log = egress, log
        self._host = host
        self._name = single_line(config.name, 64)
        self._ready = threading.Event()
        self._closed = threading.Event()
        self._reason = ""
        self._lock = threading.Lock()
        self._callers: list[Caller] = []
        self._questions = 0
        self._status = 0  # of HTTP, where the server refuses access
        self._portal: BlockingPortal | None = None
        self._client: Client | None = None
        self._stop: anyio.Event | None = None
        self._start: anyio.CancelScope | None = None
        self._is_closing = False
        self._has_started = False
        self._thread = threading.Thread(target=self._run, name=f"mcp {self._name}", daemon=True)
        _silence_loggers()
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether it can be called, or will be once it has started."""
        return not self._closed.is_set() and not self._reason

    @property
    def is_ready(self) -> bool:
        """Whether it has started, and has not ended."""
        return self.is_open and self._client is not None

    @property
    def was_ready(self) -> bool:
        """Whether it has started, and perhaps ended since."""
        return self._has_started

    def wait_ready(self, limit: float = math.inf) -> None:
        """Wait until the server has started; the user can stop that.

        Raises:
            ToolError: It did not start, or not within ``limit`` seconds.
        """
        until = time.monotonic() + limit
        while not self._ready.wait(POLL_SECONDS):
            if self._host is not None and self._host.cancelled():
                raise ToolError(tr("the call was stopped"))
            if time.monotonic() > until:
                raise ToolError(
                    tr("the MCP server {name} is still starting", name=self._name),
                    tr("wait for it, or look at `/mcp`"),
                )
        if not self.is_ready:
            raise self._ended()

    def call(self, work: Work[T], limit: float, *, may_ask: bool = False) -> T:
        """The result of ``work``, which talks to the server in its thread.

        Args:
            work: Gets the client, and what to give to it for progress.
            limit: Seconds without a sign of progress.
            may_ask: Whether the server may ask the user something meanwhile. A request for a reply
                of the model needs the engine, which only a call of a tool in a turn leaves free.

        Raises:
            ToolError: The server does not answer, answers with an error or with what is no
                answer, or the user stopped the call.
        """
        self.wait_ready()
        assert self._portal is not None  # noqa: S101 - it is ready
        caller = Caller(self._name, self._host, may_ask=may_ask)
        with self._lock:
            self._callers.append(caller)
        try:
            future = self._portal.start_task_soon(self._work, work, caller)
        except RuntimeError:  # it ended just now
            self._forget(caller)
            raise self._ended() from None
        future.add_done_callback(caller.wake)
        try:
            return caller.wait(future, limit)
        except TchatError:
            raise
        except Exception as error:
            raise self._translated(error) from error
        finally:
            future.cancel()
            self._forget(caller)

    def begin_close(self) -> None:
        """Ask the server to end; does not wait."""
        self._is_closing = True
        if self._portal is not None:
            with suppress(RuntimeError):  # it ended by itself
                self._portal.start_task_soon(self._finish)

    def close(self) -> None:
        """End the server, and wait for that for a few seconds."""
        self.begin_close()
        self._thread.join(CLOSE_SECONDS)

    @property
    def failure(self) -> str:
        """Why it ended; empty while it is open."""
        if self.is_open:
            return ""
        reason = self._reason or tr("it ended")
        return f"{reason} ({self._log.last})" if self._log.last else reason

    @property
    def has_written(self) -> bool:
        """Whether the log has lines of it."""
        return bool(self._log.last)

    # In the server's thread

    def _run(self) -> None:
        try:
            anyio.run(self._serve)
        except BaseException as error:  # noqa: BLE001 - a thread of its own; told to its callers
            self._reason = self._reason or self._why(error)
        finally:
            self._closed.set()
            self._ready.set()

    async def _serve(self) -> None:
        self._stop = anyio.Event()
        async with BlockingPortal() as portal:
            self._portal = portal
            with anyio.CancelScope(deadline=anyio.current_time() + START_SECONDS) as scope:
                self._start = scope
                if self._is_closing:
                    scope.cancel()
                async with self._open_client() as client, anyio.create_task_group() as tasks:
                    scope.deadline = math.inf
                    self._client, self._has_started = client, True
                    tasks.start_soon(self._listen, client)
                    self._ready.set()
                    if not self._is_closing:
                        await self._stop.wait()
                    tasks.cancel_scope.cancel()
            self._client = None
            if scope.cancelled_caught:
                self._end(tr("it did not start within {seconds:g} seconds", seconds=START_SECONDS))
            await portal.stop(cancel_remaining=True)

    def _open_client(self) -> Client:
        config = self._config
        transport: AbstractAsyncContextManager[Any]
        if config.url:
            transport = http_transport(config, self._egress, self._refused)
        else:
            transport = stdio_transport(config, self._environment, self._log, self._end)
        can_ask = self._host is not None
        return Client(
            transport,
            cache=None,
            client_info=types.Implementation(name="tchat", version=__version__),
            elicitation_callback=self._ask_form if can_ask else None,
            sampling_callback=self._ask_sampling if can_ask else None,
            logging_callback=self._log_message,
            message_handler=self._notice,
        )

    def _end(self, reason: str) -> None:
        if not self._is_closing:
            self._reason = self._reason or reason
        if self._stop is not None:
            self._stop.set()

    def _refused(self, status: int) -> None:
        self._status = status

    async def _finish(self) -> None:
        if self._stop is not None:
            self._stop.set()
        if self._start is not None and not self._has_started:
            self._start.cancel()

    async def _work(self, work: Work[T], caller: Caller) -> T:
        async def report(progress: float, total: float | None, message: str | None) -> None:
            text = single_line(message or "")
            caller.told_progress(McpProgress(self._name, progress, total, text))

        if self._client is None:
            raise self._ended()
        return await work(self._client, report)

    async def _listen(self, client: Client) -> None:
        """Hear of changed lists, where the protocol has a request of its own for that."""
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return
        offered = client.server_capabilities
        tools, prompts, resources = (
            bool(kind and kind.list_changed)
            for kind in (offered.tools, offered.prompts, offered.resources)
        )
        while tools or prompts or resources:
            with suppress(MCPError, RuntimeError, TimeoutError, ValidationError):
                async with client.listen(
                    tools_list_changed=tools,
                    prompts_list_changed=prompts,
                    resources_list_changed=resources,
                ) as changes:
                    async for _ in changes:
                        pass  # `_notice` sees it too
            await anyio.sleep(LISTEN_AGAIN_SECONDS)

    async def _notice(self, message: IncomingMessage) -> None:
        if changed := _CHANGES.get(type(message)):
            self.stale.add(changed)

    async def _log_message(self, params: types.LoggingMessageNotificationParams) -> None:
        self._log.add(f"{params.level}: {single_line(str(params.data), 400)}")

    async def _ask_form(
        self,
        context: ClientRequestContext,  # noqa: ARG002
        params: types.ElicitRequestParams,
    ) -> types.ElicitResult | types.ErrorData:
        form = form_of(self._name, params)
        if form is None:
            return types.ErrorData(code=types.INVALID_PARAMS, message="The form is not supported")
        answers = await self._ask(lambda host: host.ask_form(form))
        return elicitation_result(form, answers)

    async def _ask_sampling(
        self,
        context: ClientRequestContext,  # noqa: ARG002
        params: types.CreateMessageRequestParams,
    ) -> types.CreateMessageResult | types.ErrorData:
        request = sampling_request(self._name, params)
        if request is None:
            return types.ErrorData(code=types.INVALID_PARAMS, message="Only text is supported")
        return sampling_result(await self._ask(lambda host: host.ask_sampling(request)))

    async def _ask(self, ask: Callable[[McpHost], T | None]) -> T | None:
        """Let the caller's thread ask the user; None where nobody waits for a call."""
        with self._lock:
            caller = self._callers[-1] if self._callers else None
        if caller is None or self._questions >= MAX_WAITING:
            return None
        question = ServerQuestion(ask)
        self._questions += 1
        try:
            caller.question(question)
            answer: T | None = await asyncio.wrap_future(question.answer)
        finally:
            self._questions -= 1
        return answer

    # Errors

    def _forget(self, caller: Caller) -> None:
        with self._lock:
            self._callers.remove(caller)
        caller.leave()

    def _ended(self) -> ToolError:
        return ToolError(
            tr(
                "the MCP server {name} cannot be used: {reason}",
                name=self._name,
                reason=single_line(self.failure or tr("it ended"), 400),
            ),
            tr("`tchat mcp test {name}` tells more", name=self._name),
        )

    def _translated(self, error: BaseException) -> ToolError:
        error = _first(error)
        if isinstance(error, ToolError):
            return error
        is_closed = isinstance(error, MCPError) and error.code == types.CONNECTION_CLOSED
        if is_closed or isinstance(error, CancelledError):
            self._closed.wait(CLOSE_SECONDS)  # why it ended is known then
            return self._ended()
        return ToolError(
            tr(
                "the MCP server {name} answered with an error: {reason}",
                name=self._name,
                reason=self._why(error),
            ),
            tr("call it in another way, or use another tool"),
        )

    def _why(self, error: BaseException) -> str:
        error = _first(error)
        if isinstance(error, ValidationError):
            return tr("what it sends is no valid answer")
        if isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError):
            return tr("it cannot be started: {reason}", reason=error.strerror or "")
        if isinstance(error, MCPError) and self._status:
            return tr(
                "it refuses access (HTTP {status}); `headers` in mcp.json can hold a key",
                status=self._status,
            )
        if isinstance(error, HTTPError):
            return tr("it cannot be reached: {reason}", reason=single_line(str(error), 300))
        text = error.message if isinstance(error, MCPError | TchatError) else str(error)
        return single_line(text, 400) or type(error).__name__


def _first(error: BaseException) -> BaseException:
    """The first error of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _silence_loggers() -> None:
    """Keep what the package logs, with text of servers in it, off the terminal."""
    for name in ("mcp", "client"):
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
