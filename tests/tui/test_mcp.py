"""MCP servers in the screen: `/mcp`, resources in prompts, and prompts of servers."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace

import pytest

from tchat.paths import Paths
from tchat.settings import Settings, Tools
from tchat.tui.dialogs.servers import ServersScreen
from tchat.tui.dialogs.tools import ToolsScreen
from tchat.tui.services.tools import ServerRow
from tests.tools.mcp.stage import OFFICIAL, hostile
from tests.tui.chat_stage import opened
from tests.tui.stage import lines, shows, text
from tests.tui.stage import shown as staged


@pytest.fixture(autouse=True)
def _with_servers(paths: Paths) -> None:
    paths.mcp_file.parent.mkdir(parents=True, exist_ok=True)
    servers = {"o": OFFICIAL, "bad": hostile("early-end"), "slow": hostile("no-start")}
    paths.mcp_file.write_text(json.dumps({"mcpServers": servers}))


async def test_a_resource_goes_before_the_prompt_and_is_read_when_it_is_sent(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        states = shown.screen.context.conversation.servers.open(settings).status
        shown.screen.context.prompt.insert("What is in @o:memo://today?")
        await shown.pilot.pause(0.5)
        assert {each.state for each in states()} == {"not started"}  # typing starts nothing
        await shown.pilot.press("enter")
        await shown.until(lambda: bool(shown.branch))
        assert shown.branch[0] == (
            "user",
            "File o:memo://today:\n```\nBuy milk\n```\n\nWhat is in @o:memo://today?",
        )
        await shown.idle()


async def test_a_resource_that_cannot_be_read_is_told_and_the_prompt_comes_back(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.type("Read @bad:memo://x.py")
        await shown.until(
            lambda: "MCP server bad cannot be used" in shown.toasts + str(shown.errors)
        )
        assert shown.branch == []
        assert "@bad:memo://x.py" in shown.screen.context.prompt.draft.full_text


async def test_a_prompt_of_a_server_is_put_into_the_draft(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.type("/prompt o:review language=C")
        draft = shown.screen.context.prompt
        await shown.until(lambda: draft.draft.full_text == "Review this C in a kind tone.")
        await shown.type("/prompt o:review")
        await shown.until(lambda: "needs a value for `language`" in shown.toasts)


async def test_quitting_does_not_wait_for_a_server_that_hangs(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        servers = shown.screen.context.conversation.servers.open(settings)
        servers.start()
        start = time.monotonic()
    assert time.monotonic() - start < 30
    assert all(each.state != "ready" for each in servers.status())


async def test_a_server_of_a_tool_that_fails_is_told_and_the_prompt_is_answered(
    settings: Settings, paths: Paths
) -> None:
    on = replace(settings, tools=Tools(enabled=("bad__*", "calculator")))
    async with opened(on, paths) as shown:
        await shown.ask("Hello")
        assert "the MCP server bad fails: it ended with exit code 3" in shown.notices
        assert shown.screen.context.conversation.chat.tools is not None
        await shown.ask("Again")
        assert shown.notices.count("the MCP server bad fails") == 1


async def test_a_server_that_is_started_by_hand_lists_its_tools_in_both_dialogs(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, size=(100, 60)) as shown:
        await shown.type("/mcp")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, ServersScreen))
        await shown.until(lambda: "Ctrl+R start  Esc close" in text(shown.pilot.app))
        await shown.pilot.press("ctrl+r")
        await shown.until(lambda: "8 tools" in text(shown.pilot.app))
        await shows(shown.pilot.app, "Ctrl+R start again")
        await shown.pilot.press("escape")
        await shown.type("/tools")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, ToolsScreen))
        rows = lines(shown.pilot.app)
        at = next(number for number, row in enumerate(rows) if " server o ─" in row)
        assert ["o__*" in rows[at + 1], "o__add" in rows[at + 2]] == [True, True]


async def test_tools_that_were_listed_by_hand_are_those_of_the_next_turn(
    settings: Settings, paths: Paths
) -> None:
    on = replace(settings, tools=Tools(enabled=("later__*", "calculator")))
    late = {"mcpServers": {"later": hostile("early-end")}}
    paths.mcp_file.write_text(json.dumps(late))
    async with opened(on, paths) as shown:
        await shown.ask("Hello")
        chat = shown.screen.context.conversation.chat
        assert chat.tools is not None
        assert chat.tools.names == ("calculator",)
        servers = shown.screen.context.conversation.servers.open(settings)
        server = servers.servers["later"]
        command = str(OFFICIAL["command"]), *OFFICIAL["args"]
        server.config = replace(server.config, command=command)
        servers.restart_and_list("later")
        await shown.ask("Again")
        assert "later__add" in chat.tools.names


async def test_a_server_that_is_started_twice_at_once_is_started_once() -> None:
    started: list[str] = []
    go_on = asyncio.Event()

    async def restart(name: str) -> None:
        started.append(name)
        await go_on.wait()

    async def look() -> list[ServerRow]:
        return rows

    rows = [ServerRow("o", "stdio", "ready")]
    async with staged(ServersScreen(rows, look, restart)) as (_, pilot):
        await pilot.press("ctrl+r", "ctrl+r", "enter")
        go_on.set()
        await pilot.pause()
        assert started == ["o"]
        await pilot.press("ctrl+r")
        assert started == ["o", "o"]
