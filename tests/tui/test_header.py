"""The header: title, branch, marks and model; the title of the terminal; how the screen ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tchat.paths import Paths
from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tchat.tui.app import resume_hint
from tchat.tui.dialogs.models import ModelPicker
from tchat.tui.widgets.header import ChatHeader, HeaderData
from tests.sessions.stores import new_session
from tests.terminal import Terminal

from .chat_stage import Shown, opened
from .stage import HOSTILE, is_tame, lines, shows
from .test_status import staged

CTRL_Q, ALT_E = "\x11", "\x1be"
PROMPT = "Message · / commands"


def header(shown: Shown) -> str:
    return lines(shown.pilot.app)[0]


async def click(shown: Shown | Pilot[None], word: str) -> None:
    """Click the first cell of a word of the first row."""
    pilot = shown.pilot if isinstance(shown, Shown) else shown
    await pilot.click(offset=(lines(pilot.app)[0].index(word), 0))


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
@pytest.mark.parametrize("title", ["Why is the sky blue?", HOSTILE, "名前" * 60, ""])
async def test_it_folds_and_its_warnings_stay(width: int, title: str) -> None:
    row = ChatHeader()
    async with staged(row, width) as (pilot, app):
        row.show(HeaderData(title, (2, 3), title, 2, private=True, unstored=True))
        await pilot.pause()
        assert is_tame(app)
        if width >= 60:
            for told in ("PRIVATE", "NOT STORED", "⎇ 2/3", "▾"):
                await shows(app, told)


async def test_it_is_drawn_only_when_its_data_change(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ChatHeader()
    async with staged(row) as (pilot, _):
        row.show(HeaderData("Title", model="tiny"))
        await pilot.pause()
        drawn = 0
        render = ChatHeader.render

        def counted(self: ChatHeader) -> object:
            nonlocal drawn
            drawn += 1
            return render(self)

        monkeypatch.setattr(ChatHeader, "render", counted)
        for _ in range(3):
            row.show(HeaderData("Title", model="tiny"))
            await pilot.pause()
        assert drawn == 0
        row.show(HeaderData("Another", model="tiny"))
        await pilot.pause()
        assert drawn > 0


async def test_the_title_is_seen_at_once_and_can_be_changed_in_place(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        assert header(shown).startswith(" New session")
        await shown.pilot.press("alt+e")
        assert "first message" in shown.toasts
        await shown.ask("Why is the sky blue?")
        assert header(shown).startswith(" Why is the sky blue?")
        await shown.type("/title Light")
        await shown.until(lambda: header(shown).startswith(" Light "))
        for begin in ("click", "alt+e"):
            if begin == "click":
                await click(shown, "Light")
            else:
                await shown.pilot.press(begin)
            await shown.until(lambda: shown.screen.query_one(ChatHeader).is_editing)
            await shown.pilot.press(*"Air", "escape")
            await shown.until(lambda: header(shown).startswith(" Light "))
            assert shown.screen.prompt.has_focus_within
        await shown.pilot.press("alt+e", *"Air 2", "enter")
        await shown.until(lambda: header(shown).startswith(" Air 2 "))
        assert shown.screen.prompt.has_focus_within
        assert shown.store.latest().title == "Air 2"  # type: ignore[union-attr]
        await shown.pilot.press("alt+e", "backspace", "enter")  # an empty title is none
        await shown.until(lambda: header(shown).startswith(" Air 2 "))


async def test_branch_pins_and_private_are_marked(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        assert "⎇" not in header(shown)
        await shown.pilot.press("alt+r")
        await shown.until(lambda: "⎇ 2/2" in header(shown))
        await shown.idle()
        await shown.ask("two")
        assert "⎇ 2/2" in header(shown)  # of the last fork, wherever that is
        await shown.type("/pin")
        await shown.until(lambda: "▲ 1" in header(shown))
        await shown.type("/new")
        await shown.until(lambda: "⎇" not in header(shown))
        assert "▲" not in header(shown)
        await shown.type("/private")
        await shown.until(lambda: "PRIVATE" in header(shown))


async def test_the_model_opens_the_picker(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await click(shown, "▾")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, ModelPicker))


async def test_in_a_low_terminal_it_gives_way_and_the_status_line_has_the_rest(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, (100, 19)) as shown:
        await shown.ask("Why is the sky blue?")
        assert "▾" not in header(shown)
        assert "▾" in lines(shown.pilot.app)[-1]
        await shown.pilot.resize_terminal(100, 20)
        await shown.until(lambda: "▾" in header(shown))
        await shown.until(lambda: "▾" not in lines(shown.pilot.app)[-1])
        await shown.pilot.resize_terminal(100, 16)
        await shown.until(lambda: "▾" in lines(shown.pilot.app)[-1])
        await shown.pilot.press("alt+e", *"Air", "enter")  # it can be changed all the same
        await shown.until(lambda: shown.store.latest().title == "Air")  # type: ignore[union-attr]
        await shown.until(lambda: "▾" in lines(shown.pilot.app)[-1])


# How it ends


async def test_how_to_resume_is_told_of_what_can_be_resumed(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        chat = shown.screen.conversation
        assert resume_hint(None) == resume_hint(chat) == ""
        await shown.ask("one")
        assert resume_hint(chat) == "Resume: tchat -c"
        session = chat.session
        assert session is not None
        other = new_session(shown.store, title="Another")
        shown.store.add(other.id, Role.USER, "two", parent_id=None)
        assert resume_hint(chat) == f"Resume: tchat --cid {session.id}"
        await chat.change({"resume_hint": False})
        assert resume_hint(chat) == ""
        await chat.change({"resume_hint": True})
        await shown.screen.controllers.sessions.toggle_private()
        await shown.ask("three")
        assert resume_hint(chat) == ""


@pytest.fixture
def titled(home: Path, tmp_path: Path) -> Iterator[Terminal]:
    """The screen with one session and no model."""
    home.mkdir(mode=0o700, exist_ok=True)
    with SessionStore(home / "sessions.db") as store:
        session = new_session(store, title="Sky \x1b]2;evil\x07\x9b2J")
        store.add(session.id, Role.USER, "Why is it blue?", parent_id=None)
    environ = {**os.environ, "TCHAT_HOME": str(home), "TCHAT_MODEL": "/nowhere/no.gguf"}
    with Terminal((sys.executable, "-m", "tchat", "-c"), environ=environ) as terminal:
        yield terminal


def test_the_terminal_has_the_title_of_the_session_until_the_end(titled: Terminal) -> None:
    titled.until(
        lambda: titled.titles == ["Sky ␛]2;evil␇␛[2J · tchat"] or "2J" in str(titled.titles)
    )
    assert not set(titled.titles[0]) & {"\x1b", "\x9b"}
    titled.until(PROMPT)
    titled.send(ALT_E + "Light\r")
    titled.until(lambda: titled.titles == ["Light · tchat"])
    titled.send(CTRL_Q)
    assert titled.ended() == 0
    assert titled.titles == []
    assert "Resume: tchat -c" in titled.text


def test_the_terminal_keeps_its_title_where_the_user_wants_that(
    titled: Terminal, settings: Settings
) -> None:
    titled.until(PROMPT)
    titled.until(lambda: len(titled.titles) == 1)
    titled.send("/set terminal_title off\r")
    titled.until(lambda: titled.titles == [])
    titled.send("/set resume_hint off\r")
    titled.until("resume_hint")
    titled.send(CTRL_Q)
    assert titled.ended() == 0
    assert "Resume" not in titled.text
