"""A server elsewhere: streamable HTTP, with bounds for what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx2
from httpx2 import HTTPError
from mcp.client.streamable_http import streamable_http_client

from tchat.egress.egress_log import EgressLog, Purpose, Transfer
from tchat.egress.http import LoggingClient
from tchat.tools.mcp.messages import MAX_MESSAGE, MessageStream, Pace

if TYPE_CHECKING:
    from mcp.client._transport import WriteStream
    from mcp.shared.message import SessionMessage

    from tchat.tools.mcp.config import ServerConfig

__all__ = ["HTTPError", "http_transport"]

CONNECT_SECONDS = 20.0
READ_SECONDS = 300.0  # of silence in a stream
REQUESTS_PER_SECOND = 50


@asynccontextmanager
async def http_transport(
    config: ServerConfig,
    egress: EgressLog,
    refuse: Callable[[int], None],
) -> AsyncIterator[tuple[MessageStream, WriteStream[SessionMessage]]]:
    """Connect to the server; yield the streams of messages from it and to it.

    Args:
        config: Without variables left in it.
        egress: Logs what is sent.
        refuse: Called with the HTTP status where the server refuses access.

    Raises:
        httpx2.HTTPError: It cannot be reached.
    """
    pace = Pace(REQUESTS_PER_SECOND)

    async def keep_pace(_: httpx2.Request) -> None:
        # A server can make its client connect again at once, for ever.
        await pace.wait()

    async def look_at(response: httpx2.Response) -> None:
        if response.status_code in (401, 403):
            refuse(response.status_code)
        _bound_body(response)

    def begin(host: str, size: int) -> Transfer:
        return egress.begin(Purpose.MCP, host, name=config.short_name, sent=size)

    client = LoggingClient(
        begin,
        # What is not compressed cannot grow.
        headers={**config.headers, "Accept-Encoding": "identity"},
        timeout=httpx2.Timeout(CONNECT_SECONDS, read=READ_SECONDS),
        event_hooks={"request": [keep_pace], "response": [look_at]},
    )
    async with (
        client,
        streamable_http_client(config.url, http_client=client, max_sse_event_size=MAX_MESSAGE) as (
            received,
            outgoing,
        ),
    ):
        yield MessageStream(received), outgoing


def _bound_body(response: httpx2.Response) -> None:
    """Refuse a body that is compressed or, where it is no stream of events, too large."""
    assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - of an async client
    is_compressed = response.headers.get("content-encoding", "identity") != "identity"
    is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
    if is_compressed or not is_stream:
        response.stream = _BoundedBody(response.stream, 0 if is_compressed else MAX_MESSAGE)


class _BoundedBody(httpx2.AsyncByteStream):
    """A body of at most so many bytes; a larger one fails its own request only."""

    def __init__(self, inner: httpx2.AsyncByteStream, most: int) -> None:
        self._inner = inner
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._inner:
            size += len(chunk)
            if size > self._most:
                raise httpx2.StreamError("the answer is too large or compressed")
            yield chunk

    async def aclose(self) -> None:
        """Close the connection."""
        await self._inner.aclose()
