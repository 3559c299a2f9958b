"""Engines on tiny models, closed after each test, and what tests ask of their events."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tchat.engine.engine import Engine
from tchat.engine.events import Event, Finished, TextDelta
from tchat.engine.loading import EngineOptions
from tchat.models.metadata import read_metadata

OpenEngine = Callable[..., Engine]


@pytest.fixture
def open_engine() -> Iterator[OpenEngine]:
    """Make engines of one thread, with the file's own template; all are closed at the end."""
    engines: list[Engine] = []

    def make(path: Path, **options: Any) -> Engine:
        template = read_metadata(path).chat_template
        options = {"template": template, "threads": 1, **options}
        engines.append(Engine(EngineOptions(path=path, **options)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def frames_of_a_token(events: Iterator[Event]) -> int:
    """Generators that a token passes, from the decode loop to whoever iterates ``events``."""
    next(event for event in events if isinstance(event, TextDelta))
    frames, inner = 0, events
    while isinstance(inner, Generator):
        frames, inner = frames + 1, inner.gi_yieldfrom  # type: ignore[attr-defined]
    return frames


def cached_tokens(engine: Engine) -> int:
    """Tokens in the KV cache."""
    return len(engine.loaded.kv.tokens) if engine.loaded is not None else 0


def finished(events: Iterable[Event]) -> Finished:
    """The last event, which has to be `Finished`."""
    last = list(events)[-1]
    assert isinstance(last, Finished)
    return last


def streamed(events: Iterable[Event]) -> str:
    """The answer as it was streamed."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))
