"""What a chat has read is saved while the user rests, restored when it is opened, and deleted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tchat.chat.preload import snapshot_store
from tchat.errors import TchatError
from tchat.paths import Paths
from tchat.settings import Sampling, Settings
from tests.tui.chat_stage import ENDLESS, opened

DOCUMENT = "the be to of and in that have it for not on with he as you do at this " * 20


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user rests at once."""
    monkeypatch.setattr("tchat.tui.controllers.draft.SAVE_DELAY", 0.05)


@pytest.fixture
def settings(tiny_model: Path) -> Settings:
    return Settings(model=str(tiny_model), threads=1, sampling=Sampling(temp=0, max_tokens=3))


def saved(paths: Paths) -> int:
    store = snapshot_store(paths)
    size = store.size()
    store.close()
    return size


async def test_a_session_that_is_opened_again_is_restored(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask(DOCUMENT)
        await shown.until(lambda: saved(paths) > 0)
        session = shown.screen.conversation.session
    async with opened(settings, paths) as shown:
        await shown.screen.controllers.sessions.open(session)
        await shown.idle()
        assert "of the KV cache in " in shown.notices
        await shown.ask("Why?")
        branch = await shown.screen.context.messages.branch()
        assert branch[-1].usage["read"] < 40


async def test_leaving_saves(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tchat.tui.controllers.draft.SAVE_DELAY", 3600.0)
    async with opened(settings, paths) as shown:
        await shown.ask(DOCUMENT)
        assert saved(paths) == 0
    assert saved(paths) > 0


async def test_going_to_another_session_saves(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tchat.tui.controllers.draft.SAVE_DELAY", 3600.0)
    async with opened(settings, paths) as shown:
        await shown.ask(DOCUMENT)
        await shown.screen.controllers.sessions.open(None)
        assert saved(paths) > 0


async def test_a_private_chat_saves_nothing(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.screen.controllers.sessions.toggle_private()
        await shown.ask(DOCUMENT)
    assert not paths.snapshots.exists()


async def test_what_is_deleted_is_deleted_on_disk_too_and_can_be_undone(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        conversation = shown.screen.conversation
        await shown.ask(DOCUMENT)
        await shown.until(lambda: saved(paths) > 0)
        session = conversation.session
        assert session is not None
        service = shown.screen.context.sessions
        await service.delete(session.id)
        assert saved(paths) == 0
        await conversation.save()
        assert saved(paths) == 0
        await service.restore(session.id)
        await shown.screen.controllers.sessions.open(conversation.persistent.get(session.id))
        await shown.idle()
        await shown.ask("Why?")
        await shown.until(lambda: saved(paths) > 0)


async def test_a_deleted_message_is_not_saved_when_the_chat_is_left(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask(DOCUMENT)
        await shown.until(lambda: saved(paths) > 0)
        branch = await shown.screen.context.messages.branch()
        await shown.screen.context.messages.delete_message(branch[0].id)
    assert saved(paths) == 0


async def test_a_chat_that_was_stopped_is_saved(
    settings: Settings, paths: Paths, slowly: None
) -> None:
    async with opened(replace(settings, sampling=ENDLESS), paths) as shown:
        await shown.type(DOCUMENT)
        await shown.until(lambda: bool(shown.entries) and shown.entries[-1][0] == "assistant")
        await shown.until(lambda: bool(shown.last.text))
        assert shown.screen.controllers.turn.is_busy
        await shown.pilot.press("escape")
        await shown.idle()
        await shown.until(lambda: saved(paths) > 0)
        session = shown.screen.conversation.session
    async with opened(settings, paths) as shown:
        await shown.screen.controllers.sessions.open(session)
        await shown.idle()
        await shown.until(lambda: "restored " in shown.notices)


async def test_a_failure_in_the_background_ends_nothing(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TchatError("llama.cpp failed while decoding (-3): \x1b[31mno reason given")

    monkeypatch.setattr("tchat.engine.snapshots.restore_check._logits_after", fail)
    async with opened(settings, paths) as shown:
        for _ in range(2):
            await shown.ask(DOCUMENT)
            await shown.pilot.pause(0.3)
        await shown.ask(DOCUMENT)
        assert "llama.cpp failed while decoding" in shown.notices
        assert "\x1b" not in shown.notices
