"""`--rpc` and `tchat worker`: addresses, and a build without the RPC backend."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tchat.cli.console import Console
from tchat.cli.main import program
from tchat.engine.binding import Device
from tchat.engine.rpc import workers
from tchat.engine.rpc.server import require_free_port
from tchat.errors import NetworkError, UsageError
from tchat.models.memory import Machine, Memory
from tchat.paths import user_paths
from tchat.settings.endpoints import is_loopback, parse_endpoints
from tchat.tui.services.downloads import Downloads
from tchat.tui.services.model_rows import Fit
from tchat.tui.services.models import ModelService
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


def test_show_counts_the_memory_of_the_workers_of_a_model(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(Memory(60 << 20, 1 << 34))
    monkeypatch.setattr("tchat.chat.machine.this_machine", lambda: machine)
    workers = tuple(
        Device(f"RPC{n}", f"127.0.0.1:{7 + n}", 1 << 29, 1 << 30, False) for n in (0, 1)
    )
    monkeypatch.setattr("tchat.chat.rpc_model.worker_devices", lambda settings, paths: workers)

    def shown() -> dict[str, str]:
        return dict(
            line.split("\t", 1) for line in call("models", "show", "starter").out.splitlines()
        )

    assert shown()["fit"].startswith("it does not fit")
    call("models", "set", "starter", "rpc", "127.0.0.1:7,127.0.0.1:8")
    rows = shown()
    assert rows["workers"] == "127.0.0.1:7, 127.0.0.1:8"
    assert rows["fit"] == "it fits, with its whole context of 8,192 tokens, on the workers"
    assert rows["free on RPC1 at 127.0.0.1:8"] == "0.54 GB"
    found = json.loads(call("models", "show", "starter", "--json").out)
    assert found["workers"] == ["127.0.0.1:7", "127.0.0.1:8"]
    assert found["fit"]["usable"]


def test_workers_that_cannot_be_asked_are_told_where_the_fit_is(call: Call, no_rpc: None) -> None:
    call("models", "set", "starter", "rpc", "127.0.0.1:7")
    ran = call("models", "show", "starter")
    rows = dict(line.split("\t", 1) for line in ran.out.splitlines())
    assert (ran.code, rows["workers"]) == (0, "127.0.0.1:7")
    assert rows["fit"].startswith("this build of llama.cpp has no RPC backend; build it")
    found = json.loads(call("models", "show", "starter", "--json").out)
    assert "fit" not in found
    assert "no RPC backend" in found["workers_fault"]


def test_the_list_of_models_names_the_workers(call: Call) -> None:
    assert json.loads(call("models", "ls", "--json").out)[0]["rpc"] == ""
    call("models", "set", "starter", "rpc", "127.0.0.1:7")
    assert json.loads(call("models", "ls", "--json").out)[0]["rpc"] == "127.0.0.1:7"
    assert call("models", "ls").out.rstrip().endswith(", over 127.0.0.1:7")


def test_the_screen_does_not_judge_by_this_machine_what_is_split_over_others(
    call: Call, home: Path
) -> None:
    paths = user_paths({"TCHAT_HOME": str(home)})
    service = ModelService(paths, None, Downloads(paths), lambda *_, **__: None)
    (row,) = asyncio.run(service.rows(False))
    assert row.fit is Fit.FITS
    call("models", "set", "starter", "rpc", "127.0.0.1:7")
    (row,) = asyncio.run(service.rows(False))
    assert (row.fit, row.speed) == (Fit.UNKNOWN, 0)
    assert row.about.endswith("split over the workers 127.0.0.1:7")


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
