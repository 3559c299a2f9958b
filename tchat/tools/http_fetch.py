"""Fetch a page over HTTP, within bounds, from public addresses only.

A host's name is resolved once, every address that it has is judged, and the connection goes to
one of these: a name that means another address a moment later gains nothing. That holds for each
redirect too. Proxies of the environment are not used, since they would resolve names themselves.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from tchat.egress.egress_log import EgressLog, Purpose, Transfer
from tchat.sanitize import single_line
from tchat.tools.addresses import SocketAddress, addresses_of, is_public
from tchat.tools.tool import ToolError
from tchat.translation import tr

PORTS = {"http": 80, "https": 443}
MAX_SIZE = 4 << 20  # bytes
MAX_URL = 4096  # characters
SECONDS = 20.0  # for everything, redirects included
MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class HttpPage:
    """What a server sent.

    Attributes:
        url: Where it came from in the end.
        status: The status code.
        media_type: Such as ``text/html``, in lower case.
        encoding: What the server says; empty when it says nothing.
        data: At most the fetcher's ``max_size`` bytes.
        is_cut: Whether there was more.
    """

    url: str
    status: int
    media_type: str
    encoding: str
    data: bytes
    is_cut: bool


def _connect(address: SocketAddress, seconds: float) -> socket.socket:
    family, target = address
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect(target)
    except BaseException:
        connection.close()
        raise
    return connection


@dataclass(frozen=True, slots=True)
class HttpFetcher:
    """Fetches pages.

    Attributes:
        egress: Logs what is requested.
        trusted: ``host:port`` of servers whose private address the user allows. A redirect from
            elsewhere does not lead to them.
        seconds: The limit for one page.
        max_size: Bytes of a page.
        resolve: Looks a host's name up.
        connect: Opens a connection to an address that was judged.
    """

    egress: EgressLog
    trusted: frozenset[str] = frozenset()
    seconds: float = SECONDS
    max_size: int = MAX_SIZE
    resolve: Callable[[str, int], Sequence[SocketAddress]] = addresses_of
    connect: Callable[[SocketAddress, float], socket.socket] = field(default=_connect)

    def fetch(self, url: str) -> HttpPage:
        """The page at ``url``, after redirects.

        Raises:
            ToolError: The URL or an address is refused, or the server fails or takes too long.
        """
        end = time.monotonic() + self.seconds
        trusted = self.trusted
        for _ in range(MAX_REDIRECTS + 1):
            target = _parsed(url)
            place = f"{target.host}:{target.port}"
            addresses = self._addresses(target.host, target.port, is_trusted=place in trusted)
            transfer = self.egress.begin(Purpose.TOOL, target.host, name="fetch_url")
            try:
                connection = self._open(target.host, addresses, end)
                page, location = self._exchange(connection, target, end, transfer)
            finally:
                transfer.end()
            if location is None:
                return page
            trusted &= {place}
            url = urljoin(url, location)
        raise ToolError(tr("there are too many redirects"), tr("name the page itself"))

    def _addresses(self, host: str, port: int, *, is_trusted: bool) -> Sequence[SocketAddress]:
        """Where a connection may go."""
        try:
            addresses = self.resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise _unreachable(host, error) from error
        if not is_trusted and not all(is_public(str(each[1][0])) for each in addresses):
            raise ToolError(
                tr("{host} is not on the internet", host=single_line(host)),
                tr("only public addresses are fetched"),
            )
        return addresses

    def _open(self, host: str, addresses: Sequence[SocketAddress], end: float) -> socket.socket:
        failure: OSError = OSError(tr("it has no address"))
        for address in addresses:
            try:
                return self.connect(address, _left(end))
            except OSError as error:
                failure = error
        raise _unreachable(host, failure) from failure

    def _exchange(
        self, connection: socket.socket, target: _Target, end: float, transfer: Transfer
    ) -> tuple[HttpPage, str | None]:
        """Ask for a page; with the place that it redirects to, if it does."""
        parts, host, _ = target
        # A server that sends a byte now and then would outlast any limit of one read.
        sockets = [connection]
        watchdog = threading.Timer(max(0.0, end - time.monotonic()), _shut_down, [sockets])
        watchdog.daemon = True
        try:
            watchdog.start()
            connection.settimeout(_left(end))
            if parts.scheme == "https":
                context = ssl.create_default_context()
                stream = context.wrap_socket(
                    connection, server_hostname=host, do_handshake_on_connect=False
                )
                sockets.append(stream)
                stream.do_handshake()
            return self._ask(sockets[-1], target, end, transfer)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if time.monotonic() >= end:
                raise _too_slow() from error
            raise _unreachable(host, error) from error
        finally:
            watchdog.cancel()
            for each in sockets:
                each.close()

    def _ask(
        self, stream: socket.socket, target: _Target, end: float, transfer: Transfer
    ) -> tuple[HttpPage, str | None]:
        parts, host, port = target
        client = http.client.HTTPConnection(host, port)
        client.sock = stream
        asked = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        if parts.query:
            asked += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
        # The Host header is made from the host and the port of the connection.
        default = port == PORTS[parts.scheme]
        name = f"[{host}]" if ":" in host else host
        fields = {
            "Host": name if default else f"{name}:{port}",
            "User-Agent": "tchat",
            "Accept": "text/html, text/plain, application/json, text/*;q=0.9",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        client.putrequest("GET", asked, skip_host=True, skip_accept_encoding=True)
        for field_name, value in fields.items():
            client.putheader(field_name, value)
        transfer.sent = len(f"GET {asked} HTTP/1.1\r\n\r\n")
        transfer.sent += sum(len(each) + len(value) + 4 for each, value in fields.items())
        client.endheaders()
        response = client.getresponse()
        transfer.received = len(response.headers.as_bytes())
        with response:
            location = response.getheader("Location")
            if response.status in _REDIRECTS and location:
                page = HttpPage(parts.geturl(), response.status, "", "", b"", is_cut=False)
                return page, location
            if response.getheader("Content-Encoding", "identity").lower() != "identity":
                raise ToolError(tr("the server sent compressed data"), tr("name another page"))
            data = response.read(self.max_size + 1)
            transfer.received += len(data)
            _left(end)  # the watchdog's end of the connection looks like the end of the page
            page = HttpPage(
                url=parts.geturl(),
                status=response.status,
                media_type=response.headers.get_content_type(),
                encoding=response.headers.get_content_charset() or "",
                data=data[: self.max_size],
                is_cut=len(data) > self.max_size,
            )
            return page, None


class _Target(NamedTuple):
    parts: SplitResult
    host: str
    port: int


def _parsed(url: str) -> _Target:
    """The parts of a URL that may be fetched, its host and its port."""
    if len(url) > MAX_URL or any(ord(each) <= 32 or ord(each) == 127 for each in url):
        raise _refused(url)
    if "\\" in url:
        raise _refused(url)  # browsers read it as a slash, which makes another host
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _refused(url) from error
    if parts.scheme not in PORTS or not host or parts.username is not None:
        raise _refused(url)
    if "%" in host or port == 0:
        raise _refused(url)
    return _Target(parts, host, PORTS[parts.scheme] if port is None else port)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise _too_slow()
    return left


def _shut_down(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        with suppress(OSError):  # TLS took the first one over
            each.shutdown(socket.SHUT_RDWR)


def _too_slow() -> ToolError:
    return ToolError(tr("the server took too long"), tr("try it again later"))


def _refused(url: str) -> ToolError:
    return ToolError(
        tr("{url} is not fetched", url=single_line(url)),
        tr("name an http or https URL without user name and password"),
    )


def _unreachable(host: str, error: Exception) -> ToolError:
    return ToolError(
        tr("cannot fetch from {host}: {reason}", host=single_line(host), reason=_reason(error)),
        tr("check the URL and the network"),
    )


def _reason(error: Exception) -> str:
    return single_line(str(getattr(error, "strerror", None) or error or type(error).__name__))
