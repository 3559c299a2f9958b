"""Attempts to reach addresses that are not on the internet, with a real server on loopback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tchat.tools.addresses import SocketAddress, is_public
from tchat.tools.fetch_url import fetch_url_tool
from tchat.tools.http_fetch import HttpFetcher
from tchat.tools.tool import ToolError
from tests.egress.user_log import user_log

PRIVATE = "private page"
PUBLIC_ADDRESS = "93.184.215.14"


class Pages:
    """A server on loopback, and a fetcher for which `public.example` lies on the internet."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.redirect = ""
        self.pages: dict[str, tuple[str, bytes]] = {}
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pages.asked.append(self.path)
                if self.path == "/redirect":
                    self.send_response(302)
                    self.send_header("Location", pages.redirect)
                    self.end_headers()
                    return
                if self.path == "/drip":
                    self.send_response(200)
                    self.end_headers()
                    self._drip()
                    return
                kind, data = pages.pages.get(self.path, ("text/plain", PRIVATE.encode()))
                self.send_response(404 if self.path == "/missing" else 200)
                self.send_header("Content-Type", kind)
                if self.path == "/zipped":
                    self.send_header("Content-Encoding", "gzip")
                self.end_headers()
                self.wfile.write(data)

            def _drip(self) -> None:
                try:
                    while True:
                        self.wfile.write(b"x")
                        time.sleep(0.05)
                except OSError:
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                """Nothing: pytest shows it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.connected: list[str] = []

    def connect(self, address: SocketAddress, seconds: float) -> socket.socket:
        """The internet: the public address is this server."""
        self.connected.append(address[1][0])
        host = "127.0.0.1" if address[1][0] == PUBLIC_ADDRESS else address[1][0]
        return socket.create_connection((host, self.port), timeout=seconds)

    def resolve(self, host: str, port: int) -> Sequence[SocketAddress]:
        if host == "public.example":
            return [(socket.AF_INET, (PUBLIC_ADDRESS, port))]
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(family, tuple(address)) for family, _, _, _, address in found]

    def fetcher(self, seconds: float = 10) -> HttpFetcher:
        return HttpFetcher(user_log(), resolve=self.resolve, connect=self.connect, seconds=seconds)

    def text(self, url: str, **options: float) -> str:
        return fetch_url_tool(self.fetcher(**options)).call({"url": url})


@contextmanager
def served() -> Iterator[Pages]:
    pages = Pages()
    thread = threading.Thread(target=pages.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield pages
    finally:
        pages.server.shutdown()
        thread.join()
        pages.server.server_close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Pages]:
    with served() as pages:
        yield pages


@pytest.fixture
def pages(shared: Pages) -> Pages:
    shared.asked.clear()
    shared.connected.clear()
    shared.pages.clear()
    return shared


HOSTS = (
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0",
    "0.0.0.0",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "127.000.000.001",
    "127.255.255.254",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "10.0.0.1",
    "10.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "192.168.257",
    "3232235777",
    "100.64.0.1",
    "169.254.169.254",
    "169.254.43518",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.0.1",
    "198.18.0.1",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::0001]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:169.254.169.254]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:7f00:1::]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fe80::1%lo]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[2001:db8::1]",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
    "\u2460\u2461\u2466.0.0.1",
    "loc\u00adalhost",
)
URLS = (
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "ftp://127.0.0.1/x",
    "gopher://127.0.0.1/x",
    "data:text/plain,x",
    "unix:/var/run/docker.sock",
    "http+unix://%2Fvar%2Frun/x",
    "//127.0.0.1/",
    "127.0.0.1",
    "http:",
    "http://",
    "http:///etc/passwd",
    "http:127.0.0.1/",
    "http://public.example@127.0.0.1/",
    "http://127.0.0.1:80@public.example/",
    "http://public.example\\@127.0.0.1/",
    "http://127.0.0.1\\@public.example/",
    "http://public.example#@127.0.0.1:{port}/../../redirect-none\r\nHost: x",
    "http://public.example/\r\nX-Header: 1",
    "http://public.example/ HTTP/1.1",
    "http://public.example\t/",
    "http://127.0.0.1%2f@public.example/",
    "http://127%2e0.0.1/",
    "http://[::1/",
    "http://[127.0.0.1]/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:-1/",
    "http://127.0.0.1:８０/",
    "http://" + "a" * 5000,
)


@pytest.mark.parametrize("host", HOSTS)
def test_no_private_address_is_reached(pages: Pages, host: str) -> None:
    for url in (f"http://{host}:{pages.port}/", f"https://{host}/"):
        with pytest.raises(ToolError):
            pages.text(url)
    pages.redirect = f"http://{host}:{pages.port}/x"
    with pytest.raises((ToolError, UnicodeError)):
        pages.text("http://public.example/redirect")
    assert "/x" not in pages.asked
    assert set(pages.connected) <= {PUBLIC_ADDRESS}


@pytest.mark.parametrize("url", URLS)
def test_no_other_url_is_fetched(pages: Pages, url: str) -> None:
    with pytest.raises(ToolError):
        pages.text(url.replace("{port}", str(pages.port)))
    assert pages.asked == []
    assert pages.connected == []


@pytest.mark.parametrize(
    "target",
    [
        "//127.0.0.1/x",
        "http:/\\127.0.0.1/x",
        "file:///etc/passwd",
        "http://user@127.0.0.1/x",
        "http://2130706433/x",
        "http://[::ffff:169.254.169.254]/latest/meta-data/",
        "\\\\127.0.0.1\\x",
    ],
)
def test_no_redirect_leads_inside(pages: Pages, target: str) -> None:
    pages.redirect = target
    with pytest.raises(ToolError):
        pages.text("http://public.example/redirect")
    assert pages.asked == ["/redirect"]
    assert pages.connected == [PUBLIC_ADDRESS]


def test_redirects_end(pages: Pages) -> None:
    pages.redirect = "/redirect"
    with pytest.raises(ToolError, match="too many redirects"):
        pages.text("http://public.example/redirect")


def test_a_name_that_changes_its_address_gains_nothing(pages: Pages) -> None:
    """The name is looked up once for a connection, which goes to the address that was judged."""
    answers = [PUBLIC_ADDRESS, "127.0.0.1", "169.254.169.254"]
    looked_up: list[str] = []

    def rebinding(host: str, port: int) -> Sequence[SocketAddress]:
        address = answers[min(len(looked_up), 2)]
        looked_up.append(address)
        return [(socket.AF_INET, (address, port))]

    fetcher = HttpFetcher(user_log(), resolve=rebinding, connect=pages.connect)
    assert fetcher.fetch("http://rebinding.example/").status == 200
    assert pages.connected == [PUBLIC_ADDRESS]
    assert looked_up == [PUBLIC_ADDRESS]
    with pytest.raises(ToolError, match="not on the internet"):
        fetcher.fetch("http://rebinding.example/")
    looked_up.clear()
    pages.redirect = "/x"  # the same name again, which is another address now
    with pytest.raises(ToolError, match="not on the internet"):
        fetcher.fetch("http://rebinding.example/redirect")
    assert "/x" not in pages.asked


def test_one_private_address_among_public_ones_is_enough_to_refuse(pages: Pages) -> None:
    def mixed(host: str, port: int) -> Sequence[SocketAddress]:
        return [(socket.AF_INET, (each, port)) for each in (PUBLIC_ADDRESS, "10.0.0.1")]

    with pytest.raises(ToolError, match="not on the internet"):
        HttpFetcher(user_log(), resolve=mixed, connect=pages.connect).fetch("http://mixed.example/")
    assert pages.connected == []


def test_a_proxy_of_the_environment_is_not_asked(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{pages.port}")
    with pytest.raises(ToolError, match="not on the internet"):
        HttpFetcher(user_log()).fetch("http://169.254.169.254/latest")
    assert pages.asked == []


def test_a_trusted_server_is_trusted_with_its_port_and_not_from_elsewhere(pages: Pages) -> None:
    place = f"127.0.0.1:{pages.port}"
    fetcher = HttpFetcher(
        user_log(), trusted=frozenset({place}), resolve=pages.resolve, connect=pages.connect
    )
    assert fetcher.fetch(f"http://{place}/a").data == PRIVATE.encode()
    pages.redirect = "/b"
    assert fetcher.fetch(f"http://{place}/redirect").url == f"http://{place}/b"
    for url in (f"http://127.0.0.1:{pages.port + 1}/", f"http://localhost:{pages.port}/"):
        with pytest.raises(ToolError, match="not on the internet"):
            fetcher.fetch(url)
    pages.redirect = f"http://{place}/c"
    with pytest.raises(ToolError, match="not on the internet"):
        fetcher.fetch("http://public.example/redirect")
    pages.redirect = "http://127.0.0.2/d"
    with pytest.raises(ToolError, match="not on the internet"):
        fetcher.fetch(f"http://{place}/redirect")


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808"])
def test_public_addresses_are(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", ["", "x", "8.8.8.8%lo", "fe80::1%lo", "1.2.3.4.5", "8.8.8.8/8"])
def test_what_is_no_address_is_not_public(address: str) -> None:
    assert not is_public(address)


def test_the_text_of_a_page(pages: Pages) -> None:
    html = "<title>Caf\xe9</title><script>bad()</script><h1>Menu</h1><ul><li>Tea &amp; milk</ul>"
    pages.pages["/menu"] = ("text/html; charset=latin-1", html.encode("latin-1"))
    assert pages.text("http://public.example/menu") == "Café\n# Menu\n- Tea & milk"
    pages.pages["/data"] = ("application/json", b'{"a": 1}')
    assert pages.text("http://public.example/data") == '{"a": 1}'
    assert pages.text("http://public.example/missing").startswith("[Status 404.]")


def test_a_page_is_bounded_in_size_and_time(pages: Pages) -> None:
    pages.pages["/large"] = ("text/plain", b"x" * (5 << 20))
    text = pages.text("http://public.example/large")
    assert text.endswith("[The page was cut.]")
    assert len(text) < 40_000
    with pytest.raises(ToolError, match="took too long"):
        pages.text("http://public.example/drip", seconds=0.5)
    for path, kind in (("/zipped", "text/plain"), ("/picture", "image/png")):
        pages.pages[path] = (kind, b"\0")
        with pytest.raises(ToolError):
            pages.text(f"http://public.example{path}")


def test_a_connection_that_came_too_late_is_closed(pages: Pages) -> None:
    opened = []

    def late(address: SocketAddress, seconds: float) -> socket.socket:
        connection = pages.connect(address, seconds)
        opened.append(connection)
        time.sleep(seconds)
        return connection

    fetcher = HttpFetcher(user_log(), resolve=pages.resolve, connect=late, seconds=0.2)
    with pytest.raises(ToolError, match="took too long"):
        fetcher.fetch("http://public.example/")
    assert [each.fileno() for each in opened] == [-1]
