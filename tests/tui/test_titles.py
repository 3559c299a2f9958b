"""The title that the model gives a session while the user rests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from tchat.chat import title
from tchat.chat.chat import Chat
from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.controllers import titles

from .chat_stage import Shown, opened


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(titles, "IDLE", 0.05)


def current(shown: Shown) -> str:
    session = shown.screen.conversation.session
    assert session is not None
    return session.title


def writes(monkeypatch: pytest.MonkeyPatch, text: str) -> list[str]:
    """Let the model's title be ``text``; what it wrote instead, so far."""
    written: list[str] = []
    monkeypatch.setattr(title, "MOST_TOKENS", 2)
    generate = title.write_title

    def write(*args: object) -> str:
        generate(*args)  # type: ignore[arg-type]
        written.append(text)
        return text

    monkeypatch.setattr(title, "write_title", write)
    return written


async def test_the_model_titles_a_session_after_its_first_reply(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = writes(monkeypatch, "A Blue Sky")
    async with opened(settings, paths) as shown:
        await shown.ask("why is the sky blue?")
        await shown.until(lambda: current(shown) == "A Blue Sky")
        assert shown.store.sessions()[0].title == "A Blue Sky"
        await shown.ask("and at night?")
        await shown.pilot.pause(0.3)
        assert written == ["A Blue Sky"]


async def test_without_a_good_title_the_first_words_stay(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = writes(monkeypatch, "")
    async with opened(settings, paths) as shown:
        await shown.ask("why is the sky blue?")
        await shown.until(lambda: bool(written))
        await shown.ask("and at night?")
        await shown.pilot.pause(0.3)
        assert (current(shown), len(written)) == ("why is the sky blue?", 1)


@pytest.mark.parametrize("line", ["/title My own", "/private"])
async def test_it_writes_no_title_over_the_users_or_in_private(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    written = writes(monkeypatch, "Another")
    monkeypatch.setattr(titles, "IDLE", 600)
    async with opened(settings, paths) as shown:
        if line == "/private":
            await shown.type(line)
            await shown.until(lambda: shown.screen.conversation.private)
        await shown.ask("hello there")
        if line != "/private":
            await shown.type(line)
            await shown.until(lambda: current(shown) == "My own")
        monkeypatch.setattr(titles, "IDLE", 0.01)
        await shown.ask("and more")
        await shown.pilot.pause(0.3)
        assert written == []


async def test_it_is_off_where_the_setting_says_so(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = writes(monkeypatch, "Another")
    async with opened(replace(settings, write_titles=False), paths) as shown:
        await shown.ask("hello there")
        await shown.pilot.pause(0.3)
        assert written == []


@pytest.mark.parametrize("act", ["send", "type"])
async def test_it_gives_way_to_the_user(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    begun, gave_way = threading.Event(), threading.Event()

    def write(_: Chat, should_continue: Callable[[], bool]) -> str:
        begun.set()
        while should_continue():
            threading.Event().wait(0.005)
        gave_way.set()
        return ""

    monkeypatch.setattr(Chat, "write_title", write)
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.until(begun.is_set)
        if act == "send":
            await shown.ask("two")
        else:
            await shown.pilot.press("x", "y")
        await shown.until(gave_way.is_set)
        monkeypatch.undo()
        assert current(shown) == "one"


async def test_a_title_that_another_window_gave_stays(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings, paths) as shown:

        def write(*_: object) -> str:
            shown.store.rename(shown.store.sessions()[0].id, "My own")
            written.set()
            return "Another"

        written = threading.Event()
        monkeypatch.setattr(Chat, "write_title", write)
        await shown.ask("one")
        await shown.until(written.is_set)
        await shown.pilot.pause(0.2)
        assert shown.store.sessions()[0].title == "My own"
