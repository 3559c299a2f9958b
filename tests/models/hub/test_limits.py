"""What a hub sends is bounded in size and time, and bad addresses show no passwords."""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tchat.errors import UsageError
from tchat.models.hub.api import HubApi
from tchat.models.hub.cache import HubCache, cache_folder
from tchat.models.hub.client import HubError, ResponseLimits
from tchat.models.hub.download import RetryPolicy
from tchat.models.hub.pull import pull
from tchat.models.hub.repository import HubName
from tests.cli.shell import tchat
from tests.egress.user_log import hub_api
from tests.models.hub.pull_stage import MemoryHashes
from tests.models.hub_server import Fault, HubServer

REPO = "someone/Tiny-GGUF"
PASSWORD_PARTS = ("s3", "cr3t")
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BAD_ADDRESSES = (
    "http://user:s3#cr3t@127.0.0.1:9",
    "http://user:s3/cr3t@127.0.0.1:9",
    "http://user:s3?cr3t@127.0.0.1:9",
    "http://user:s3]cr3t@127.0.0.1:9",
    "http://user:s3[cr3t@127.0.0.1:9",
    "http://user:s3cr3t@127.0.0.1:99999",
    "http://user:s3cr3t@127.0.0.1:port",
    "http://[::1",
)

BAD_HOSTS = (
    "a..b",
    ".",
    ".a",
    "x" * 64,
    "x" * 300,
    ".".join(["x" * 60] * 5),
    "ü" * 64,
    "a..b:1",
    "x\udcff",
)

Send = Callable[[Callable[[bytes], None]], None]


@contextlib.contextmanager
def answering(send: Send) -> Iterator[HubApi]:
    """A server that lets ``send`` write each answer, byte by byte if it likes."""
    listener = socket.create_server(("127.0.0.1", 0))
    closing = threading.Event()

    def write(connection: socket.socket, data: bytes) -> None:
        if closing.is_set():
            raise ConnectionAbortedError
        connection.sendall(data)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    send(lambda data: write(connection, data))  # noqa: B023 - used at once

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    limits = ResponseLimits(
        headers=0.5, body=1 << 16, seconds=0.5, slow_bytes=1000, slow_seconds=0.3
    )
    try:
        yield hub_api({"HF_ENDPOINT": f"http://127.0.0.1:{listener.getsockname()[1]}"}, limits)
    finally:
        closing.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def drip(write: Callable[[bytes], None], data: bytes) -> None:
    for byte in data:
        write(bytes([byte]))
        time.sleep(0.05)


def test_a_compressed_answer_is_refused_and_not_unpacked() -> None:
    bomb = gzip.compress(b"[" + b" " * (64 << 20))
    head = JSON_HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with answering(lambda write: write(head + bomb)) as hub, pytest.raises(HubError):
        hub.search("tiny")


def test_an_endless_answer_is_refused() -> None:
    def send(write: Callable[[bytes], None]) -> None:
        write(JSON_HEAD + b"\r\n[")
        while True:
            write(b" " * 65536)

    with answering(send) as hub, pytest.raises(HubError, match=r"the answer .* is too long"):
        hub.search("tiny")


@pytest.mark.parametrize("slow", ["headers", "body"])
def test_an_answer_that_comes_a_byte_at_a_time_is_given_up(slow: str) -> None:
    def send(write: Callable[[bytes], None]) -> None:
        if slow == "body":
            write(JSON_HEAD + b"\r\n")
        drip(write, b"X" * 10_000)

    with answering(send) as hub, pytest.raises(HubError, match="answers too slowly") as raised:
        hub.search("tiny")
    assert raised.value.transient


def test_a_request_given_up_leaves_no_thread_and_no_connection() -> None:
    cut = threading.Semaphore(0)

    def send(write: Callable[[bytes], None]) -> None:
        try:
            drip(write, b"X" * 10_000)
        except OSError:  # the client closed its end
            cut.release()
            raise

    with answering(send) as hub:
        for _ in range(3):
            with pytest.raises(HubError, match="answers too slowly"):
                hub.search("tiny")
            assert cut.acquire(timeout=10)
        requests = [each for each in threading.enumerate() if each.name == "hub-request"]
        for each in requests:
            each.join(10)
        assert not any(each.is_alive() for each in requests)


def test_the_body_of_a_redirect_is_not_read() -> None:
    def send(write: Callable[[bytes], None]) -> None:
        write(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Encoding: gzip\r\n\r\n")
        while True:
            write(b"\0" * 65536)

    with answering(send) as hub, pytest.raises(HubError, match="redirects in a circle"):
        hub.search("tiny")


def test_a_download_that_drips_is_given_up_and_kept(hub_server: HubServer) -> None:
    hub_server.add(REPO, {"tiny-Q4_K_M.gguf": b"x" * 500_000})
    hub_server.pace = 0.2  # 16 KiB each
    hub = hub_api(limits=ResponseLimits(slow_bytes=1 << 20, slow_seconds=0.3))
    retry_policy = RetryPolicy(attempts=2, first_wait=0.0)
    cache = HubCache(cache_folder())
    with pytest.raises(HubError, match="answers too slowly"):
        list(pull(HubName(REPO), hub, cache, hashes=MemoryHashes(), retry_policy=retry_policy))
    [left] = cache.folder(REPO).rglob("*.incomplete")
    assert 0 < left.stat().st_size < 500_000


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_a_bad_endpoint_is_named_without_its_password(address: str) -> None:
    with pytest.raises(HubError, match="HF_ENDPOINT is not a usable URL") as raised:
        hub_api({"HF_ENDPOINT": address}).search("tiny")
    assert not any(part in str(raised.value) for part in PASSWORD_PARTS)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"])
@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_a_bad_proxy_is_named_without_its_password(
    name: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, address)
    with pytest.raises(HubError, match=rf"{name.upper()} is not the URL of a proxy") as raised:
        hub_api({"HF_ENDPOINT": "https://127.0.0.1:9"}).search("tiny")
    assert not any(part in str(raised.value) for part in PASSWORD_PARTS)


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_a_host_that_cannot_be_is_told_of_its_variable(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HubError, match=r"^HF_ENDPOINT is not a usable URL"):
        hub_api({"HF_ENDPOINT": f"http://user:s3cr3t@{host}/"}).search("tiny")
    monkeypatch.setenv("HTTP_PROXY", f"http://user:s3cr3t@{host}")
    with pytest.raises(HubError, match=r"^HTTP_PROXY is not the URL of a proxy") as raised:
        hub_api({"HF_ENDPOINT": "http://127.0.0.1:9"}).search("tiny")
    assert "s3cr3t" not in str(raised.value)


def test_words_that_are_no_unicode_are_told(hub_server: HubServer) -> None:
    with pytest.raises(UsageError, match="not valid Unicode"):
        hub_api().search("x\udcff")


@pytest.mark.parametrize("host", ["a.invalid.", "x" * 63, "ü.invalid", "a_b.invalid", "[::1]:9"])
def test_a_host_that_may_be_is_asked(host: str) -> None:
    with pytest.raises(HubError, match=r"^cannot reach"):
        hub_api({"HF_ENDPOINT": f"http://{host}"}).search("tiny")


@pytest.mark.parametrize(
    "address",
    ["http://a..b/x", "http://%s/" % ("x" * 64), "ftp://127.0.0.1/", "http://a:99999/", "//."],
)
def test_a_redirect_to_no_address_is_told(hub_server: HubServer, address: str) -> None:
    hub_server.fail("api", Fault(302, {"Location": address}))
    with pytest.raises(HubError, match=r"^127\.0\.0\.1 redirects to no usable URL") as raised:
        hub_api().search("tiny")
    assert not raised.value.transient


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "http://user:s3#cr3t@127.0.0.1"),
        ("HF_ENDPOINT", "http://user:s3#cr3t@127.0.0.1"),
        ("HF_HUB_ETAG_TIMEOUT", "s3cr3t"),
    ],
)
def test_the_command_names_a_bad_variable_in_one_line(name: str, value: str) -> None:
    ended = tchat("models", "search", "tiny", env={name: value})
    assert ended.code == 5
    assert ended.err.count("\n") == 1
    assert name in ended.err or "HF_" in ended.err
    assert not any(part in ended.err for part in PASSWORD_PARTS)
    assert "unexpected" not in ended.err


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("pipe", "its file is a pipe or a device"),
        ("device", "its file is a pipe or a device"),
        ("folder", "Is a directory"),
        ("bytes", "its file holds no text"),
    ],
)
def test_a_token_file_that_cannot_be_read_is_told(
    hub_server: HubServer, tmp_path: Path, kind: str, reason: str
) -> None:
    path = tmp_path / "token"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case _:
            path.write_bytes(b"\xff\xfe\xfd")
    environ = {"HF_TOKEN_PATH": str(path), "HF_ENDPOINT": hub_server.url}
    ended = tchat("models", "search", "tiny", env=environ)
    line = f"tchat: the token for the hub cannot be read: {reason}; check HF_TOKEN_PATH"
    assert (ended.code, ended.err.count("\n")) == (5, 1)
    assert ended.err.startswith(line)


@pytest.mark.parametrize(("name", "value"), [("HF_TOKEN", "hf_x"), ("HF_TOKEN_PATH", os.devnull)])
def test_a_pipe_that_is_not_asked_for_the_token_is_left_alone(
    hub_server: HubServer, tmp_path: Path, name: str, value: str
) -> None:
    os.mkfifo(tmp_path / "token")
    environ = {"HF_TOKEN_PATH": str(tmp_path / "token"), "HF_ENDPOINT": hub_server.url, name: value}
    hub_server.add(REPO, {"a.gguf": b"a"})
    ended = tchat("models", "search", "tiny", env=environ)
    assert ended.code == 0
    assert REPO in ended.out


@pytest.mark.parametrize("parent", ["nowhere", ""])
def test_a_key_log_that_cannot_be_written_is_told(tmp_path: Path, parent: str) -> None:
    place = tmp_path / parent / "log" if parent else tmp_path
    environ = {"SSL_CERT_DIR": str(tmp_path), "SSLKEYLOGFILE": str(place)}
    ended = tchat(
        "models",
        "search",
        "tiny",
        env={**environ, "SSL_CERT_FILE": "", "HF_ENDPOINT": "https://127.0.0.1:9"},
    )
    assert (ended.code, ended.err.count("\n")) == (5, 1)
    assert ended.err.startswith("tchat: the file that SSLKEYLOGFILE names cannot be written: ")


def test_a_log_of_the_command_holds_no_password(home: Path) -> None:
    tchat("models", "search", "tiny", env={"HTTPS_PROXY": "http://user:s3cr3t#x@127.0.0.1"})
    logs = [path.read_text() for path in home.rglob("*.log")]
    assert not any("s3cr3t" in text for text in logs)
