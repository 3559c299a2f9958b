"""``/compare`` on the screen: several models side by side, and one of their replies taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tchat.paths import Paths
from tchat.settings import Sampling, Settings
from tchat.tui.widgets.candidates import Candidates, Stage
from tests.tui.chat_stage import ENDLESS, opened
from tests.tui.stage import shows

from .test_candidates import columns


@pytest.fixture
def settings(tiny_model: Path) -> Settings:
    return Settings(model=str(tiny_model), threads=1, sampling=Sampling(seed=5, max_tokens=12))


async def test_two_models_reply_side_by_side_and_one_is_taken(
    settings: Settings, paths: Paths, tiny_model: Path, tiny_spm: Path
) -> None:
    async with opened(settings, paths) as chat:
        await chat.type(f"/compare {tiny_spm} {tiny_model} Hello there")
        await chat.until(lambda: bool(chat.screen.query(Candidates)))
        await chat.idle()
        assert [column.standing.label for column in columns(chat)] == ["tiny-spm", "tiny"]
        assert all(column.standing.stage is not Stage.WAITING for column in columns(chat))
        await shows(chat.pilot.app, "tiny-spm")
        await chat.pilot.press("2", "enter")
        await chat.until(lambda: not chat.screen.query(Candidates))
        await chat.idle()
        assert [each.role for each in chat.messages] == ["user", "assistant"]
        assert chat.messages[-1].model == str(tiny_model)
        assert chat.messages[-1].picked_at
        await chat.ask("And now?")
        assert chat.messages[-1].model == settings.model


async def test_an_unknown_model_is_told_and_the_line_comes_back(
    settings: Settings, paths: Paths, tiny_model: Path
) -> None:
    async with opened(settings, paths) as chat:
        line = f"/compare {tiny_model} nothing:7b Hello"
        await chat.type(line)
        await chat.until(lambda: "nothing:7b" in chat.toasts)
        await chat.until(lambda: chat.screen.prompt.draft.text == line)
        assert chat.branch == []
        assert not chat.screen.query(Candidates)


async def test_without_models_the_line_comes_back(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as chat:
        await chat.type("/compare")
        await chat.until(lambda: "2 to 8 models" in chat.toasts)
        await chat.until(lambda: chat.screen.prompt.draft.text == "/compare")


async def test_escape_ends_all_and_what_was_written_can_be_taken(
    settings: Settings, paths: Paths, tiny_model: Path, tiny_spm: Path
) -> None:
    slow = replace(settings, sampling=replace(ENDLESS, max_tokens=30_000))
    async with opened(slow, paths) as chat:
        await chat.type(f"/compare {tiny_model} {tiny_spm} Hello there")
        await chat.until(lambda: bool(chat.screen.query(Candidates)))
        await chat.until(lambda: columns(chat)[0].standing.tokens > 3)
        await chat.pilot.press("escape")
        await chat.idle()
        assert [column.standing.stage for column in columns(chat)] == [Stage.STOPPED] * 2
        await chat.pilot.press("2", "enter")  # it wrote nothing
        await chat.until(lambda: "This reply is empty" in chat.toasts)
        await chat.pilot.press("1", "enter")
        await chat.until(lambda: not chat.screen.query(Candidates))
        await chat.idle()
        assert chat.messages[-1].model == str(tiny_model)
        assert chat.messages[-1].text


async def test_one_is_stopped_and_taken_and_the_next_goes_on(
    settings: Settings, paths: Paths, tiny_model: Path, tiny_spm: Path
) -> None:
    slow = replace(settings, sampling=replace(ENDLESS, max_tokens=30_000))
    async with opened(slow, paths) as chat:
        await chat.type(f"/compare {tiny_model} {tiny_spm} Hello there")
        await chat.until(lambda: bool(chat.screen.query(Candidates)))
        await chat.until(lambda: columns(chat)[0].standing.tokens > 3)
        await chat.pilot.press("s")
        await chat.until(lambda: columns(chat)[1].standing.tokens > 0)
        assert columns(chat)[0].standing.stage is Stage.STOPPED
        assert columns(chat)[0].entry.text
        await chat.pilot.press("1", "enter")
        await chat.until(lambda: not chat.screen.query(Candidates))
        await chat.idle()
        assert chat.messages[-1].model == str(tiny_model)
        assert chat.messages[-1].picked_at
