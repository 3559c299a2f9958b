"""Real workers on loopback; they need a build of llama.cpp with the RPC backend.

``CMAKE_ARGS=-DGGML_RPC=on pip install --force-reinstall --no-deps --no-cache-dir
--no-binary llama-cpp-python llama-cpp-python``, then ``pytest -m long tests/engine/rpc``.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tchat.engine.binding import Cancel
from tchat.engine.engine import Engine
from tchat.engine.events import TextDelta
from tchat.engine.loading import EngineOptions
from tchat.engine.prompt import ChatMessage
from tchat.engine.rpc import process
from tchat.engine.rpc.engine import RpcEngine
from tchat.engine.rpc.process import EngineProcess
from tchat.engine.rpc.workers import require_rpc
from tchat.errors import NetworkError
from tchat.models.metadata import read_metadata
from tchat.settings import Sampling
from tests.cli.shell import tchat
from tests.engine.conftest import finished, streamed
from tests.engine.rpc.worker_process import Worker

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

HELLO = [ChatMessage("user", "Tell a long story about a fox and a hen.")]
GREEDY = Sampling(temp=0, max_tokens=40)
LONG = Sampling(temp=0, max_tokens=400)


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    require_rpc()
    started = [Worker(), Worker()]
    yield started
    for each in started:
        each.end()


@pytest.fixture
def options(starter_model: Path, workers: list[Worker]) -> EngineOptions:
    return EngineOptions(
        path=starter_model,
        template=read_metadata(starter_model).chat_template,
        ctx_size=1024,
        threads=1,
        rpc=tuple(each.endpoint for each in workers),
        rpc_timeout=60,
    )


def test_two_workers_write_what_one_machine_writes(options: EngineOptions) -> None:
    with RpcEngine(options) as there, Engine(options) as here:
        theirs, ours = (finished(each.generate(HELLO, GREEDY)) for each in (there, here))
    assert theirs.text == ours.text
    assert theirs.usage == ours.usage


def test_the_command_writes_through_workers(workers: list[Worker], home: Path) -> None:
    endpoints = ",".join(each.endpoint for each in workers)
    ran = tchat("--rpc", endpoints, "--temp", "0", "--max-tokens", "8", "Say hi")
    assert (ran.code, ran.err.count("\n")) == (0, 1)  # that it was cut off
    assert ran.out
    workers[1].end()
    ran = tchat("--rpc", endpoints, "--temp", "0", "Say hi")
    assert ran.code == 5
    assert f"no worker answers at {workers[1].endpoint}" in ran.err
    assert ran.err.count("\n") == 1
    workers[1].start()
    assert tchat("--rpc", endpoints, "-c", "--max-tokens", "8", "Say hi").code == 0


def test_the_command_calls_tools_through_workers(workers: list[Worker], home: Path) -> None:
    endpoints = ",".join(each.endpoint for each in workers)
    call = ["--rpc", endpoints, "-T", "calculator", "--tool-choice", "calculator"]
    ran = tchat(*call, "--temp", "0", "--max-tokens", "40", "What is 12*34?")
    assert ran.code == 0, ran.err
    assert "calculator 12*34" in ran.err
    assert ran.out
    assert "408" in tchat("sessions", "show", "last", "--json").out


def test_a_worker_killed_at_any_time_is_one_error_and_can_come_back(
    options: EngineOptions, workers: list[Worker]
) -> None:
    chance = random.Random(7)
    engine = RpcEngine(options)
    for _ in range(20):
        victim, delay = chance.choice(workers), chance.uniform(0, 3)
        if chance.random() < 0.5:
            engine.close()  # so that it comes while the model loads, too
        killer = threading.Timer(delay, victim.end)
        killer.start()
        told = error_of(engine)
        killer.join()
        if told:
            assert victim.endpoint in told
            assert "\n" not in told
        victim.start()
        assert finished(engine.generate(HELLO, GREEDY)).text
    engine.close()


def error_of(engine: RpcEngine) -> str:
    """What a long reply is ended by; empty when it comes to its end."""
    try:
        assert streamed(engine.generate(HELLO, LONG))
    except NetworkError as error:
        return str(error)
    return ""


def test_a_worker_that_hangs_is_given_up(
    options: EngineOptions, workers: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    with RpcEngine(replace(options, rpc_timeout=3)) as engine:
        reply = engine.generate(HELLO, LONG)
        next(event for event in reply if isinstance(event, TextDelta))
        workers[0].signal(signal.SIGSTOP)
        with pytest.raises(NetworkError, match="did not answer for 3 s"):
            list(reply)
        monkeypatch.setattr(process, "CONNECT_SECONDS", 2)
        with pytest.raises(NetworkError, match=f"{workers[0].endpoint} does not answer"):
            list(engine.generate(HELLO, GREEDY))
        workers[0].signal(signal.SIGCONT)
        monkeypatch.undo()
        assert finished(engine.generate(HELLO, GREEDY)).text


def test_a_worker_that_serves_another_program_is_told(
    options: EngineOptions, workers: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    with RpcEngine(options) as first, RpcEngine(options) as second:
        assert finished(first.generate(HELLO, GREEDY)).text
        monkeypatch.setattr(process, "CONNECT_SECONDS", 2)
        with pytest.raises(NetworkError, match="serves one program at a time"):
            list(second.generate(HELLO, GREEDY))
        monkeypatch.undo()
        first.close()
        assert finished(second.generate(HELLO, GREEDY)).text


def hello_of_version_6(connection: socket.socket) -> None:
    """Answer the first command of a client as an older server would."""
    head = connection.recv(9, socket.MSG_WAITALL)
    (size,) = struct.unpack("<Q", head[1:])
    connection.recv(size, socket.MSG_WAITALL)
    answer = bytes([6, 1, 0]).ljust(size + 3, b"\0")
    connection.sendall(struct.pack("<Q", size + 4) + answer.ljust(size + 4, b"\0"))
    connection.recv(1)


def hang_up(connection: socket.socket) -> None:
    """End the connection at once."""


def page(connection: socket.socket) -> None:
    """Answer as a web server would."""
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>no</html>")


@pytest.mark.parametrize("serve", [hello_of_version_6, hang_up, page])
def test_what_is_no_worker_of_this_version_is_told(serve: Callable[[socket.socket], None]) -> None:
    require_rpc()
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"127.0.0.1:{server.getsockname()[1]}"

        def accept() -> None:
            connection, _ = server.accept()
            with connection:
                serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        child = EngineProcess((endpoint,), Cancel())
        try:
            with pytest.raises(NetworkError) as raised:
                list(child.connect())
        finally:
            child.close()
    told = str(raised.value)
    assert endpoint in told
    assert "\n" not in told
    assert "llama.cpp's RPC" in told


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_worker_ends_by_a_signal(number: signal.Signals, code: int) -> None:
    require_rpc()
    worker = Worker()
    worker.signal(number)
    assert worker.process.wait(10) == code


def test_a_chat_ended_by_a_signal_leaves_its_worker_free(
    workers: list[Worker], starter_model: Path
) -> None:
    endpoints = ",".join(each.endpoint for each in workers)
    call = [sys.executable, "-m", "tchat", "--rpc", endpoints, "--temp", "0", "Count to 1000"]
    chat = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ)
    assert chat.stdout is not None
    chat.stdout.read(1)
    chat.kill()
    chat.communicate()
    assert tchat("--rpc", endpoints, "--max-tokens", "4", "Say hi").code == 0
