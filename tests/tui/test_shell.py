"""``!COMMAND`` on the screen: it asks, puts the output into the draft, and Esc stops it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.dialogs.dialog import Confirm

from .chat_stage import opened


async def test_the_output_goes_into_the_draft(
    settings: Settings, paths: Paths, tmp_path: Path
) -> None:
    async with opened(settings, paths) as shown:
        await shown.type(f"!echo out; touch {tmp_path}/ran")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, Confirm))
        assert not (tmp_path / "ran").exists()
        await shown.pilot.press("y")
        await shown.until(lambda: "```\nout\n```" in shown.screen.prompt.draft.full_text)
        assert shown.screen.prompt.draft.text.startswith("Output of `echo out; touch ")
        assert shown.branch == []


@pytest.mark.parametrize("no", ["escape", "n", "ctrl+c"])
@pytest.mark.parametrize(("then", "draft"), [("q", "q"), ("ctrl+c", ""), ("end", None)])
async def test_a_no_gives_the_line_back_to_be_typed_over(
    settings: Settings, paths: Paths, tmp_path: Path, no: str, then: str, draft: str | None
) -> None:
    async with opened(settings, paths) as shown:
        line = f"!touch {tmp_path}/ran"
        await shown.type(line)
        await shown.until(lambda: isinstance(shown.pilot.app.screen, Confirm))
        await shown.pilot.press(no)
        await shown.until(lambda: shown.screen.prompt.draft.text == line)
        assert not (tmp_path / "ran").exists()
        await shown.pilot.press(then)
        assert shown.screen.prompt.draft.text == (line if draft is None else draft)


async def test_a_no_keeps_what_was_typed_meanwhile(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.type("!true")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, Confirm))
        shown.screen.prompt.load("typed")
        await shown.pilot.press("n")
        await shown.until(lambda: shown.screen.prompt.draft.text == "!true\n\ntyped")
        await shown.pilot.press("!")
        assert shown.screen.prompt.draft.text == "!true\n\ntyped!"


async def test_escape_stops_it(settings: Settings, paths: Paths, tmp_path: Path) -> None:
    async with opened(settings, paths) as shown:
        await shown.type(f"!echo begun; touch {tmp_path}/ran; sleep 600")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, Confirm))
        await shown.pilot.press("y")
        await shown.until((tmp_path / "ran").exists)
        await shown.pilot.press("escape")
        await shown.until(lambda: "(stopped by the user)" in shown.screen.prompt.draft.text)
        assert "begun" in shown.screen.prompt.draft.text


async def test_a_long_output_is_one_chip(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.type("!seq 500")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, Confirm))
        await shown.pilot.press("y")
        await shown.until(lambda: "[pasted" in shown.screen.prompt.draft.text)
        assert "\n500\n" in shown.screen.prompt.draft.full_text


async def test_all_of_a_long_command_can_be_read_before_it_runs(
    settings: Settings, paths: Paths
) -> None:
    words = [f"<{number}>" for number in range(200)]
    async with opened(settings, paths) as shown:
        app = shown.pilot.app

        def seen() -> set[str]:
            rows = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
            return set(re.findall(r"<\d+>", rows))

        shown.screen.prompt.insert("!echo " + " ".join(words))
        await shown.pilot.press("enter")
        await shown.until(lambda: isinstance(app.screen, Confirm))
        await shown.pilot.pause()
        found = seen()
        assert words[0] in found
        for _ in range(20):
            await shown.pilot.press("pagedown")
            await shown.pilot.pause()
            found |= seen()
        assert found == set(words)
        await shown.pilot.press("escape")


async def test_what_runs_is_what_is_shown(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        shown.screen.prompt.insert("!printf '<\u200b\u202e>'")
        await shown.pilot.press("enter")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, Confirm))
        await shown.pilot.press("y")
        await shown.until(lambda: "<⟦U+202E⟧>" in shown.screen.prompt.draft.full_text)
