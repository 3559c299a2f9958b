"""A prompt is read while it is typed, and only what is new after Enter."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tchat.chat.chat import Chat
from tchat.chat.prompt_builder import TokenCount
from tchat.paths import Paths
from tchat.settings import Sampling, Settings
from tchat.tui.controllers.draft import COUNT_DELAY
from tchat.tui.widgets.status import StatusLine
from tests.tui.chat_stage import ENDLESS, Shown, opened

DOCUMENT = "the be to of and in that have it for not on with he as you do at this " * 20


@pytest.fixture
def settings(tiny_model: Path) -> Settings:
    return Settings(model=str(tiny_model), threads=1, sampling=Sampling(temp=0, max_tokens=3))


def line(shown: Shown) -> str:
    return shown.screen.query_one(StatusLine).render().plain


async def test_enter_leaves_only_the_last_tokens(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        shown.screen.prompt.load(DOCUMENT)
        await shown.until(lambda: "✓ read" in line(shown))
        await shown.pilot.press(*"why?", "enter")
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.idle()
        usage = shown.messages[-1].usage
        assert usage["reused"] > 200
        assert usage["read"] < 20
        assert "read" not in line(shown)


async def test_an_attached_file_is_read_at_once(
    settings: Settings, paths: Paths, tmp_path: Path
) -> None:
    document = tmp_path / "document.txt"
    document.write_text(DOCUMENT)
    async with opened(settings, paths) as shown:
        await shown.type(f"/file {document}")
        await shown.until(lambda: "✓ read" in line(shown))
        await shown.pilot.press(*"why?", "enter")
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.idle()
        assert shown.messages[-1].usage["read"] < 20


async def test_sending_does_not_wait_until_the_draft_is_read(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("Hello")
        shown.screen.prompt.load(DOCUMENT)
        await shown.until(lambda: "tokens · " in line(shown))
        await shown.pilot.press("enter")
        await shown.until(lambda: len(shown.branch) == 4)
        await shown.idle()
        usage = shown.messages[-1].usage
        assert usage["reused"] + usage["read"] == usage["prompt"] > 300


async def test_it_can_be_switched_off(settings: Settings, paths: Paths) -> None:
    async with opened(replace(settings, prefill_while_typing=False), paths) as shown:
        shown.screen.prompt.load(DOCUMENT)
        await shown.until(lambda: "tokens · " in line(shown))
        await shown.screen.controllers.draft.count().wait()
        assert "read" not in line(shown)
        await shown.pilot.press("enter")
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.idle()
        assert shown.messages[-1].usage["read"] > 200


@pytest.mark.parametrize("typed", [f"/system {DOCUMENT}", f"/nonsense {DOCUMENT}"])
async def test_what_is_no_message_is_not_read(settings: Settings, paths: Paths, typed: str) -> None:
    async with opened(settings, paths) as shown:
        shown.screen.prompt.load(typed)
        await shown.screen.controllers.draft.count().wait()
        assert "tokens" not in line(shown)
        assert "read" not in line(shown)


async def test_a_draft_is_read_once_the_reply_is_there(settings: Settings, paths: Paths) -> None:
    long = replace(settings, sampling=replace(ENDLESS, max_tokens=200))
    async with opened(long, paths) as shown:
        await shown.type("Hello")
        shown.screen.prompt.load(DOCUMENT)
        await shown.until(lambda: "✓ read" in line(shown))
        assert [message.status for message in shown.messages] == ["done", "done"]


async def test_one_draft_is_counted_at_a_time(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting, most, counted = 0, 0, [""]
    count_draft = Chat.count_draft

    def slow(chat: Chat, draft: str) -> TokenCount | None:
        nonlocal counting, most
        counting += 1
        most = max(most, counting)
        counted.append(draft)
        time.sleep(0.5)
        counting -= 1
        return count_draft(chat, draft)

    async with opened(replace(settings, prefill_while_typing=False), paths) as shown:
        monkeypatch.setattr(Chat, "count_draft", slow)
        for letter in "abcdef":
            await shown.pilot.press(letter)
            await shown.pilot.pause(COUNT_DELAY + 0.03)
        await shown.until(lambda: counted[-1] == "abcdef")
        assert most == 1
