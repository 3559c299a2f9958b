"""Fixtures of the chat screen's tests."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tchat.engine.context import Context
from tchat.engine.reply_state import ReplyState
from tchat.paths import Paths, user_paths
from tchat.settings import Sampling, Settings
from tchat.tui.controllers import titles

from .stage import wait_for_idle


@pytest.fixture(autouse=True)
def _probe_once(probe_once: None) -> None:
    """A probe takes longer than most of these tests."""


@pytest.fixture(autouse=True)
def _idle_beside_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Textual waits up to a second after a key until the process idles; models keep it busy."""
    for module in ("app", "pilot"):
        monkeypatch.setattr(f"textual.{module}.wait_for_idle", wait_for_idle)


@pytest.fixture(autouse=True)
def _without_titles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model's titles are random words, written at some time: `test_titles` has them."""
    monkeypatch.setattr(titles, "IDLE", 600)


@pytest.fixture
def paths() -> Paths:
    return user_paths()


@pytest.fixture
def settings(tiny_model: Path) -> Settings:
    sampling = Sampling(temp=0, max_tokens=12)
    return Settings(model=str(tiny_model), threads=1, sampling=sampling)


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tiny model write as slowly as a large one: it fills its context in half a second."""
    draw = ReplyState.draw

    def late(self: ReplyState, context: Context, row: int = -1) -> int:
        time.sleep(0.01)
        return draw(self, context, row)

    monkeypatch.setattr(ReplyState, "draw", late)
