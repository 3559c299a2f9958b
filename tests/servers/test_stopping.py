"""Stopping a request at once, from another thread; connections that are kept and lost.

Without a stop the answers take half a minute.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tchat.engine.binding import Cancel
from tchat.engine.events import Reason, TextDelta
from tchat.errors import TchatError
from tchat.servers.backend import ServerBackend
from tchat.servers.connection import ServerConnection
from tchat.servers.errors import ServerError
from tchat.settings import Sampling
from tests.servers.asking import QUESTION, ask, backend_of, finished, wait_for_threads
from tests.servers.fake_server import SOON, Answer, FakeServer, models, piece, reply, sse


def test_a_reply_is_stopped_while_nothing_comes(
    fake: FakeServer, backend: ServerBackend, cancel: Cancel, hold: threading.Event
) -> None:
    fake.chat(Answer(sse(piece("Blue"), done=False), hold=hold))
    events = backend.generate(QUESTION, Sampling())
    assert next(event for event in events if isinstance(event, TextDelta)).text == "Blue"
    started = time.monotonic()
    threading.Timer(0.2, cancel.set).start()
    end = finished(events)
    assert time.monotonic() - started < SOON
    assert (end.reason, end.text) == (Reason.CANCELLED, "Blue")
    wait_for_threads()


def test_a_reply_is_stopped_before_the_answer_begins(
    fake: FakeServer, backend: ServerBackend, cancel: Cancel, hold: threading.Event
) -> None:
    def late(_: object) -> Answer:
        hold.wait(30)
        return reply("It is blue")

    fake.chat(late)
    started = time.monotonic()
    threading.Timer(0.2, cancel.set).start()
    end = finished(ask(backend))
    assert time.monotonic() - started < SOON
    assert (end.reason, end.text) == (Reason.CANCELLED, "")
    wait_for_threads()


def test_a_reply_is_stopped_while_it_is_asked_for_the_model(
    fake: FakeServer, backend: ServerBackend, cancel: Cancel, hold: threading.Event
) -> None:
    def late(_: object) -> Answer:
        hold.wait(30)
        return models("tiny")

    fake.put("/v1/models", late)
    threading.Timer(0.2, cancel.set).start()
    assert finished(ask(backend)).reason is Reason.CANCELLED


def test_a_reply_is_stopped_before_another_attempt(
    fake: FakeServer, backend: ServerBackend, cancel: Cancel
) -> None:
    fake.chat(Answer([b"{}"], 503, "application/json", {"retry-after": "30"}))
    threading.Timer(0.2, cancel.set).start()
    started = time.monotonic()
    assert finished(ask(backend)).reason is Reason.CANCELLED
    assert time.monotonic() - started < SOON


def test_the_server_learns_that_nobody_reads(
    fake: FakeServer, backend: ServerBackend, cancel: Cancel
) -> None:
    sent = []

    def pieces() -> Iterator[bytes]:
        for n in range(10_000):
            sent.append(n)
            yield from sse(piece("word " * 50), done=False)
            time.sleep(0.01)

    fake.chat(Answer(pieces()))
    events = backend.generate(QUESTION, Sampling())
    next(event for event in events if isinstance(event, TextDelta))
    cancel.set()
    assert finished(events).reason is Reason.CANCELLED
    wait_for_threads()
    end = time.monotonic() + SOON
    count = -1
    while count != len(sent) and time.monotonic() < end:
        count = len(sent)
        time.sleep(0.2)
    assert count < 5_000


def test_closing_the_events_ends_the_request(
    fake: FakeServer, backend: ServerBackend, hold: threading.Event
) -> None:
    fake.chat(Answer(sse(piece("Blue"), done=False), hold=hold))
    events = backend.generate(QUESTION, Sampling())
    next(event for event in events if isinstance(event, TextDelta))
    events.close()  # type: ignore[attr-defined]  # it is a generator
    wait_for_threads()


def test_a_fast_server_waits_for_a_slow_reader(fake: FakeServer, backend: ServerBackend) -> None:
    sent = []

    def pieces() -> Iterator[bytes]:
        for n in range(4_000):
            sent.append(n)
            yield from sse(piece("x" * 4000), done=False)

    fake.chat(Answer(pieces()))
    events = backend.generate(QUESTION, Sampling())
    next(event for event in events if isinstance(event, TextDelta))
    time.sleep(0.5)
    assert len(sent) < 3_900
    events.close()  # type: ignore[attr-defined]
    wait_for_threads()


def test_the_next_request_takes_the_same_connection(
    fake: FakeServer, backend: ServerBackend
) -> None:
    fake.chat(reply("It is blue"))
    for _ in range(3):
        ask(backend)
        wait_for_threads()
    assert fake.connections == 1


def test_a_request_finds_the_connection_of_the_last_one(
    fake: FakeServer, backend: ServerBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_back = ServerConnection.give_back

    def late(*args: Any) -> None:
        time.sleep(0.2)
        give_back(*args)

    monkeypatch.setattr(ServerConnection, "give_back", late)
    for _ in range(3):
        backend.require_answer(SOON)
    assert fake.connections == 1


def test_connections_are_closed_with_the_backend(
    fake: FakeServer, backend: ServerBackend, hold: threading.Event
) -> None:
    fake.chat(Answer(sse(piece("Blue", end="stop")), hold=hold))  # behind its end it goes on
    assert finished(ask(backend)).text == "Blue"
    backend.close()
    hold.set()
    wait_for_threads()
    fake.wait_for_closed()


def test_after_a_stop_the_next_reply_comes(
    fake: FakeServer, backend: ServerBackend, cancel: Cancel, hold: threading.Event
) -> None:
    fake.chat(Answer(sse(piece("Bl"), done=False), hold=hold), reply("It is blue"))
    threading.Timer(0.2, cancel.set).start()
    ask(backend)
    cancel.clear()
    assert finished(ask(backend)).text == "It is blue"


def test_a_connection_that_the_server_closed_is_opened_again(
    fake: FakeServer, backend: ServerBackend
) -> None:
    whole = sse(piece("It is blue"), piece(end="stop"))
    fake.chat(Answer(whole, headers={"connection": "keep-alive"}, cut=True), reply("Still blue"))
    fake.put("/v1/models", models("tiny"))
    ask(backend)
    wait_for_threads()
    assert finished(ask(backend)).text == "Still blue"


def test_nobody_there_is_one_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ServerError, match=r"cannot reach 127\.0\.0\.1:") as caught:
        ask(backend_of(FakeServer(url)))
    assert caught.value.exit_code == 5
    assert caught.value.hint == "is it running?"


def test_an_unknown_host_is_one_line() -> None:
    with pytest.raises(ServerError, match=r"cannot reach nowhere\.invalid"):
        ask(backend_of(FakeServer("http://nowhere.invalid/v1")))


def test_silence_is_given_up_after_the_timeout(fake: FakeServer, hold: threading.Event) -> None:
    fake.chat(Answer(sse(piece("Blue"), done=False), hold=hold))
    with pytest.raises(ServerError, match=r"box sent nothing for 0\.3 seconds"):
        ask(backend_of(fake, timeout=0.3))


def test_other_protocols_are_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        with pytest.raises(TchatError, match="was cut"):
            ask(backend_of(FakeServer(url)))
