"""A slash command is declared and carried out once, and both front ends have it."""

from __future__ import annotations

import io
import os
from dataclasses import replace

import pytest

from tchat.chat.commands import CommandHost, SlashCommand, builtin
from tchat.cli.console import Console
from tchat.cli.main import program
from tchat.paths import Paths
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tests.tui.chat_stage import opened


async def _shout(host: CommandHost, text: str) -> None:
    """The whole of a new command: it reads, and answers."""
    session = host.session
    count = len(await host.read(lambda store: store.branch(session.id))) if session else 0
    host.show(f"{text.upper()}! {count}")


@pytest.fixture(autouse=True)
def _with_another_command(monkeypatch: pytest.MonkeyPatch) -> None:
    shout = SlashCommand("shout", "TEXT", "Say it loud", _shout, ("yell",))
    monkeypatch.setattr(builtin, "COMMANDS", (*builtin.COMMANDS, shout))


async def test_the_screen_has_it(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.type("/shout hello")
        await shown.until(lambda: "HELLO! 2" in shown.notices)
        await shown.type("/yel hello")
        await shown.until(lambda: "did you mean `/yell`" in shown.toasts)


def test_the_line_chat_has_it() -> None:
    out, err = io.StringIO(), io.StringIO()
    console = Console(io.BytesIO(b"/shout hello\n/help yell\n"), out, err, os.environ)
    assert program(["--plain"], console) == 0
    lines = err.getvalue().splitlines()
    assert lines[0] == "HELLO! 0"
    assert lines[1:] == ["/shout TEXT, /yell TEXT", "Say it loud."]


async def test_the_screen_goes_to_a_branch_by_its_number(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.type("/edit two")
        await shown.until(lambda: [text for _, text in shown.branch][:1] == ["two"])
        await shown.idle()
        await shown.type("/branches 1")
        await shown.until(lambda: [text for _, text in shown.branch][:1] == ["one"])
        await shown.type("/branches 3")
        await shown.until(lambda: "a number from 1 to 2" in shown.toasts)


async def test_the_screen_puts_the_users_reply_in_place_of_the_last(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.type("/mine My own words.")
        await shown.until(lambda: shown.branch[-1:] == [("assistant", "My own words.")])
        await shown.until(lambda: shown.entries == shown.branch)
        assert shown.messages[-1].by_person


async def test_the_screen_exports_by_the_name_of_the_file(settings: Settings, paths: Paths) -> None:
    target = paths.cache / "chat.json"
    async with opened(replace(settings), paths) as shown:
        await shown.ask("one")
        await shown.type(f"/export {target}")
        await shown.until(lambda: "Written to" in shown.notices)
    with SessionStore(paths.sessions_db) as store:
        assert store.sessions()[0].id in target.read_text(encoding="utf-8")


async def test_the_screen_tells_a_former_setting(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.type("/set judge logprob")
        await shown.until(lambda: "`judge` is now called `ranker`" in shown.notices)
        await shown.until(lambda: shown.screen.conversation.settings.ranker == "logprob")
