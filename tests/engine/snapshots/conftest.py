"""Engines that share one user's snapshots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tchat.engine.engine import Engine
from tchat.engine.loading import EngineOptions
from tchat.engine.prompt import ChatMessage
from tchat.engine.snapshots.snapshots import Snapshots
from tchat.engine.snapshots.store import SnapshotStore
from tchat.models.metadata import read_metadata
from tchat.paths import Paths, user_paths

WORDS = "the be to of and in that have it for not on with he as you do at this but his by from "
LONG = [ChatMessage("user", WORDS * 20)]
OpenSaved = Callable[..., Engine]


@pytest.fixture
def paths() -> Paths:
    """The folders of this test."""
    return user_paths()


@pytest.fixture
def store(paths: Paths) -> Iterator[SnapshotStore]:
    """The snapshots of this test."""
    opened = SnapshotStore(paths.snapshots, paths.snapshot_key)
    yield opened
    opened.close()


@pytest.fixture
def open_saved(paths: Paths) -> Iterator[OpenSaved]:
    """Make engines that save for a session and restore; all are closed at the end."""
    engines: list[Engine] = []

    def make(
        path: Path,
        session: str = "one",
        key: str = "key",
        limit: int = 1 << 30,
        free: int | None = None,
        **options: Any,
    ) -> Engine:
        store = SnapshotStore(paths.snapshots, paths.snapshot_key)
        snapshots = Snapshots(store, key, "Tiny", limit, lambda: free)
        template = read_metadata(path).chat_template
        options = {"template": template, "threads": 1, **options}
        engines.append(Engine(EngineOptions(path=path, **options), snapshots=snapshots))
        engines[-1].bind_session(session)
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()
