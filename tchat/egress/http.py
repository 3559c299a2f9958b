"""Requests of the HTTP client, counted and logged as they leave and come back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2

from tchat.egress.egress_log import Transfer

# A request that failed so has sent nothing of itself.
_UNSENT = (
    *(httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout),
    *(httpx2.ProxyError, httpx2.UnsupportedProtocol),
)

Begin = Callable[[str, int], Transfer]  # a transfer to a host, with bytes to be sent


def send_logged(
    client: httpx2.Client, request: httpx2.Request, begin: Begin, **options: Any
) -> httpx2.Response:
    """As ``client.send``, without following redirects; the transfer ends with the response."""
    transfer = begin(request.url.host, request_size(request))
    try:
        response = client.send(request, follow_redirects=False, **options)
    except BaseException as error:
        _end_failed(transfer, error)
        raise
    transfer.received += _head_size(response)
    assert isinstance(response.stream, httpx2.SyncByteStream)  # noqa: S101 - of a sync client
    response.stream = _CountedStream(response.stream, transfer)
    if response.is_closed or response.is_stream_consumed:
        transfer.end()
    return response


def end_logged(response: httpx2.Response) -> None:
    """End the transfer of a response of `send_logged`, which is read no further."""
    if isinstance(response.stream, _CountedStream):
        response.stream.end_transfer()


class LoggingClient(httpx2.AsyncClient):
    """A client that logs its requests; it follows no redirects.

    Args:
        begin: Begins a transfer.
        options: Those of `httpx2.AsyncClient`.
    """

    def __init__(self, begin: Begin, **options: Any) -> None:
        super().__init__(**options)
        self._begin = begin

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request; the transfer ends with the response."""
        transfer = self._begin(request.url.host, request_size(request))
        try:
            response = await super().send(request, **options)
        except BaseException as error:
            _end_failed(transfer, error)
            raise
        transfer.received += _head_size(response)
        if response.is_closed:
            transfer.received += response.num_bytes_downloaded
            transfer.end()
        else:
            assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101
            response.stream = _CountedAsyncStream(response.stream, transfer)
        return response


def request_size(request: httpx2.Request) -> int:
    """Bytes of a request in HTTP/1.1, with its body where its length is known."""
    target = len(request.url.raw_path) + len(request.method) + len("  HTTP/1.1\r\n\r\n")
    fields = sum(len(name) + len(value) + 4 for name, value in request.headers.raw)
    length = request.headers.get("content-length", "")
    return target + fields + (int(length) if length.isdecimal() else 0)


def _head_size(response: httpx2.Response) -> int:
    fields = sum(len(name) + len(value) + 4 for name, value in response.headers.raw)
    return fields + len("HTTP/1.1 200 \r\n\r\n") + len(response.reason_phrase)


def _end_failed(transfer: Transfer, error: BaseException) -> None:
    if isinstance(error, _UNSENT):
        transfer.sent = 0
    transfer.end()


class _CountedStream(httpx2.SyncByteStream):
    """The body of a response; counts what is read of it, and ends the transfer."""

    def __init__(self, inner: httpx2.SyncByteStream, transfer: Transfer) -> None:
        self._inner, self._transfer = inner, transfer

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._inner:
            self._transfer.received += len(chunk)
            yield chunk

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()
        self.end_transfer()

    def end_transfer(self) -> None:
        """Log what was read until now."""
        self._transfer.end()


class _CountedAsyncStream(httpx2.AsyncByteStream):
    """As `_CountedStream`."""

    def __init__(self, inner: httpx2.AsyncByteStream, transfer: Transfer) -> None:
        self._inner, self._transfer = inner, transfer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._transfer.received += len(chunk)
            yield chunk

    async def aclose(self) -> None:
        """Close the connection."""
        await self._inner.aclose()
        self._transfer.end()
