"""Ask a backend in tests, and read its events."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any, TypeVar

from tchat.engine.binding import Cancel
from tchat.engine.events import Event, Finished, Notice, ReasoningDelta, TextDelta
from tchat.engine.prompt import ChatMessage
from tchat.servers.backend import ServerBackend
from tchat.servers.config import Server, ServerModel
from tchat.settings import Sampling
from tests.egress.user_log import user_log
from tests.servers.fake_server import SOON, FakeServer

T = TypeVar("T")

QUESTION = [ChatMessage("user", "Why is the sky blue?")]


def backend_of(
    fake: FakeServer, cancel: Cancel | None = None, *, key: str = "", model: str = "", **more: Any
) -> ServerBackend:
    server = Server("box", fake.url, **{"ctx_size": 4096, **more})
    made = ServerBackend(ServerModel(server, model), key, user_log(), cancel or Cancel())
    made._connection.pause = lambda attempt: 0.01
    return made


def ask(backend: ServerBackend, sampling: Sampling | None = None, **options: Any) -> list[Event]:
    return list(backend.generate(QUESTION, sampling or Sampling(), **options))


def finished(events: Iterable[Event]) -> Finished:
    return only(events, Finished)


def only(events: Iterable[Event], kind: type[T]) -> T:
    (found,) = (event for event in events if isinstance(event, kind))
    return found


def notices(events: Iterable[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def text_of(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def reasoning_of(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReasoningDelta))


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("server-")]


def wait_for_threads() -> None:
    """Wait until no thread of a request is left."""
    end = time.monotonic() + SOON
    while threads() and time.monotonic() < end:
        time.sleep(0.01)
    assert threads() == []
