"""A model over several machines on the screen; its child process connects to no worker here."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from tchat.engine.rpc.engine import RpcEngine
from tchat.engine.rpc.process import EngineProcess
from tchat.paths import Paths
from tchat.settings import Settings

from .chat_stage import ENDLESS, Shown, opened
from .stage import lines

WORKERS = "127.0.0.1:7,127.0.0.1:8"


@pytest.fixture
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child process loads the model by itself."""

    def connect(process: EngineProcess) -> Generator[Any, None, tuple[Any, ...]]:
        yield from process._wait_for_start()
        return ()

    monkeypatch.setattr(EngineProcess, "connect", connect)
    monkeypatch.setattr("tchat.chat.rpc_model.require_rpc", lambda: None)


def kill_child(shown: Shown) -> None:
    """Kill the process that holds the engine."""
    model = shown.screen.conversation.chat.model
    assert model is not None
    engine = model.engine
    assert isinstance(engine, RpcEngine)
    assert engine._process is not None
    os.kill(engine._process._process.pid, signal.SIGKILL)


async def test_the_header_tells_that_the_model_is_on_other_machines(
    settings: Settings, paths: Paths, no_workers: None
) -> None:
    async with opened(replace(settings, rpc=WORKERS), paths) as shown:
        await shown.ask("Hello")
        assert "⇄ 2 workers" in lines(shown.pilot.app)[0]
    async with opened(replace(settings, rpc="127.0.0.1:7"), paths) as shown:
        await shown.ask("Hello")
        assert "⇄ 127.0.0.1:7" in lines(shown.pilot.app)[0]
    async with opened(settings, paths) as shown:
        await shown.ask("Hello")
        assert "⇄" not in lines(shown.pilot.app)[0]


async def test_a_child_that_ends_is_a_block_with_a_retry_and_keeps_what_was_written(
    settings: Settings, paths: Paths, no_workers: None
) -> None:
    async with opened(replace(settings, rpc=WORKERS, sampling=ENDLESS), paths) as shown:
        await shown.type("Hello")
        await shown.until(lambda: bool(shown.entries and shown.entries[-1][1].strip() != "Hello"))
        kill_child(shown)
        await shown.until(lambda: bool(shown.errors))
        await shown.idle()
        assert "the engine's process ended: SIGKILL" in shown.errors[0].text
        (_, reply) = shown.messages
        assert reply.status == "interrupted"
        await shown.pilot.press("alt+n")
        await shown.until(lambda: not shown.entries)
        await shown.type("Hello again")
        await shown.until(lambda: len(shown.entries) > 1 and bool(shown.entries[-1][1]))
        await shown.pilot.press("escape")
        await shown.idle()
        assert not shown.errors
