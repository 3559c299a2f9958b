"""Calls that wait for the user: what is shown, what each key says, and what never allows one."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual import events

from tchat.chat.chat import Chat
from tchat.engine.events import Event, Notice
from tchat.paths import Paths
from tchat.settings import Settings, Tools
from tchat.tui.dialogs.approval import ApprovalDialog
from tchat.tui.dialogs.settings import SettingsScreen
from tchat.tui.dialogs.typing_guard import LOOK, QUIET
from tchat.tui.services.questions import ShownQuestion
from tests.tui.chat_stage import Shown, opened
from tests.tui.stage import HOSTILE, SIZES, is_tame, shown, shows, takes_keys, text

Arguments = Mapping[str, Any]
RUN = ("run_command", {"command": ["touch", "made"]})


class Calls:
    """The screen with tools that are on, and what came of the calls of the last turn."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self.results: list[str] = []

    @property
    def dialog(self) -> ApprovalDialog | None:
        top = self.shown.pilot.app.screen
        return top if isinstance(top, ApprovalDialog) else None

    def begin(self, *calls: tuple[str, Arguments]) -> None:
        """A turn that calls, one after the other, as the loop of a chat does."""

        def turn(chat: Chat) -> Iterator[Event]:
            assert chat.tools is not None
            for name, arguments in calls:
                self.results.append(chat.tools.executor.run(name, arguments).content)
                if chat.cancel.is_set():
                    return
            yield Notice("model", "done")

        self.shown.screen.controllers.turn.run(turn)

    async def asked(self) -> None:
        """Wait until a question is seen, and keys answer it."""
        await self.shown.until(lambda: takes_keys(self.shown.pilot.app.screen))
        await self.shown.pilot.pause()

    async def answer(self, *keys: str) -> None:
        await self.asked()
        before = self.dialog
        await self.shown.pilot.press(*keys)
        await self.shown.until(lambda: self.dialog is not before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "project"
    found.mkdir()
    monkeypatch.chdir(found)
    return found


@asynccontextmanager
async def calling(
    settings: Settings, paths: Paths, size: tuple[int, int] = (100, 36), **tools: Any
) -> AsyncIterator[Calls]:
    names = ("run_command", "write_file", "read_file")
    changed = replace(settings, tools=Tools(enabled=names, **tools))
    async with opened(changed, paths, size) as found:
        yield Calls(found)


@pytest.mark.parametrize(
    ("keys", "ran", "said"),
    [
        (("y",), True, ""),
        (("enter",), True, ""),
        (("n",), False, "The user refused this call."),
        (("escape",), False, "The user refused this call."),
        (("d", *"no", "enter"), False, "The user refused this call: no"),
        (("d", "y", "escape", "n"), False, "The user refused this call."),
    ],
)
async def test_each_answer(
    settings: Settings, paths: Paths, folder: Path, keys: tuple[str, ...], ran: bool, said: str
) -> None:
    async with calling(settings, paths) as chat:
        chat.begin(RUN)
        await chat.asked()
        await shows(chat.shown.pilot.app, "$ touch made")
        assert not (folder / "made").exists()
        await chat.answer(*keys)
        await chat.shown.idle()
        assert (folder / "made").exists() is ran
        assert not said or chat.results == [said]


@pytest.mark.parametrize(("key", "second"), [("a", "rm"), ("p", "touch")])
async def test_always_asks_no_more_in_this_session(
    settings: Settings, paths: Paths, folder: Path, key: str, second: str
) -> None:
    again = ("run_command", {"command": [second, "made"]})
    async with calling(settings, paths, ask_after_untrusted=False) as chat:
        chat.begin(RUN, again)
        await chat.answer(key)
        await chat.shown.idle()
        assert len(chat.results) == 2
        assert (folder / "made").exists() is (key == "p")
        await chat.shown.screen.controllers.sessions.open(None)
        chat.begin(again)
        await chat.answer("n")
        await chat.shown.idle()
        assert chat.results[-1] == "The user refused this call."


async def test_what_is_typed_while_it_opens_answers_nothing_and_is_not_lost(
    settings: Settings, paths: Paths, folder: Path
) -> None:
    async with calling(settings, paths) as chat:
        chat.begin(RUN)
        for key in "yay":
            await chat.shown.until(lambda: chat.dialog is not None)
            await chat.shown.pilot.press(key)
        await chat.shown.pilot.press("enter", "p")
        assert chat.dialog is not None
        assert chat.shown.screen.prompt.draft.text == "yayp"
        assert not (folder / "made").exists()
        dialog = chat.dialog
        dialog.post_message(events.Paste("y\n"))
        await chat.shown.until(lambda: chat.shown.screen.prompt.draft.text == "yaypy\n")
        await chat.answer("y")
        await chat.shown.idle()
        assert (folder / "made").exists()


async def test_every_key_puts_off_the_moment_from_which_keys_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tchat.tui.dialogs.approval.LOOK", 3600)  # it is looked by hand
    dialog = ApprovalDialog(ShownQuestion("t"))
    async with shown(dialog) as (app, pilot):
        for key in ("y", "a", "p", "n", "enter", "d"):
            for _ in range(QUIET - 1):
                dialog._look()
            await pilot.press(key)
        assert app.ended_with == "not ended"
        assert dialog.has_class("-guarded")
        for _ in range(QUIET):
            dialog._look()
        assert not dialog.has_class("-guarded")
        await pilot.press("y")
        assert app.ended_with == ("once", "")


async def test_keys_of_a_time_when_the_screen_stood_still_answer_nothing() -> None:
    typed: list[str] = []
    async with shown(ApprovalDialog(ShownQuestion("t"), typed.append)) as (app, pilot):
        time.sleep(1.5 * QUIET * LOOK)
        await pilot.press("y", "n")
        assert app.ended_with == "not ended"
        assert typed == ["y", "n"]


@pytest.mark.parametrize("keys", [("escape", "escape"), ("ctrl+c",)])
async def test_a_second_escape_stops_the_turn(
    settings: Settings, paths: Paths, folder: Path, keys: tuple[str, ...]
) -> None:
    async with calling(settings, paths) as chat:
        chat.begin(RUN, RUN, RUN)
        for key in keys:
            await chat.shown.until(lambda: chat.dialog is not None and chat.dialog.is_mounted)
            before = chat.dialog
            await chat.shown.pilot.press(key)
            await chat.shown.until(lambda: chat.dialog is not before)  # noqa: B023
        await chat.shown.idle()
        assert len(chat.results) == len(keys)
        assert not (folder / "made").exists()


@pytest.mark.parametrize("end", ["stop", "session", "quit"])
async def test_the_turn_ends_while_a_call_waits(
    settings: Settings, paths: Paths, folder: Path, end: str
) -> None:
    async with calling(settings, paths) as chat:
        chat.begin(RUN)
        await chat.asked()
        if end == "quit":
            await chat.shown.pilot.press("ctrl+q")
            await chat.shown.until(lambda: not chat.shown.pilot.app.is_running)
        else:
            controllers = chat.shown.screen.controllers
            if end == "stop":
                controllers.turn.stop()
            else:
                await controllers.sessions.open(None)
            await chat.shown.until(lambda: chat.dialog is None)
            await chat.shown.idle()
        assert chat.results == []
        assert not (folder / "made").exists()


async def test_it_waits_until_another_dialog_is_closed(
    settings: Settings, paths: Paths, folder: Path
) -> None:
    async with calling(settings, paths) as chat:
        await chat.shown.pilot.press("f3")
        await chat.shown.until(lambda: isinstance(chat.shown.pilot.app.screen, SettingsScreen))
        chat.begin(RUN)
        await chat.shown.until(lambda: "run_command waits" in chat.shown.toasts)
        await chat.shown.pilot.press("y", "enter")
        assert isinstance(chat.shown.pilot.app.screen, SettingsScreen)
        while isinstance(chat.shown.pilot.app.screen, SettingsScreen):
            await chat.shown.pilot.press("escape")
        await chat.answer("n")
        await chat.shown.idle()
        assert not (folder / "made").exists()


async def test_a_change_of_a_file_is_shown_as_a_diff(
    settings: Settings, paths: Paths, folder: Path
) -> None:
    (folder / "notes.txt").write_text("one\ntwo\n")
    async with calling(settings, paths) as chat:
        chat.begin(("write_file", {"path": "notes.txt", "content": "one\n2\u202e\n"}))
        await chat.asked()
        seen = text(chat.shown.pilot.app)
        assert str(folder / "notes.txt") in re.sub(r"[│\s]", "", seen)
        assert "-two" in seen
        assert "+2⟦U+202E⟧" in seen
        assert "content" not in seen
        assert "The chat holds text" not in seen
        await chat.answer("y")
        await chat.shown.idle()
        assert (folder / "notes.txt").read_text() == "one\n2\u202e\n"


async def test_text_of_others_is_told(settings: Settings, paths: Paths, folder: Path) -> None:
    (folder / "notes.txt").write_text("one\n")
    async with calling(settings, paths, allow=("read_file",)) as chat:
        chat.begin(("read_file", {"path": "notes.txt"}), RUN)
        await chat.asked()
        await shows(chat.shown.pilot.app, "The chat holds text that others wrote")
        await chat.answer("n")
        await chat.shown.idle()


async def test_a_terminal_without_the_focus_is_notified(
    settings: Settings, paths: Paths, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "foot")
    monkeypatch.delenv("TMUX", raising=False)
    async with calling(settings, paths) as chat:
        driver = chat.shown.pilot.app._driver
        assert driver is not None
        sent: list[str] = []
        monkeypatch.setattr(driver, "write", sent.append)
        chat.shown.pilot.app.app_focus = False
        chat.begin(RUN)
        await chat.answer("n")
        await chat.shown.idle()
        assert any("notify;tchat;run_command waits for your approval" in each for each in sent)
    assert not (folder / "made").exists()


@pytest.mark.parametrize("size", SIZES)
async def test_hostile_and_long_calls_fit_and_hide_nothing(size: tuple[int, int]) -> None:
    question = ShownQuestion(
        HOSTILE,
        rows=[(HOSTILE, HOSTILE * 40), ("b", "x" * 90_000)],
        command=f"sh -c {HOSTILE}",
        diff=f"--- a\n+++ b\n-{HOSTILE}\n+new\u200b\n" * 900,
        pattern=HOSTILE,
        is_untrusted=True,
    )
    async with shown(ApprovalDialog(question), size) as (app, pilot):
        assert is_tame(app)
        seen = text(app)
        assert "⟦U+202E⟧" in seen
        assert "once" in seen
        assert "deny" in seen
        for _ in range(3):
            await pilot.press("pagedown")
        assert is_tame(app)
        await pilot.press("escape")
        assert app.ended_with is None
