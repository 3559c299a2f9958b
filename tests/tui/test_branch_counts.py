"""The status line counts the branch that is shown."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from tchat.chat.chat import Chat
from tchat.chat.prompt_builder import TokenCount
from tchat.paths import Paths
from tchat.settings import Settings

from .chat_stage import Shown, opened
from .stage import lines


def counts(shown: Shown) -> str:
    """Tokens of the context, as the last line tells them."""
    return lines(shown.pilot.app)[-1].split()[-1]


async def settled(shown: Shown, before: str) -> str:
    """The counts once they are known and differ from ``before``."""
    await shown.until(lambda: counts(shown) != before and "…" not in counts(shown))
    await shown.pilot.pause(0.3)
    return counts(shown)


async def choose_first_branch(shown: Shown) -> None:
    await shown.pilot.press("alt+k")
    await shown.pilot.pause()
    await shown.pilot.press(*"apples", "enter")


async def name_first_branch(shown: Shown) -> None:
    await shown.type("/branches 1")


Go = Callable[[Shown], Awaitable[None]]


@pytest.mark.parametrize("go", [choose_first_branch, name_first_branch])
async def test_another_branch_is_counted(settings: Settings, paths: Paths, go: Go) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("about apples")
        short = await settled(shown, "0/0")
        first = shown.messages[-1].id
        await shown.type("/edit about pears " + "and plums " * 40)
        await shown.until(lambda: shown.messages[-1].id not in (first, first + 1))
        await shown.idle()
        longer = await settled(shown, short)
        await go(shown)
        await shown.until(lambda: shown.messages[-1].id == first)
        assert await settled(shown, longer) == short


@pytest.mark.parametrize("go", [choose_first_branch, name_first_branch])
async def test_another_branch_is_counted_while_the_engine_is_busy(
    settings: Settings, paths: Paths, go: Go
) -> None:
    """Saving what was read, or the cost of the next prompt, may keep it for seconds."""
    async with opened(settings, paths) as shown:
        await shown.ask("about apples")
        short = await settled(shown, "0/0")
        first = shown.messages[-1].id
        await shown.type("/edit about pears " + "and plums " * 40)
        await shown.until(lambda: shown.messages[-1].id not in (first, first + 1))
        await shown.idle()
        longer = await settled(shown, short)
        free = threading.Event()
        busy = asyncio.ensure_future(shown.screen.conversation._engine.run(free.wait))
        try:
            await go(shown)
            await shown.until(lambda: shown.messages[-1].id == first)
            assert await settled(shown, longer) == short
        finally:
            free.set()
            await busy


async def test_what_is_counted_is_of_no_other_branch(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a long chat is counted, nothing is told of the one before."""
    async with opened(settings, paths) as shown:
        await shown.ask("about apples")
        await shown.idle()
        first = await settled(shown, "0/0")
        counted, free = Chat.count_draft, threading.Event()

        def slow(chat: Chat, draft: str) -> TokenCount | None:
            free.wait()
            return counted(chat, draft)

        monkeypatch.setattr(Chat, "count_draft", slow)
        try:
            await shown.screen.controllers.messages.delete(shown.messages[-1].id)
            await shown.until(lambda: counts(shown).startswith("…/"))
            await shown.type("/new")
            await shown.until(lambda: counts(shown).startswith("0/"))
        finally:
            free.set()
        await shown.until(lambda: counts(shown) != first)


async def test_a_command_is_not_counted_as_a_prompt(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        status = shown.screen.context.status
        for typed, words in (
            ("some words", True),
            ("/exp", False),
            ("/export notes.md", False),
            ("/try 2 some words", True),
            ("/usr/bin what?", True),
        ):
            shown.screen.prompt.load(typed)
            await shown.until(lambda words=words: (status.draft.tokens > 0) == words)  # type: ignore[misc]
