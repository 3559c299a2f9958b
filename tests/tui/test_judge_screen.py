"""The judge's screen: figures, training, and the progress of a duel."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from textual.widgets import Input

from tchat.engine.engine import Engine
from tchat.engine.events import Event
from tchat.judge.discriminator import judge_folder
from tchat.judge.game.steering import Steering, write_control_vector
from tchat.paths import Paths
from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tchat.tui.dialogs.judge import JudgeScreen
from tchat.tui.widgets.rows import Lines
from tests.sessions.stores import new_session

from .chat_stage import Shown, opened


def pick(store: SessionStore, count: int) -> None:
    """Short replies that were picked among long ones."""
    for number in range(count):
        session = new_session(store, title="t")
        asked = store.add(session.id, Role.USER, f"question {number}", parent_id=None)
        for text in ("a long reply of many words", f"short {number}"):
            reply = store.add(session.id, Role.ASSISTANT, text, parent_id=asked.id)
        store.pick(reply.id)


def told(shown: Shown, name: str) -> str:
    top = shown.pilot.app.screen
    return top.query_one(f"#{name}", Lines).plain if isinstance(top, JudgeScreen) else ""


async def test_it_trains_from_use_and_shows_what_was_learnt(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        pick(shown.store, 9)
        await shown.type("/judge")
        await shown.until(lambda: "9 choices and 0 edited replies" in told(shown, "sections"))
        assert "not trained" in told(shown, "sections")
        assert "a file of human replies" in told(shown, "sections")
        assert "weights never change" in told(shown, "sections")
        assert "Duels: none completed" in told(shown, "sections")
        await shown.pilot.press("ctrl+t")
        await shown.until(lambda: "trained on 9 choices" in told(shown, "sections"))
        assert "/best 4" in told(shown, "progress")  # what to do with it
        assert "accuracy unknown" in told(shown, "sections")
        await shown.pilot.press("escape")
        await shown.until(lambda: not isinstance(shown.pilot.app.screen, JudgeScreen))
        await shown.ask("and now?")  # the chat goes on


async def test_what_is_missing_is_said(settings: Settings, paths: Paths, tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text(json.dumps({"prompt": "p", "reply": "a reply of several words"}))
    async with opened(settings, paths) as shown:
        await shown.pilot.press("alt+j")
        await shown.until(lambda: "0 choices and 0 edited replies" in told(shown, "sections"))
        await shown.pilot.press("ctrl+t")
        await shown.until(lambda: "too few training examples" in told(shown, "progress"))
        await shown.pilot.press("ctrl+g")
        await shown.until(lambda: "a duel needs human replies" in told(shown, "progress"))
        shown.pilot.app.screen.query_one(Input).value = str(few)
        await shown.pilot.press("ctrl+g")
        await shown.until(lambda: "too few to train on" in told(shown, "progress"))


async def test_a_stop_before_the_work_began_is_no_training(
    settings: Settings, paths: Paths
) -> None:
    """The engine may be busy with something else when the work is asked for."""
    async with opened(settings, paths) as shown:
        free, begun = threading.Event(), list[object]()

        def begin(chat: object) -> Iterator[object]:
            begun.append(chat)
            return iter(())

        conversation = shown.screen.conversation
        busy = asyncio.create_task(conversation._engine.run(free.wait))
        work = asyncio.create_task(conversation.work(begin, begun.append))
        await asyncio.sleep(0)
        conversation.stop()
        free.set()
        with pytest.raises(InterruptedError):
            await work
        await busy
        assert begun == []


async def test_a_failure_of_the_disk_is_told(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with opened(settings, paths) as shown:
        pick(shown.store, 9)
        await shown.pilot.press("alt+j")
        await shown.until(lambda: "9 choices and 0 edited replies" in told(shown, "sections"))
        monkeypatch.setattr("tchat.judge.discriminator.os.fsync", full)
        await shown.pilot.press("ctrl+t")
        await shown.until(lambda: "No space left on device" in told(shown, "progress"))
        monkeypatch.undo()


async def test_the_outcome_of_a_game_steers_the_model_until_it_is_off(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.pilot.press("alt+j")
        await shown.until(lambda: "0 choices and 0 edited replies" in told(shown, "sections"))
        await shown.pilot.press("ctrl+s")
        await shown.until(lambda: "no duel is completed yet" in told(shown, "progress"))

        metadata = shown.screen.conversation.metadata
        assert metadata is not None
        older, vector = map(judge_folder(metadata, paths).vector, ("duel-9", "duel-1"))
        push = Steering({1: numpy.full(64, 3.0)})
        for each in (older, vector):
            write_control_vector(push, each, architecture=metadata.architecture)
        os.utime(older, (1, 1))
        await shown.pilot.press("ctrl+s")
        await shown.until(lambda: "on: duel-1" in told(shown, "sections"))
        assert str(vector) in paths.models_file.read_text()
        await shown.pilot.press("ctrl+s")
        await shown.until(lambda: "on: duel-1" not in told(shown, "sections"))
        assert str(vector) not in paths.models_file.read_text()
        await shown.pilot.press("escape")
        await shown.ask("and now?")


async def test_it_waits_until_the_model_is_loaded_and_says_so(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened_gate, load = threading.Event(), Engine.load

    def late(engine: Engine) -> Iterator[Event]:
        opened_gate.wait(20)
        yield from load(engine)

    monkeypatch.setattr(Engine, "load", late)
    async with opened(settings, paths, ready=False) as shown:
        await shown.until(lambda: shown.screen.controllers.turn.is_busy)
        await shown.pilot.press("alt+j")
        await shown.until(lambda: "The model is being loaded: wait" in shown.toasts)
        opened_gate.set()
        await shown.idle()
        await shown.pilot.press("alt+j")
        await shown.until(lambda: "0 choices and 0 edited replies" in told(shown, "sections"))
