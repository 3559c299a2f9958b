"""`--rpc` and `tchat worker`: addresses, and a build without the RPC backend."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tchat.cli.console import Console
from tchat.cli.main import program
from tchat.engine.rpc import workers
from tchat.engine.rpc.server import require_free_port
from tchat.errors import NetworkError, UsageError
from tchat.settings.endpoints import is_loopback, parse_endpoints
from tests.cli.shell import Ran

Call = Callable[..., Ran]


@pytest.fixture
def call(home: Path) -> Call:
    """The program in this process, with the engine itself."""

    def run(*args: str) -> Ran:
        stdout, stderr = io.StringIO(), io.StringIO()
        environ = {"TCHAT_HOME": str(home), "TERM": "dumb"}
        code = program(args, Console(io.BytesIO(), stdout, stderr, environ))
        return Ran(code, stdout.getvalue(), stderr.getvalue())

    return run


@pytest.fixture
def no_rpc(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of llama.cpp without the RPC backend."""
    monkeypatch.setattr(workers, "has_rpc", lambda: False)


def test_addresses_have_a_port_each() -> None:
    assert parse_endpoints("") == ()
    assert parse_endpoints("127.0.0.1, gpu-box.lan:7") == ("127.0.0.1:50052", "gpu-box.lan:7")


@pytest.mark.parametrize(
    "text",
    [
        *("a b", "a:", ":1", "a:0", "a:65536", "[::1]:5", "a:1,", "a:1,a:1", "é:1", "a:1;b:2"),
        ",".join(f"h{n}:1" for n in range(17)),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_endpoints(text)


@pytest.mark.parametrize(
    ("host", "stays"),
    [
        ("127.0.0.1:5", True),
        ("127.9.9.9", True),
        ("localhost:5", True),
        ("0.0.0.0", False),
        ("127.0.0.1.evil.example:5", False),
        ("localhost.evil.example", False),
        ("10.0.0.1:5", False),
    ],
)
def test_loopback_is_told_by_the_whole_address(host: str, stays: bool) -> None:
    assert is_loopback(host) is stays


def test_an_open_address_is_refused_on_both_sides(call: Call) -> None:
    for arguments in (["--rpc", "10.0.0.1:7", "hi"], ["worker", "--host", "0.0.0.0"]):
        ran = call(*arguments)
        assert ran.code == 2
        assert "not a loopback address; llama.cpp's RPC has no authentication" in ran.err
        assert "--insecure-address" in ran.err
        assert ran.err.count("\n") == 1


def test_a_build_without_rpc_names_the_command_that_brings_it(call: Call, no_rpc: None) -> None:
    for arguments in (["--rpc", "127.0.0.1:7", "hi"], ["worker"]):
        ran = call(*arguments)
        assert ran.code == 3
        assert "this build of llama.cpp has no RPC backend" in ran.err
        assert "CMAKE_ARGS=" in ran.err
        assert "-DGGML_RPC=on" in ran.err
        assert ran.err.count("\n") == 1


def test_a_model_can_have_workers_of_its_own(call: Call, no_rpc: None) -> None:
    assert call("models", "set", "starter", "rpc", "127.0.0.1:7").code == 0
    assert call("hi").code == 3
    assert call("models", "set", "starter", "rpc", "a b").code == 2


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NetworkError, match="no worker can listen at"):
            require_free_port("127.0.0.1", port)
    require_free_port("127.0.0.1", port)


def test_doctor_tells_how_to_build_rpc(call: Call, no_rpc: None) -> None:
    (line,) = (each for each in call("doctor").out.splitlines() if each.split()[2:3] == ["rpc"])
    assert "CMAKE_ARGS=" in line
    assert "-DGGML_RPC=on" in line
    assert "--no-cache-dir" in line
