"""Another session is opened: all of it, whatever fails or is asked for meanwhile."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tchat.chat.chat import Chat
from tchat.engine.snapshots.snapshots import Snapshots
from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.screens.help import HelpScreen

from .chat_stage import Shown, opened


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Set when the session before is being saved, and what lets that go on."""
    reached, going = threading.Event(), threading.Event()
    keep = Chat.keep

    def held(chat: Chat, *args: Any, **named: Any) -> int:
        reached.set()
        assert going.wait(20)
        return keep(chat, *args, **named)

    def hold() -> None:
        monkeypatch.setattr(Chat, "keep", held)

    reached.hold = hold  # type: ignore[attr-defined]
    return reached, going


async def begun(shown: Shown, slow: tuple[threading.Event, threading.Event]) -> None:
    """A session with one reply, and the opening of a new one under way."""
    await shown.ask("one")
    slow[0].hold()  # type: ignore[attr-defined]
    await shown.pilot.press("ctrl+n")
    await shown.until(slow[0].is_set)


async def test_a_dialog_does_not_leave_it_half_open(
    settings: Settings, paths: Paths, slow: tuple[threading.Event, threading.Event]
) -> None:
    async with opened(settings, paths) as shown:
        await begun(shown, slow)
        await shown.pilot.press("f1")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, HelpScreen))
        slow[1].set()
        await shown.until(lambda: shown.screen.conversation.session is None)
        await shown.until(lambda: shown.entries == [])
        await shown.pilot.press("escape")
        await shown.ask("two")
        assert shown.entries == shown.branch
        assert len(shown.store.sessions()) == 2


async def test_a_prompt_sent_meanwhile_goes_to_it(
    settings: Settings, paths: Paths, slow: tuple[threading.Event, threading.Event]
) -> None:
    async with opened(settings, paths) as shown:
        await begun(shown, slow)
        old = shown.screen.conversation.session
        assert old is not None
        await shown.type("two")
        assert shown.screen.prompt.queue == ["two"]
        slow[1].set()
        await shown.until(lambda: shown.branch[:1] == [("user", "two")])
        await shown.idle()
        assert len(shown.branch) == 2
        assert shown.entries == shown.branch
        assert len(shown.store.branch(old.id)) == 2


@pytest.mark.parametrize("key", ["ctrl+n", "f8"])
async def test_what_cannot_be_saved_before_is_told(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    def broken(*_: Any, **__: Any) -> int:
        raise ZeroDivisionError

    async with opened(settings, paths) as shown:
        await shown.ask("one")
        monkeypatch.setattr(Snapshots, "save", broken)
        await shown.pilot.press(key)
        await shown.until(lambda: shown.screen.conversation.session is None)
        await shown.until(lambda: not shown.screen.busy)
        told = shown.toasts + "".join(each.text for each in shown.errors)
        assert "ZeroDivisionError" in told
        monkeypatch.undo()
        await shown.ask("two")
        assert [each for each in shown.entries if each[0] != "error"] == shown.branch
        assert shown.branch[0] == ("user", "two")
