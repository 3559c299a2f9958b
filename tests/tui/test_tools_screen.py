"""The dialog of the tools, the command that opens it, and the count in the header."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tchat.errors import StorageError
from tchat.paths import Paths
from tchat.settings import Settings, Tools, load
from tchat.tui.dialogs.tools import ToolsScreen
from tchat.tui.services.tools import ToolRow
from tests.tui.chat_stage import Shown, opened
from tests.tui.stage import HOSTILE, SIZES, is_tame, shown, shows, text


async def shown_tools(chat: Shown, *keys: str) -> None:
    await chat.pilot.press(*keys)
    await chat.until(lambda: isinstance(chat.pilot.app.screen, ToolsScreen))
    await chat.pilot.pause()


async def test_a_tool_is_turned_on_and_off_and_kept_for_new_sessions(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, (100, 36)) as chat:
        assert "tool" not in text(chat.pilot.app).splitlines()[0]
        await shown_tools(chat, "alt+u")
        await shows(chat.pilot.app, "run_command")
        await chat.pilot.press(*"calc", "space")
        await chat.until(lambda: chat.screen.context.settings.tools.enabled == ("calculator",))
        await shows(chat.pilot.app, "1 is on")
        await chat.pilot.press("ctrl+s")
        await chat.until(lambda: load(paths)[0].tools.enabled == ("calculator",))
        await chat.pilot.press("enter")
        await chat.until(lambda: chat.screen.context.settings.tools.enabled == ())
        await chat.pilot.press("enter", "escape", "escape")
        await chat.until(lambda: "1 tool" in text(chat.pilot.app).splitlines()[0])
        await chat.screen.controllers.sessions.open(None)
        await chat.idle()
        assert chat.screen.context.settings.tools.enabled == ("calculator",)


async def test_a_click_on_the_count_opens_it(settings: Settings, paths: Paths) -> None:
    changed = replace(settings, tools=Tools(enabled=("calculator", "nowhere")))
    async with opened(changed, paths, (100, 36)) as chat:
        row = text(chat.pilot.app).splitlines()[0]
        await chat.pilot.click(offset=(row.index("2 tools") + 1, 0))
        await chat.until(lambda: isinstance(chat.pilot.app.screen, ToolsScreen))
        await chat.pilot.press(*"nowhere")
        await chat.until(lambda: "✗ there is no such tool" in text(chat.pilot.app))


async def test_a_tool_that_is_not_there_fails_the_turn_with_what_to_do(
    settings: Settings, paths: Paths
) -> None:
    changed = replace(settings, tools=Tools(enabled=("nowhere",)))
    async with opened(changed, paths, (100, 36)) as chat:
        await chat.type("Hello")
        await chat.until(lambda: bool(chat.errors))
        assert "there is no tool nowhere" in chat.errors[0].text
        await shown_tools(chat, "alt+u", *"nowhere", "space")
        await chat.pilot.press("escape", "escape")
        await chat.until(lambda: not isinstance(chat.pilot.app.screen, ToolsScreen))
        await chat.pilot.press("alt+r")
        await chat.until(lambda: len(chat.branch) == 2)
        await chat.idle()


async def test_what_a_command_turned_on_is_told_in_words(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths, (100, 36)) as chat:
        await chat.type("/tools calculator date_time")
        await chat.until(lambda: "Tools that are on: calculator, date_time." in chat.toasts)
        await chat.type("/tools off")
        await chat.until(lambda: "All tools are off." in chat.toasts)
        assert "tools.enabled" not in chat.toasts


async def test_tools_of_a_server_are_below_it_and_turned_off_one_by_one() -> None:
    taken: list[tuple[str, ...]] = []

    async def take(names: tuple[str, ...]) -> None:
        taken.append(names)

    rows = [ToolRow(name, "server lab") for name in ("lab__*", "lab__a", "lab__b", "lab__c")]
    screen = ToolsScreen([ToolRow("calculator", "built in"), *rows], ("lab__*",), take, take)
    async with shown(screen) as (app, pilot):
        assert text(app).count("  on") == 4
        await pilot.press("down", "down", "down", "space")
        await pilot.pause()
        assert taken == [("lab__a", "lab__c")]
        await pilot.press("space")
        await pilot.pause()
        assert taken[-1] == ("lab__a", "lab__c", "lab__b")


async def test_what_cannot_be_changed_is_told_and_not_shown_as_changed() -> None:
    async def refuse(_: tuple[str, ...]) -> None:
        raise StorageError("the disk is full", "free some space")

    screen = ToolsScreen([ToolRow("calculator", "built in")], (), refuse, refuse)
    async with shown(screen) as (app, pilot):
        await pilot.press("space")
        await pilot.pause()
        await shows(app, "✗ the disk is full; free some space")
        await shows(app, " off")


@pytest.mark.parametrize("size", SIZES)
async def test_hostile_names_and_descriptions_are_tame(size: tuple[int, int]) -> None:
    async def take(_: tuple[str, ...]) -> None: ...

    rows = [ToolRow(f"t{n}", "server", HOSTILE, HOSTILE * 30, HOSTILE) for n in range(40)]
    async with shown(ToolsScreen(rows, (HOSTILE,), take, take), size) as (app, pilot):
        assert is_tame(app)
        await pilot.press("down")
        assert is_tame(app)
