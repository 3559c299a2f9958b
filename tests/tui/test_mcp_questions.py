"""What MCP servers ask on the screen: forms, replies of the model; and the list of servers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from textual.app import App
from textual.screen import Screen
from textual.widgets import Input

from tchat.chat.chat import Chat
from tchat.engine.events import Event, Notice, StepState, ToolStep
from tchat.errors import StorageError
from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tools.mcp.host import FieldKind, FormField, McpForm, McpProgress, SamplingRequest
from tchat.tui.dialogs.approval import ApprovalDialog
from tchat.tui.dialogs.form import FormDialog
from tchat.tui.dialogs.servers import ServersScreen
from tchat.tui.services.tools import ServerRow
from tests.tui.chat_stage import Shown, opened
from tests.tui.stage import HOSTILE, PATIENCE, SIZES, STEP, is_tame, shown, shows, takes_keys, text

FIELDS = (
    FormField("name", "Your name", is_required=True),
    FormField("age", "Age", kind=FieldKind.INTEGER, low=0),
    FormField("yes", "Subscribe", kind=FieldKind.BOOLEAN, default=False),
    FormField("size", "Size", kind=FieldKind.CHOICE, options=(("s", "small"), ("l", "large"))),
)
FORM = McpForm("shop", "Please tell who you are.", FIELDS)
REQUEST = SamplingRequest("shop", "Be kind.", (("user", "Say hi"),), 8)


async def ready(app: App[Any]) -> None:
    """Wait until keys answer what is shown; a form gives its first field the focus then."""
    async with asyncio.timeout(PATIENCE):
        while not takes_keys(app.screen) or (has_field(app.screen) and app.focused is None):
            await asyncio.sleep(STEP)


def has_field(screen: Screen[Any]) -> bool:
    return isinstance(screen, FormDialog) and bool(screen.query(Input))


async def test_a_form_takes_answers_field_by_field_and_tells_what_is_wrong() -> None:
    typed: list[str] = []
    async with shown(FormDialog(FORM, typed.append), (100, 40)) as (app, pilot):
        await pilot.press("h", "enter")
        await ready(app)
        assert typed == ["h"]
        await shows(app, "The MCP server shop asks")
        await shows(app, "small, large")
        await pilot.press("enter", *"old", "enter", "enter", "enter")
        await shows(app, "✗ this does not answer `Your name`")
        await pilot.press(*"Ada", "ctrl+s")
        await shows(app, "✗ this does not answer `Age`; answer with a whole number")
        await pilot.press("ctrl+u", *"36", "enter", *"y", "enter", *"Large", "enter")
        assert app.ended_with == {"name": "Ada", "age": 36, "yes": True, "size": "l"}


async def test_an_address_is_shown_and_never_opened() -> None:
    form = McpForm("shop", "Log in", url="https://shop.example/login")
    async with shown(FormDialog(form), (100, 40)) as (app, pilot):
        await ready(app)
        await shows(app, "https://shop.example/login")
        await pilot.press("ctrl+s")
        assert app.ended_with == {}


@pytest.mark.parametrize("size", SIZES)
async def test_hostile_forms_fit(size: tuple[int, int]) -> None:
    fields = [FormField(f"f{n}", HOSTILE, HOSTILE * 9, default=HOSTILE) for n in range(30)]
    form = McpForm(HOSTILE, HOSTILE * 50, tuple(fields), "https://x.org/" + "a" * 900)
    async with shown(FormDialog(form), size) as (app, pilot):
        await ready(app)
        assert is_tame(app)
        await pilot.press("down", "down", "escape")
        assert app.ended_with is None


async def asked(chat: Shown, kind: type[FormDialog | ApprovalDialog], heading: str) -> None:
    await chat.until(lambda: isinstance(chat.pilot.app.screen, kind))
    await chat.until(lambda: heading in text(chat.pilot.app))
    await ready(chat.pilot.app)


@pytest.mark.parametrize("agrees", [True, False])
async def test_a_server_gets_answers_and_a_reply_if_the_user_agrees(
    settings: Settings, paths: Paths, agrees: bool
) -> None:
    answers: list[object] = []

    def turn(chat: Chat) -> Iterator[Event]:
        host = shown_chat.screen.conversation.mcp_host
        answers.append(host.ask_form(McpForm("shop", "Who?", FIELDS[:1])))
        answers.append(host.ask_sampling(REQUEST))
        yield Notice("model", "done")

    async with opened(settings, paths, (100, 36)) as shown_chat:
        shown_chat.screen.controllers.turn.run(turn)
        await asked(shown_chat, FormDialog, "The MCP server shop asks")
        if not agrees:
            await shown_chat.pilot.press("escape")
            await asked(shown_chat, ApprovalDialog, "Let your model reply")
            await shown_chat.pilot.press("a", "d", "p", "n")
            await shown_chat.idle()
            assert answers == [None, None]
            return
        await shown_chat.pilot.press(*"Ada", "enter")
        await asked(shown_chat, ApprovalDialog, "Let your model reply")
        await shows(shown_chat.pilot.app, "Say hi")
        assert "always" not in text(shown_chat.pilot.app)
        await shown_chat.pilot.press("y")
        await asked(shown_chat, ApprovalDialog, "Send this reply")
        await shown_chat.pilot.press("y")
        await shown_chat.idle()
        assert answers[0] == {"name": "Ada"}
        assert isinstance(answers[1], str)


async def test_how_far_a_server_is_stands_in_the_status_line(
    settings: Settings, paths: Paths
) -> None:
    go_on = threading.Event()

    def turn(chat: Chat) -> Iterator[Event]:
        yield ToolStep(0, 0, "shop__order", {}, StepState.RUNNING)
        while not go_on.wait(0.2):
            host = shown_chat.screen.conversation.mcp_host
            host.progress(McpProgress("shop", 1, 4, "pack\x1b[2J"))
        yield Notice("model", "done")

    async with opened(settings, paths, (100, 36)) as shown_chat:
        shown_chat.screen.controllers.turn.run(turn)
        await shown_chat.until(
            lambda: (
                "shop__order" in (row := text(shown_chat.pilot.app).splitlines()[-1])
                and "25% pack␛[2J" in row
            )
        )
        go_on.set()
        await shown_chat.idle()


async def test_a_stopped_turn_closes_a_form(settings: Settings, paths: Paths) -> None:
    def turn(chat: Chat) -> Iterator[Event]:
        assert shown_chat.screen.conversation.mcp_host.ask_form(FORM) is None
        yield Notice("model", "done")

    async with opened(settings, paths, (100, 36)) as shown_chat:
        shown_chat.screen.controllers.turn.run(turn)
        await asked(shown_chat, FormDialog, "The MCP server shop asks")
        shown_chat.screen.controllers.turn.stop()
        await shown_chat.until(lambda: shown_chat.pilot.app.screen is shown_chat.screen)
        await shown_chat.idle()


async def test_the_list_of_servers_follows_them_and_starts_one_again() -> None:
    rows = [ServerRow("files", "stdio", "failed", error="it ended\x1b[2J")]
    started: list[str] = []

    async def look() -> Sequence[ServerRow]:
        return rows

    async def restart(name: str) -> None:
        started.append(name)
        if len(started) > 1:
            raise StorageError("no", "wait")
        rows[:] = [ServerRow("files", "stdio", "ready", ("read", "write"), ("x: bad name",))]

    async with shown(ServersScreen(list(rows), look, restart)) as (app, pilot):
        await shows(app, "✗ it ended␛[2J")
        await pilot.press("enter")
        await pilot.pause(0.2)
        assert started == ["files"]
        await shows(app, "2 tools")
        await shows(app, "left out: x: bad name")
        await pilot.press("ctrl+r")
        await pilot.pause(0.2)
        assert started == ["files", "files"]
        assert is_tame(app)


async def test_mcp_without_servers_says_how_to_add_one(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths, (100, 36)) as chat:
        await chat.type("/mcp")
        await chat.until(lambda: isinstance(chat.pilot.app.screen, ServersScreen))
        await shows(chat.pilot.app, "tchat mcp add NAME")
