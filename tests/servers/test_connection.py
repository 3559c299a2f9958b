"""Keys and certificates: what goes over the wire, and what does not."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tchat.errors import TchatError
from tchat.servers.errors import ServerError
from tests.servers.asking import ask, backend_of, finished
from tests.servers.fake_server import Answer, FakeServer, json_answer, models, reply, serving

KEY = "sk-abc123DEF456"


def test_the_key_goes_to_the_server_in_a_header(fake: FakeServer) -> None:
    fake.chat(reply("blue"))
    backend = backend_of(fake, key=KEY)
    ask(backend)
    assert {each.headers["authorization"] for each in fake.seen} == {f"Bearer {KEY}"}
    assert all(each.headers["user-agent"].startswith("tchat/") for each in fake.seen)
    assert KEY not in str([each.body for each in fake.seen])
    backend.close()


def test_without_a_key_none_is_sent(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {KEY}\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    fake.chat(reply("blue"))
    backend = backend_of(fake)
    ask(backend)
    assert not [each for each in fake.seen if "authorization" in each.headers]
    backend.close()


@pytest.mark.parametrize(
    "answer",
    [
        json_answer({"error": {"message": f"Incorrect API key provided: {KEY}"}}, 400),
        json_answer({"error": {"message": f"Incorrect API key provided: {KEY}"}}, 401),
        Answer([f'data: {{"error": "no {KEY}"}}\n\n'.encode()]),
        Answer([f"<title>{KEY}</title>".encode()], 500, "text/html"),
    ],
)
def test_no_message_repeats_the_key(answer: Answer, fake: FakeServer) -> None:
    fake.chat(answer)
    backend = backend_of(fake, key=KEY)
    with pytest.raises(TchatError) as caught:
        ask(backend)
    assert KEY not in str(caught.value)
    backend.close()


def test_a_redirect_is_not_followed(fake: FakeServer) -> None:
    with serving() as other:
        fake.chat(Answer([], 307, "text/html", {"location": other.url + "/chat/completions"}))
        backend = backend_of(fake, key=KEY)
        with pytest.raises(ServerError, match="redirects"):
            ask(backend)
        assert other.seen == []
        backend.close()


def test_a_proxy_does_not_lead_to_this_machine(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    fake.chat(reply("blue"))
    backend = backend_of(fake)
    assert finished(ask(backend)).text == "blue"
    backend.close()


@pytest.mark.parametrize(
    ("proxy", "says"),
    [
        ("http://user:hunter2@127.0.0.1:9", "cannot reach lab.invalid"),
        ("nonsense://user:hunter2@x", "the address of a proxy cannot be used"),
        ("socks5://user:hunter2@127.0.0.1:9", "SOCKS proxy needs one more package"),
    ],
)
def test_a_proxy_that_fails_is_one_line(
    proxy: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(TchatError, match=says) as caught:
        ask(backend_of(FakeServer("http://lab.invalid/v1")))
    assert "hunter2" not in str(caught.value)


def test_a_proxy_carries_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy:
        proxy.put("http://lab.invalid/v1/models", models("tiny"))
        proxy.put("http://lab.invalid/v1/chat/completions", reply("blue"))
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        backend = backend_of(FakeServer("http://lab.invalid/v1"))
        assert finished(ask(backend)).text == "blue"
        backend.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for this machine that nobody vouches for, with its key."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    call = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    call += ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    call += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(call, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture
def safe(certificate: Path) -> Iterator[FakeServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(context) as server:
        yield server


def test_a_certificate_that_nobody_vouches_for_is_refused(safe: FakeServer) -> None:
    with pytest.raises(ServerError, match=r"certificate of .* cannot be verified") as caught:
        ask(backend_of(safe, key=KEY))
    assert "SSL_CERT_FILE" in caught.value.hint
    assert safe.seen == []


def test_the_user_may_vouch_for_a_certificate(
    safe: FakeServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    safe.chat(reply("blue"))
    backend = backend_of(safe, key=KEY)
    assert finished(ask(backend)).text == "blue"
    backend.close()


def test_a_server_without_tls_is_one_line(fake: FakeServer) -> None:
    with pytest.raises(ServerError, match=r"TLS fails|cut"):
        ask(backend_of(FakeServer(fake.url.replace("http:", "https:"))))
