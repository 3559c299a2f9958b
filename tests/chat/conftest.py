"""Chats on the tiny model, closed after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tchat.chat.chat import Chat
from tchat.paths import Paths, user_paths
from tchat.sessions.store import SessionStore
from tchat.settings import Sampling, Settings
from tests.chat.tool_turns import force, hermes, open_tools  # noqa: F401 - fixtures

OpenChat = Callable[..., Chat]


@pytest.fixture(autouse=True)
def _probe_once(probe_once: None) -> None:
    """A probe takes longer than most of these tests."""


@pytest.fixture
def paths() -> Paths:
    """The folders of this test."""
    return user_paths()


@pytest.fixture
def store(paths: Paths) -> Iterator[SessionStore]:
    """The sessions of this test, in a file."""
    with SessionStore(paths.sessions_db) as opened:
        yield opened


@pytest.fixture
def open_chat(paths: Paths, store: SessionStore, tiny_model: Path) -> Iterator[OpenChat]:
    """Make chats; the sampling's fields and the settings' are keyword arguments."""
    chats: list[Chat] = []

    def make(session: Any = None, **values: Any) -> Chat:
        sampling: dict[str, Any] = {"temp": 0.0, "max_tokens": 16}
        sampling |= {name: values.pop(name) for name in list(values) if name in Sampling.__slots__}
        settings = Settings(
            **{"model": str(tiny_model), "threads": 1, **values}, sampling=Sampling(**sampling)
        )
        chats.append(Chat(settings, paths, store, session=session))
        return chats[-1]

    yield make
    for chat in chats:
        chat.close()
