"""The manual on the screen: searched by words, read by pages."""

from __future__ import annotations

import pytest

from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.dialogs.manual import ManualScreen

from .chat_stage import opened
from .stage import SIZES, is_tame, shown, shows, text


@pytest.mark.parametrize("size", SIZES)
async def test_the_first_topic_is_shown_at_every_size(size: tuple[int, int]) -> None:
    async with shown(ManualScreen(), size) as (app, _):
        page = text(app)
        assert is_tame(app)
        assert "First steps" in page
        assert "Ask a question, from the shell" in page


async def test_words_find_the_sections_that_have_them() -> None:
    async with shown(ManualScreen()) as (app, pilot):
        await pilot.press(*"atomic")
        await pilot.pause()
        page = text(app)
        assert "Downloads" in page
        assert "Downloads are atomic, resumable" in page
        assert "First steps" not in page
        await pilot.press(*" zebra")
        await pilot.pause()
        await shows(app, "No section has all these words.")
        assert "Downloads are atomic" not in text(app)


async def test_a_long_section_is_shown_whole_and_scrolls() -> None:
    async with shown(ManualScreen("tchat --install-completion")) as (app, pilot):
        await pilot.pause()
        await shows(app, "Open the chat screen")
        before = text(app)
        await pilot.press("pagedown")
        await pilot.pause()
        assert text(app) != before
        await pilot.press("pageup")
        await pilot.pause()
        assert text(app) == before


async def test_the_command_opens_it_with_its_words(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as chat:
        app = chat.pilot.app
        await chat.type("/manual snapshots 2,400")
        await chat.until(lambda: isinstance(app.screen, ManualScreen))
        await chat.until(lambda: "0.15 s instead of 8 s" in " ".join(text(app).split()))
        await chat.pilot.press("escape")
        await chat.until(lambda: not isinstance(app.screen, ManualScreen))


async def test_sections_named_by_a_word_come_first(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as chat:
        await chat.type("/manual pipe")
        await chat.until(lambda: isinstance(chat.pilot.app.screen, ManualScreen))
        manual = chat.pilot.app.screen
        assert isinstance(manual, ManualScreen)
        await chat.until(lambda: manual.list.item is not None)
        assert manual.list.item is not None
        assert manual.list.item.group == "Prompts and pipes"
    async with shown(ManualScreen()) as (app, pilot):
        await pilot.press(*"pipe")
        await pilot.pause()
        assert isinstance(app.screen, ManualScreen)
        assert app.screen.list.item is not None
        assert app.screen.list.item.group == "Prompts and pipes"


@pytest.mark.parametrize("size", SIZES)
async def test_enter_goes_to_the_text_which_arrows_scroll(size: tuple[int, int]) -> None:
    async with shown(ManualScreen("tchat --install-completion"), size) as (app, pilot):
        await pilot.pause()
        await shows(app, "Enter read the text")
        before = text(app)
        await pilot.press("enter")
        await pilot.pause()
        await shows(app, "back to the list")
        top = text(app)
        await pilot.press("down", "down", "down")
        await pilot.pause()
        assert text(app) != top
        await pilot.press("home", "escape")
        await pilot.pause()
        assert text(app) == before
        await pilot.press("escape")
        await pilot.pause()
        assert not isinstance(app.screen, ManualScreen)
