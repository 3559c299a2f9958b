"""Workers that fail: the app goes on, says it in one line, and ends when it is told to."""

from __future__ import annotations

import ast
import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tchat.tui
from tchat.chat.chat import Chat
from tchat.engine.snapshots.snapshots import Snapshots
from tchat.errors import StorageError
from tchat.paths import Paths
from tchat.sessions.fallback_store import FallbackStores
from tchat.settings import Settings
from tchat.tui.app import TchatApp
from tchat.tui.dialogs.dialog import HintLine
from tchat.tui.dialogs.judge import JudgeScreen
from tchat.tui.dialogs.models import ModelPicker
from tchat.tui.textual_patches import SafeNotification

from .chat_stage import Shown, opened
from .stage import text

HOME = "background.py"


def broken(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("[/oh]\x1b[31m")


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for file in sorted(Path(tchat.tui.__file__).parent.rglob("*.py")):
        yield file, ast.parse(file.read_text(encoding="utf-8"))


def test_every_worker_is_made_by_the_one_wrapper() -> None:
    """It alone catches what a worker raises; Textual's own would end the program."""
    strangers = {
        file.name
        for file, tree in sources()
        for node in ast.walk(tree)
        if imports_work(node)
        or (isinstance(node, ast.Attribute) and node.attr in ("run_worker", "new_worker"))
    }
    assert strangers <= {HOME}


def imports_work(node: ast.AST) -> bool:
    if not isinstance(node, ast.ImportFrom) or node.module != "textual":
        return False
    return any(each.name == "work" for each in node.names)


async def test_a_snapshot_that_cannot_be_saved_or_verified_is_told(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings, paths) as shown:
        monkeypatch.setattr(Snapshots, "save", broken)
        await shown.ask("one")
        shown.screen.controllers.draft._save()
        await shown.until(lambda: "ZeroDivisionError" in "".join(e.text for e in shown.errors))
        assert "ZeroDivisionError" in paths.log_file.read_text()
        monkeypatch.undo()
        await shown.ask("two")


async def test_a_folder_that_cannot_be_listed_is_told(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings, paths) as shown:
        shown.screen.prompt.offer([], broken)
        await shown.pilot.press("at")
        await shown.until(lambda: "ZeroDivisionError" in "".join(e.text for e in shown.errors))
        await shown.ask("still there")


@pytest.mark.parametrize("job", ["learn", "play", "steer"])
async def test_the_judge_says_what_broke(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch, job: str
) -> None:
    key = {"learn": "ctrl+t", "play": "ctrl+g", "steer": "ctrl+s"}[job]
    async with opened(settings, paths) as shown:
        monkeypatch.setattr(f"tchat.chat.judge.{job}", broken)
        await shown.type("/judge")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, JudgeScreen))
        await shown.pilot.press(key)
        await shown.until(lambda: "ZeroDivisionError" in text(shown.pilot.app))
        assert "loading the model" not in text(shown.pilot.app)
        hints = shown.pilot.app.screen.query_one(HintLine)
        assert "train" in str(hints.render())  # it can be tried again
        await shown.pilot.press("escape")
        await shown.ask("still there")


async def test_the_judges_figures_say_what_broke(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings, paths) as shown:
        monkeypatch.setattr("tchat.chat.judge.judge_status", broken)
        await shown.type("/judge")
        await shown.until(lambda: "ZeroDivisionError" in text(shown.pilot.app))
        await shown.pilot.press("escape")
        await shown.ask("still there")


async def test_a_hub_that_breaks_leaves_the_models_usable(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings, paths) as shown:
        monkeypatch.setattr("tchat.models.hub.api.search_models", broken)
        monkeypatch.setattr("tchat.models.library.Library.catalogue", broken)
        await shown.pilot.press("f2")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, ModelPicker))
        await shown.until(lambda: "ZeroDivisionError" in shown.toasts)
        picker = shown.pilot.app.screen
        assert isinstance(picker, ModelPicker)
        shown.pilot.app.clear_notifications()
        picker.choose("search qwen")
        await shown.until(lambda: "ZeroDivisionError" in shown.toasts)
        await shown.until(lambda: "asking the hub" not in text(shown.pilot.app))
        await shown.pilot.press("escape")
        await shown.ask("still there")


async def test_a_session_that_cannot_be_deleted_is_told_in_the_list(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        monkeypatch.setattr(shown.store, "delete", broken)
        monkeypatch.setattr(shown.store, "search", broken)
        await shown.pilot.press("ctrl+o")
        await shown.until(lambda: len(shown.pilot.app.screen_stack) > 1)
        await shown.pilot.press("ctrl+d")
        await shown.until(lambda: "ZeroDivisionError" in shown.toasts)
        await shown.pilot.press("escape")
        await shown.until(lambda: len(shown.pilot.app.screen_stack) == 1)
        await shown.pilot.press("f4", "x")
        await shown.pilot.press("escape")


async def test_a_toast_whose_time_is_up_as_it_is_shown_does_not_hang(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Textual's timers never end with a negative delay."""
    async with opened(settings, paths) as shown:
        monkeypatch.setattr(SafeNotification, "has_expired", False)
        for seconds in (-1.0, 0.0, 1e-9):
            shown.pilot.app.notify("late", timeout=seconds)
        await shown.pilot.pause(0.1)
        monkeypatch.undo()
        assert SafeNotification("late", timeout=-1.0).has_expired
        await shown.until(lambda: "late" not in shown.toasts)
        await shown.ask("still there")


# How it ends


def unstored(*_: Any) -> Any:
    raise StorageError("the disk is full")


@pytest.mark.parametrize("step", [(Chat, "close"), (FallbackStores, "close")])
@pytest.mark.parametrize("way", ["ctrl+q", "SIGTERM", "SIGHUP"])
async def test_it_ends_also_when_something_cannot_be_closed(
    settings: Settings,
    paths: Paths,
    monkeypatch: pytest.MonkeyPatch,
    step: tuple[type, str],
    way: str,
) -> None:
    if way.startswith("SIG"):  # else it is deaf to what its parent was deaf to
        signal.signal(getattr(signal, way), signal.SIG_DFL)
    async with opened(settings, paths) as shown:
        app = shown.pilot.app
        await shown.ask("one")
        monkeypatch.setattr(*step, broken)
        await leave(shown, way)
        await shown.until(lambda: not app.is_running)
        assert isinstance(app, TchatApp)
        assert isinstance(app.broken_by, ZeroDivisionError)
        monkeypatch.undo()
        await app.conversation.close()  # type: ignore[union-attr]  # what the next step was for


async def test_a_second_request_ends_it_at_once(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine may not answer any more: a decode on a device that is gone."""
    async with opened(settings, paths) as shown:
        app, goes_on = shown.pilot.app, asyncio.Event()

        async def hangs() -> None:
            await goes_on.wait()

        monkeypatch.setattr(shown.screen.conversation, "close", hangs)
        await leave(shown, "SIGTERM")
        await shown.pilot.pause(0.1)
        assert app.is_running
        await leave(shown, "SIGTERM")
        await shown.until(lambda: not app.is_running)
        monkeypatch.undo()
        await shown.screen.conversation.close()


async def leave(shown: Shown, way: str) -> None:
    if way.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, way))
        await shown.pilot.pause(0.05)
    else:
        await shown.pilot.press(way)
