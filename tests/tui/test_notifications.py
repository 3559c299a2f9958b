"""A notification at the end of a long reply, where the user looks elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual import events

from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.controllers import notifier
from tchat.tui.notifications import notification
from tchat.tui.widgets.prompt_draft import Draft

from .chat_stage import ENDLESS, Shown, opened


@pytest.mark.parametrize(
    ("environ", "written"),
    [
        ({"TERM": "xterm-256color"}, "\a"),
        (
            {"TERM": "xterm-kitty"},
            "\x1b]99;i=tchat:d=0;tchat\x1b\\\x1b]99;i=tchat:d=1:p=body;done, ␛]x\x1b\\",
        ),
        ({"TERM": "foot"}, "\x1b]777;notify;tchat;done, ␛]x\x1b\\"),
        ({"TERM_PROGRAM": "WezTerm", "TERM": "xterm"}, "\x1b]9;tchat: done, ␛]x\x1b\\"),
        ({"TERM": "xterm-ghostty"}, "\x1b]9;tchat: done, ␛]x\x1b\\"),
        ({"TERM": "tmux-256color", "TERM_PROGRAM": "WezTerm"}, "\a"),
        ({"TERM": "foot", "TMUX": "/tmp/x"}, "\a"),
    ],
)
def test_each_terminal_gets_what_it_knows(environ: dict[str, str], written: str) -> None:
    assert notification("auto", "done; \x1b]x\n", environ) == written
    assert notification("bell", "done", environ) == "\a"
    assert notification("off", "done", environ) == ""


def heard(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the terminal is sent from now on, of notifications."""
    driver = shown.pilot.app._driver
    assert driver is not None
    sent: list[str] = []
    monkeypatch.setattr(driver, "write", lambda data: sent.append(data) if "\a" in data else None)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("TERM_PROGRAM", raising=False)
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.delenv("KITTY_WINDOW_ID", raising=False)
    return sent


@pytest.mark.parametrize(
    ("notify", "focus", "seconds", "bells"),
    [("auto", False, 0, 1), ("auto", True, 0, 0), ("auto", False, 60, 0), ("off", False, 0, 0)],
)
async def test_the_end_of_a_long_reply_is_told_where_the_user_looks_elsewhere(
    settings: Settings,
    paths: Paths,
    monkeypatch: pytest.MonkeyPatch,
    notify: str,
    focus: bool,
    seconds: float,
    bells: int,
) -> None:
    monkeypatch.setattr(notifier, "LONG_TURN", seconds)
    async with opened(replace(settings, notify=notify), paths) as shown:
        sent = heard(shown, monkeypatch)
        shown.pilot.app.post_message(events.AppFocus() if focus else events.AppBlur())
        await shown.pilot.pause()
        shown.screen.controllers.submit(Draft("hi"))
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.idle()
        assert sent == ["\a"] * bells


async def test_a_reply_that_is_stopped_is_not_told(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "LONG_TURN", 0)
    async with opened(replace(settings, sampling=ENDLESS), paths) as shown:
        sent = heard(shown, monkeypatch)
        shown.pilot.app.post_message(events.AppBlur())
        await shown.pilot.pause()
        shown.screen.controllers.submit(Draft("hi"))
        await shown.until(lambda: len(shown.branch) == 2)
        shown.screen.controllers.turn.stop()
        await shown.idle()
        assert sent == []
