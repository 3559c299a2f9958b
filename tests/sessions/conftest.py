"""Stores to test on: one in memory, one in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tchat.sessions.store import SessionStore


@pytest.fixture
def store() -> Iterator[SessionStore]:
    """A store in memory."""
    with SessionStore.in_memory() as opened:
        yield opened


@pytest.fixture
def file(home: Path) -> Path:
    """Where a store can be opened; nothing is there yet."""
    return home / "sessions.db"
