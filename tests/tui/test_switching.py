"""Another session is opened: all of it, whatever fails or is asked for meanwhile."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

import pytest

from tchat.chat.chat import Chat
from tchat.engine.snapshots.snapshots import Snapshots
from tchat.errors import StorageError
from tchat.paths import Paths
from tchat.sessions.store import SessionStore, Store
from tchat.settings import Settings
from tchat.tui.dialogs.help import HelpScreen
from tchat.tui.dialogs.sessions import SessionsScreen

from .chat_stage import Shown, opened


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Set when the session before is being saved, and what lets that go on."""
    reached, going = threading.Event(), threading.Event()
    keep = Chat.save_snapshot

    def held(chat: Chat, *args: Any, **named: Any) -> int:
        reached.set()
        assert going.wait(20)
        return keep(chat, *args, **named)

    def hold() -> None:
        monkeypatch.setattr(Chat, "save_snapshot", held)

    reached.hold = hold  # type: ignore[attr-defined]
    return reached, going


async def begun(shown: Shown, slow: tuple[threading.Event, threading.Event]) -> None:
    """A session with one reply, and the opening of a new one under way."""
    await shown.ask("one")
    slow[0].hold()  # type: ignore[attr-defined]
    await shown.pilot.press("alt+n")
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


@pytest.mark.parametrize("key", ["alt+n", "f8"])
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
        await shown.until(lambda: not shown.screen.controllers.turn.is_busy)
        told = shown.toasts + "".join(each.text for each in shown.errors)
        assert "ZeroDivisionError" in told
        monkeypatch.undo()
        await shown.ask("two")
        assert [each for each in shown.entries if each[0] != "error"] == shown.branch
        assert shown.branch[0] == ("user", "two")


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of the store that fail now."""
    names: list[str] = []
    for name in ("branch", "positions"):
        method = getattr(SessionStore, name)

        def failing(*args: Any, name: str = name, method: Any = method) -> Any:
            if name in names:
                raise StorageError("the disk cannot be read")
            return method(*args)

        monkeypatch.setattr(Store, name, failing)
    return names


@pytest.mark.parametrize("part", ["branch", "positions"])
async def test_a_session_that_cannot_be_read_does_not_show_the_one_before(
    settings: Settings, paths: Paths, fails: list[str], part: str
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        first, branch = shown.screen.conversation.session, shown.branch
        assert first is not None
        await shown.pilot.press("alt+n")
        await shown.until(lambda: shown.screen.conversation.session is None)
        await shown.idle()
        await shown.ask("two")
        fails.append(part)
        await shown.type(f"/open {first.id}")
        await shown.until(lambda: bool(shown.errors))
        await shown.idle()
        session = shown.screen.conversation.session
        assert session is not None
        assert session.id == first.id
        assert [each for each in shown.entries if each[0] != "error"] == []
        assert "the disk cannot be read" in shown.errors[0].text
        assert shown.screen.controllers.transcript.is_stale
        fails.clear()
        await shown.pilot.press("alt+r")
        await shown.until(lambda: shown.entries == branch)
        await shown.ask("three")
        assert shown.entries == shown.branch


async def test_a_question_whose_reply_failed_is_shown_as_it_is_stored(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings, paths) as shown:
        prepared = Chat._prepare

        def broken(*_: Any, **__: Any) -> Any:
            monkeypatch.setattr(Chat, "_prepare", prepared)
            raise StorageError("the disk cannot be read")

        monkeypatch.setattr(Chat, "_prepare", broken)
        await shown.type("one")
        await shown.until(lambda: bool(shown.errors))
        await shown.idle()
        assert [each.key for each in shown.all_entries if each.role == "user"] == [
            each.id for each in shown.messages
        ]
        await shown.pilot.press("alt+r")
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.idle()
        assert shown.entries == shown.branch


@pytest.mark.parametrize("restored", [True, False])
async def test_the_open_session_deleted_in_the_list_is_open_again_once_it_is_restored(
    settings: Settings, paths: Paths, restored: bool
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        session, branch = shown.screen.conversation.session, shown.branch
        assert session is not None
        await shown.pilot.press("ctrl+o")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, SessionsScreen))
        await shown.pilot.press("ctrl+d")
        await shown.until(lambda: shown.store.sessions() == [])
        if restored:
            await shown.pilot.press("ctrl+underscore")
            await shown.until(lambda: len(shown.store.sessions()) == 1)
        await shown.pilot.press("escape")
        await shown.until(lambda: shown.pilot.app.screen is shown.screen)
        await shown.until(lambda: shown.entries == (branch if restored else []))
        await shown.idle()
        await shown.ask("two")
        assert shown.entries == shown.branch == [*(branch if restored else []), *shown.branch[-2:]]
        assert shown.screen.conversation.session is not None
        assert (shown.screen.conversation.session.id == session.id) is restored


@pytest.mark.parametrize("command", ["/set temp 1.1", "/title another", "/system Be brief."])
async def test_a_write_that_waited_does_not_bring_the_session_back(
    settings: Settings, paths: Paths, command: str
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        first = shown.screen.conversation.session
        assert first is not None
        other = sqlite3.connect(paths.sessions_db, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await shown.type(command)
        await shown.pilot.pause(0.2)
        await shown.pilot.press("alt+n")
        await shown.pilot.pause(0.2)
        other.execute("ROLLBACK")
        other.close()
        await shown.until(lambda: shown.entries == [] and shown.screen.conversation.session is None)
        await shown.ask("two")
        assert shown.branch[0] == ("user", "two")
        second = shown.screen.conversation.session
        assert second is not None
        assert second.id != first.id
