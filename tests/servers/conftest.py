from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tchat.engine.binding import Cancel
from tchat.servers.backend import ServerBackend
from tests.servers.asking import backend_of
from tests.servers.fake_server import FakeServer, serving


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serving() as server:
        yield server


@pytest.fixture
def cancel() -> Cancel:
    return Cancel()


@pytest.fixture
def backend(fake: FakeServer, cancel: Cancel) -> Iterator[ServerBackend]:
    """A model on the fake, of which it tells nothing more."""
    made = backend_of(fake, cancel)
    yield made
    made.close()


@pytest.fixture
def hold() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()
