"""The messages from a server, at a bearable pace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
from mcp_types import JSONRPCResponse

if TYPE_CHECKING:
    from contextvars import Context
    from types import TracebackType

    from mcp.shared._stream_protocols import ReadStream
    from mcp.shared.message import SessionMessage

MAX_MESSAGE = 8 << 20  # bytes of one message
PER_SECOND = 500  # messages; a server that sends more waits


class Pace:
    """Lets so many things through in a second; more wait for the next."""

    def __init__(self, per_second: int) -> None:
        self._most = per_second
        self._start = 0.0
        self._count = 0

    async def wait(self) -> None:
        """Wait for a turn."""
        now = anyio.current_time()
        if now - self._start >= 1:
            self._start, self._count = now, 0
        self._count += 1
        if self._count > self._most:
            await anyio.sleep(max(0.0, self._start + 1 - now))


class MessageStream:
    """The stream of messages from a server, as the session of the package `mcp` reads it.

    More than `PER_SECOND` wait: a flood costs the server's time. Schemas of results are taken out:
    the session would validate by them, and a regular expression in one could take for ever.
    """

    def __init__(self, inner: ReadStream[SessionMessage | Exception]) -> None:
        self._inner = inner
        self._pace = Pace(PER_SECOND)

    @property
    def last_context(self) -> Context | None:
        """The context of who sent the last message, where the transport keeps it."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        """The next message.

        Raises:
            anyio.EndOfStream: There are no more.
        """
        await self._pace.wait()
        item = await self._inner.receive()
        if not isinstance(item, Exception) and isinstance(item.message, JSONRPCResponse):
            _drop_output_schemas(item.message.result)
        return item

    async def aclose(self) -> None:
        """End the stream."""
        await self._inner.aclose()

    def __aiter__(self) -> MessageStream:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> MessageStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _drop_output_schemas(result: dict[str, Any]) -> None:
    tools = result.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict):
            tool.pop("outputSchema", None)
