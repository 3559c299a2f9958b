"""The stage of the tests itself: a test that fails says so at once."""

from __future__ import annotations

import asyncio

import pytest

from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.services.conversation import Conversation

from .chat_stage import opened

SOON = 20.0  # seconds


@pytest.mark.parametrize("doing", ["a reply", "a dialog"])
async def test_a_failing_test_quits_the_app_and_tells_its_own_words(
    settings: Settings, paths: Paths, doing: str
) -> None:
    chats: list[Conversation] = []

    async def fails() -> None:
        async with opened(settings, paths) as shown:
            chats.append(shown.screen.conversation)
            if doing == "a reply":
                await shown.type("hi")
                await shown.until(lambda: len(shown.branch) == 2)
            else:
                await shown.pilot.press("f1")
            raise AssertionError("the test's own words")

    with pytest.raises(AssertionError, match="the test's own words"):
        await asyncio.wait_for(fails(), SOON)
    assert chats[0]._closed
