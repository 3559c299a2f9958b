"""HTTP to one server: requests that any thread can end at once, and streams of events.

A request runs on a thread of its own and hands over what arrives through a short queue. So whoever
reads it looks every few hundredths of a second whether to stop, also while nothing arrives, and a
server that sends faster than it is read waits. To stop, the socket is shut down.
"""

from __future__ import annotations

import queue
import random
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tchat import __version__
from tchat.egress.egress_log import EgressLog, Purpose, Transfer
from tchat.servers.config import Server
from tchat.servers.errors import (
    ServerError,
    json_value,
    status_error,
    transport_error,
)
from tchat.translation import tr

if TYPE_CHECKING:
    import ssl

    import httpx2

CONNECT_SECONDS = 10.0
LOOK = 0.05  # seconds between two looks whether to stop
MAX_EVENT = 8 << 20  # bytes of one event of a stream
MAX_BODY = 32 << 20  # bytes of an answer that is no stream
MAX_ERROR = 64 << 10  # bytes of an error that are read
WAITING = 256  # pieces that may wait to be read
ATTEMPTS = 5
FIRST_PAUSE = 0.5  # seconds; each next one is twice as long
LONGEST_PAUSE = 60.0
STREAMS = frozenset({"text/event-stream", "text/plain", ""})


@dataclass(frozen=True, slots=True)
class RetryPause:
    """The server is busy, and is tried again after ``seconds``."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The end of a stream; ``is_marked`` by ``[DONE]``, or not."""

    is_marked: bool


_DONE = object()  # the end of an answer


class Stopped(Exception):
    """The user stopped the request."""


@dataclass(slots=True)
class ServerConnection:
    """Requests to one server, one after another or several at a time. Close it.

    Args:
        server: The server.
        egress: Logs what is sent.
        key: Its API key, sent to it alone; empty for none.
        pause: How long to wait before another attempt: by the number of the last one.

    Attributes:
        session: The stored session that requests are made for, for the log.
    """

    server: Server
    egress: EgressLog = field(repr=False)
    key: str = field(default="", repr=False)
    pause: Callable[[int], float] = lambda attempt: (
        FIRST_PAUSE * 2**attempt * random.uniform(1, 1.25)  # noqa: S311
    )
    session: str = ""
    _idle: list[_Lane] = field(default_factory=list)
    _tls: ssl.SSLContext | None = None
    _is_closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def close(self) -> None:
        """Close the connections that no request uses; the others close with their request."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for lane in idle:
            lane.close()

    def give_back(self, lane: _Lane) -> None:
        """Keep a connection open for the next request; called by the thread of the last one."""
        with self._lock:
            if not self._is_closed:
                self._idle.append(lane)
                return
        lane.close_quietly()

    def _lane(self) -> _Lane:
        """A connection that no other request uses: several threads may ask at once."""
        with self._lock:
            return self._idle.pop() if self._idle else _Lane(self)

    def get(self, path: str, is_stopped: Callable[[], bool], seconds: float = 20.0) -> Any:
        """The JSON at ``path``, in ``seconds``; errors as of `stream`.

        A path that begins with ``//`` is one at the root of the server, not of the API.
        """
        return self._value("GET", path, None, is_stopped, seconds)

    def post(
        self, path: str, body: Mapping[str, Any], is_stopped: Callable[[], bool], seconds: float
    ) -> Any:
        """The JSON that answers ``body``, otherwise as `get`."""
        return self._value("POST", path, body, is_stopped, seconds)

    def _value(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        is_stopped: Callable[[], bool],
        seconds: float,
    ) -> Any:
        end = time.monotonic() + seconds
        try:
            found = [
                *self._attempt(method, path, body, lambda: is_stopped() or time.monotonic() > end)
            ]
        except Stopped:
            if is_stopped():
                raise
            raise ServerError(
                tr("{name} answers too slowly", name=self.server.name), tr("try again later")
            ) from None
        return found[0] if found else None

    def stream(
        self, path: str, body: Mapping[str, Any], is_stopped: Callable[[], bool]
    ) -> Iterator[Mapping[str, Any] | RetryPause | StreamEnd]:
        """The events that answer ``body``, as JSON objects, up to ``[DONE]`` or the end.

        An answer that is no stream is one object, without a `StreamEnd`.

        A busy server is tried `ATTEMPTS` times in all, before the first byte of an answer; a
        `RetryPause` says so. Closing the generator ends the request.

        Raises:
            ServerError: It cannot be reached, refuses, or the stream is cut.
            ModelNotFound, PromptTooLong: It says so.
            Stopped: ``is_stopped`` turned true.
        """
        for attempt in range(ATTEMPTS):
            has_begun = False
            try:
                for item in self._attempt("POST", path, body, is_stopped):
                    has_begun = True
                    yield item
            except ServerError as error:
                last = attempt == ATTEMPTS - 1
                if has_begun or last or error.retry_after is None:
                    raise
                seconds = max(error.retry_after, self.pause(attempt))
                if seconds > LONGEST_PAUSE:
                    raise
                yield RetryPause(seconds, error.message)
                end = time.monotonic() + seconds
                while (left := end - time.monotonic()) > 0:
                    if is_stopped():
                        raise Stopped from None
                    time.sleep(min(left, LOOK))
            else:
                return

    def _attempt(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        is_stopped: Callable[[], bool],
    ) -> Iterator[Any]:
        lane = self._lane()
        url = self.server.url
        if path.startswith("//"):
            url, path = url.removesuffix("/v1"), path[1:]
        exchange = _Exchange(lane, method, url + path, body)
        try:
            yield from exchange.items(is_stopped)
        finally:
            exchange.end()

    def begin_transfer(self, host: str, size: int) -> Transfer:
        """Log a request of so many bytes."""
        name, session = self.server.name, self.session
        return self.egress.begin(Purpose.SERVER, host, name=name, session=session, sent=size)

    def tls(self) -> ssl.SSLContext:
        """The context of all connections: it verifies certificates."""
        if self._tls is None and self.server.is_loopback and self.server.url.startswith("http://"):
            import ssl

            # Nothing is encrypted, nor is there a proxy. Reading authorities takes 40 ms: it has
            # none, and so would trust nobody.
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        elif self._tls is None:
            import httpx2

            self._tls = httpx2.create_ssl_context()
        return self._tls


class _Lane:
    """One connection, kept open between requests. Its sockets are known, to shut them down."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self._client: httpx2.Client | None = None
        self._streams: list[Any] = []
        self._is_shut = False

    def open(self, method: str, url: str, body: Mapping[str, Any] | None) -> httpx2.Response:
        """Send a request; the answer's head is there, its body is not read yet."""
        import httpx2

        from tchat.egress.http import send_logged

        server, key = self.connection.server, self.connection.key
        if self._client is None:
            self._client = httpx2.Client(
                verify=self.connection.tls(),
                limits=httpx2.Limits(max_connections=1),
                # A proxy does not lead to this machine. ``.netrc`` is not asked for a password.
                trust_env=not server.is_loopback,
                auth=_send_as_it_is,
            )
        headers = {
            "user-agent": f"tchat/{__version__}",
            "accept": "application/json" if body is None else "text/event-stream, application/json",
            "accept-encoding": "identity",
        }
        if key:
            headers["authorization"] = f"Bearer {key}"
        request = self._client.build_request(
            method,
            url,
            json=body,
            headers=headers,
            timeout=httpx2.Timeout(server.timeout, connect=CONNECT_SECONDS),
            extensions={"trace": self._trace},
        )
        is_reused = bool(self._streams)
        begin = self.connection.begin_transfer
        try:
            return send_logged(self._client, request, begin, stream=True)
        except (httpx2.RemoteProtocolError, httpx2.NetworkError):
            if not is_reused or self._is_shut:
                raise
        # The server closed it since the last request.
        self._streams.clear()
        return send_logged(self._client, request, begin, stream=True)

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember the sockets; called by httpcore."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._streams.append(info["return_value"])
            if self._is_shut:
                self.shut_down()

    def shut_down(self) -> None:
        """End what a thread is reading or writing, from another one."""
        self._is_shut = True
        for stream in [*self._streams]:
            opened = stream.get_extra_info("socket")
            if isinstance(opened, socket.socket):
                with suppress(OSError):
                    # Not of `ssl.SSLSocket`, which would forget its session while it is used.
                    socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def close_quietly(self) -> None:
        """As `close`, after a failure that was told already."""
        with suppress(Exception):
            self.close()


def _send_as_it_is(request: httpx2.Request) -> httpx2.Request:
    return request


class _Exchange:
    """One request on a thread of its own, and what arrives for it."""

    def __init__(self, lane: _Lane, method: str, url: str, body: Mapping[str, Any] | None) -> None:
        self._lane, self._request = lane, (method, url, body)
        self._items: queue.Queue[Any] = queue.Queue(WAITING)
        self._aborted = threading.Event()
        self._is_done = False
        self._has_lane = True
        self._lock = threading.Lock()  # of the lane, which the next request may have taken

    def items(self, is_stopped: Callable[[], bool]) -> Iterator[Any]:
        """The JSON values of the answer."""
        threading.Thread(target=self._run, name="server-request", daemon=True).start()
        while True:
            if is_stopped():
                raise Stopped
            try:
                item = self._items.get(timeout=LOOK)
            except queue.Empty:
                continue
            if item is _DONE:
                self._is_done = True
                return
            if isinstance(item, Exception):
                raise item
            if isinstance(item, StreamEnd):
                self._is_done = True
            yield item
            if self._is_done:
                return

    def end(self) -> None:
        """End the request, unless it has ended."""
        if self._is_done:
            return
        with self._lock:
            self._aborted.set()
            if self._has_lane:
                self._lane.shut_down()

    def _give_back_lane(self) -> None:
        """Raises `Stopped` where it was shut down."""
        with self._lock:
            if self._aborted.is_set():
                raise Stopped
            self._has_lane = False
        self._lane.connection.give_back(self._lane)

    def _put(self, item: Any) -> None:
        while not self._aborted.is_set():
            try:
                self._items.put(item, timeout=LOOK)
            except queue.Full:
                continue
            return
        raise Stopped

    def _run(self) -> None:
        server = self._lane.connection.server
        try:
            with closing(self._values()) as values:
                for item in values:
                    self._put(item)
            # Before the reader learns of the end, who may ask again at once.
            self._give_back_lane()
            self._put(_DONE)
        except Stopped:
            if self._has_lane:
                self._lane.close_quietly()
        except Exception as error:  # noqa: BLE001 - raised again by the reader
            self._lane.close_quietly()
            with suppress(Stopped):
                self._put(_translated(server, error))

    def _values(self) -> Generator[Any, None, None]:
        server = self._lane.connection.server
        response = self._lane.open(*self._request)
        try:
            if self._aborted.is_set():  # it was not connected yet when it was
                raise Stopped
            media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if response.status_code != 200:
                raise status_error(
                    server,
                    response.status_code,
                    media_type,
                    _read_body(server, response, MAX_ERROR, must_end=False),
                    key=self._lane.connection.key,
                    retry_after=response.headers.get("retry-after", ""),
                )
            is_stream = self._request[0] == "POST" and media_type in STREAMS
            if is_stream:
                yield from self._events(response)
            elif "html" in media_type:
                raise _page_error(server)
            else:
                body = _read_body(server, response, MAX_BODY)
                if body.lstrip()[:1] == b"<":
                    raise _page_error(server)
                yield json_value(server, body)
        finally:
            response.close()

    def _events(self, response: httpx2.Response) -> Iterator[Any]:
        """The events of a stream; ends at ``[DONE]``, and with the stream."""
        import httpx2

        from tchat.egress.http import end_logged

        server = self._lane.connection.server
        response.headers["content-type"] = "text/event-stream"
        response.encoding = "utf-8"
        is_marked = False
        try:
            for event in httpx2.EventSource(response, MAX_EVENT):
                data = event.data.strip()
                if is_marked:
                    raise Stopped
                if data == "[DONE]":
                    is_marked = True
                    end_logged(response)  # the process may end before this thread does
                    # Nobody waits for the end itself; it lets the connection be used again.
                    yield StreamEnd(is_marked)
                elif data:
                    yield json_value(server, data)
            if not is_marked:
                yield StreamEnd(is_marked)
        except httpx2.SSEError:
            raise _too_long(server) from None


def _too_long(server: Server) -> ServerError:
    return ServerError(
        tr("{name} sends more at once than a reply can have", name=server.name),
        tr("is it an OpenAI-compatible server?"),
    )


def _page_error(server: Server) -> ServerError:
    return ServerError(
        tr("{host} answers with a web page, not as a model's server", host=server.host),
        tr("check its url, which mostly ends in /v1, and the proxy"),
    )


def _read_body(
    server: Server, response: httpx2.Response, limit: int, *, must_end: bool = True
) -> bytes:
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > limit:
            if must_end:
                raise _too_long(server)
            break
    return bytes(body[:limit])


def _translated(server: Server, error: Exception) -> Exception:
    try:
        return transport_error(server, error) or error
    except Exception as unknown:  # noqa: BLE001 - raised by the reader
        return unknown
