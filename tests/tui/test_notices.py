"""What the user asked for is told in view, also while earlier messages are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.widgets.prompt_draft import Draft

from .chat_stage import ENDLESS, Shown, opened
from .stage import shows, text

SIZES = ((80, 24), (120, 36))


async def scrolled_up(shown: Shown) -> None:
    """A prompt that is taller than the screen, and its beginning in view."""
    await shown.type("one\n\n" * 40)
    await shown.until(lambda: len(shown.branch) == 2)
    await shown.pilot.press("ctrl+home")
    await shown.until(lambda: not shown.screen.controllers.transcript.view.following)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("command", ["/export zz.md", "/stats"])
async def test_a_command_is_answered_in_view(
    settings: Settings, paths: Paths, size: tuple[int, int], command: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    paths.config.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(paths.config)
    async with opened(settings, paths, size) as shown:
        await scrolled_up(shown)
        await shown.idle()
        before = shown.notices
        await shown.type(command)
        await shown.until(lambda: shown.notices != before)
        await shown.pilot.pause()
        told = shown.notices.removeprefix(before).split()
        await shows(shown.pilot.app, told[0])
        assert "new line" not in text(shown.pilot.app)


@pytest.mark.usefixtures("slowly")
async def test_a_command_is_answered_in_view_during_a_reply(
    settings: Settings, paths: Paths
) -> None:
    async with opened(replace(settings, sampling=ENDLESS), paths) as shown:
        await scrolled_up(shown)
        await shown.type("/stats")
        await shown.until(lambda: "tokens" in shown.notices)
        await shown.until(lambda: shown.screen.controllers.transcript.view.following)


@pytest.mark.parametrize("typed", ["@nothere.txt what?", "/try 2 @nothere.txt what?"])
async def test_a_prompt_with_a_missing_file_comes_back(
    settings: Settings, paths: Paths, typed: str
) -> None:
    async with opened(settings, paths) as shown:
        await shown.type(typed)
        await shown.until(lambda: "nothere.txt what?" in shown.screen.prompt.draft.text)
        await shown.idle()
        told = shown.toasts + "".join(each.text for each in shown.errors)
        assert "there is no file `nothere.txt`" in told
        assert shown.branch == []
        assert "user" not in dict(shown.entries)


@pytest.mark.parametrize("name", ["@notes.md", "@./my notes.md"])
async def test_a_file_is_sent_whatever_its_label_says(
    settings: Settings, paths: Paths, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "there.md"
    file.write_text("whales")
    async with opened(settings, paths) as shown:
        shown.screen.prompt.load(Draft(f"{name} what?", files=((name, str(file)),)))
        await shown.pilot.press("enter")
        await shown.until(lambda: len(shown.branch) == 2)
        assert "whales" in shown.branch[0][1]
