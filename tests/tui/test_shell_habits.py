"""The keys of the screen: leader key, prompt history, help and quitting from an empty prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tchat.chat.prompt_history import HistoryEntry, PromptHistory
from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.dialogs.dialog import Confirm, Picker
from tchat.tui.dialogs.help import HelpScreen
from tchat.tui.dialogs.history import HistoryScreen
from tchat.tui.dialogs.models import ModelPicker
from tchat.tui.dialogs.sessions import SessionsScreen
from tchat.tui.dialogs.settings import SettingsScreen
from tchat.tui.dialogs.themes import ThemePicker
from tchat.tui.widgets.which_key import WhichKey

from .chat_stage import Shown, opened
from .stage import SIZES, is_tame, shows, text, until
from .test_typing import burst


def is_open(shown: Shown, dialog: type) -> bool:
    return isinstance(shown.pilot.app.screen, dialog)


# The leader key


@pytest.mark.parametrize(
    ("key", "dialog"),
    [
        ("h", HelpScreen),
        ("m", ModelPicker),
        ("s", SettingsScreen),
        ("t", ThemePicker),
        ("i", Picker),
        ("f", SessionsScreen),
        ("o", SessionsScreen),
        ("slash", HistoryScreen),
    ],
)
async def test_the_leader_key_reaches_what_the_function_keys_do(
    settings: Settings, paths: Paths, key: str, dialog: type
) -> None:
    async with opened(settings, paths) as shown:
        burst(shown, "ctrl+x", key)
        await shown.until(lambda: is_open(shown, dialog))
        assert shown.screen.prompt.draft.text == ""


@pytest.mark.parametrize("size", SIZES)
async def test_the_leader_key_shows_the_keys_that_can_follow(
    settings: Settings, paths: Paths, size: tuple[int, int]
) -> None:
    async with opened(settings, paths, size) as shown:
        app = shown.pilot.app
        await shown.pilot.press("ctrl+x")
        await until(shown.pilot, lambda: "m  Choose the m" in text(app))
        await shows(app, "g  Branches of")
        assert is_tame(app)
        await shown.pilot.press("escape")
        await until(shown.pilot, lambda: not shown.screen.query(WhichKey))
        await shown.pilot.press("x")
        assert shown.screen.prompt.draft.text == "x"


async def test_a_key_that_cannot_follow_is_told_and_not_typed(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        burst(shown, "ctrl+x", "9", "a")
        await shown.until(lambda: "Ctrl+X 9 has no action." in shown.toasts)
        await shown.until(lambda: shown.screen.prompt.draft.text == "a")


async def test_the_leader_key_undoes_in_the_prompt(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        burst(shown, "a", "ctrl+x", "u", "b")
        await shown.until(lambda: shown.screen.prompt.draft.text == "b")


async def test_the_leader_key_cuts_where_text_is_selected(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        burst(shown, "a", "b", "shift+left", "ctrl+x", "g")
        await shown.until(lambda: shown.screen.prompt.draft.text == "ag")
        assert shown.pilot.app.clipboard == "b"
        assert not shown.screen.query(WhichKey)


async def test_a_configured_key_behind_the_leader_key_works(
    settings: Settings, paths: Paths
) -> None:
    keys = {"chat.theme": "leader ?", "chat.leader": "ctrl+l"}
    async with opened(replace(settings, keys=keys), paths) as shown:
        await shown.pilot.press("ctrl+l", "question_mark")
        await shown.until(lambda: is_open(shown, ThemePicker))


async def test_emacs_keys_of_files_and_quitting(settings: Settings, paths: Paths) -> None:
    async with opened(replace(settings, keymap="emacs"), paths) as shown:
        burst(shown, "ctrl+x", "ctrl+f")
        await shown.until(lambda: is_open(shown, SessionsScreen))
        await shown.pilot.press("ctrl+g")
        await shown.until(lambda: not is_open(shown, SessionsScreen))
        await shown.pilot.press("a", "b", "ctrl+b", "x")
        assert shown.screen.prompt.draft.text == "axb"
        await shown.pilot.press("ctrl+x", "ctrl+c")
        await shown.until(lambda: not shown.pilot.app.is_running)


# The history of prompts


def remember(paths: Paths, *prompts: str) -> None:
    history = PromptHistory(paths.config)
    for prompt in prompts:
        history.add(HistoryEntry(prompt), private=False)


async def test_a_prompt_is_found_by_parts_seen_whole_and_put_into_the_prompt(
    settings: Settings, paths: Paths
) -> None:
    remember(paths, "list the planets\nwith their moons", "why is the sky blue", "say yes")
    async with opened(settings, paths) as shown:
        app = shown.pilot.app
        await shown.pilot.press("ctrl+r")
        await shown.until(lambda: is_open(shown, HistoryScreen))
        await until(shown.pilot, lambda: "say yes" in text(app))
        await shown.pilot.press(*"planet")
        await until(shown.pilot, lambda: "│   with their moons" in text(app))  # the preview
        assert "sky" not in text(app)
        await shown.pilot.press("enter")
        draft = "list the planets\nwith their moons"
        await shown.until(lambda: shown.screen.prompt.draft.text == draft)
        assert shown.screen.prompt.has_focus_within
        assert shown.branch == []
        await shown.pilot.press("ctrl+underscore")
        assert shown.screen.prompt.draft.text == ""


async def test_the_history_begins_with_what_was_typed_and_escape_keeps_it(
    settings: Settings, paths: Paths
) -> None:
    remember(paths, "one thing", "another")
    async with opened(settings, paths) as shown:
        burst(shown, *"thing", "ctrl+r")
        await shown.until(lambda: is_open(shown, HistoryScreen))
        screen: Any = shown.pilot.app.screen
        await until(
            shown.pilot, lambda: [item.title for item in screen.list.shown] == ["one thing"]
        )
        await shown.pilot.press("escape")
        assert shown.screen.prompt.draft.text == "thing"


async def test_each_prompt_is_listed_once_the_newest_first_with_private_ones_of_now(
    settings: Settings, paths: Paths
) -> None:
    remember(paths, "one", "two", "one", " \n")
    async with opened(settings, paths, private=True) as shown:
        await shown.ask("secret")
        await shown.pilot.press("ctrl+r")
        await shown.until(lambda: is_open(shown, HistoryScreen))
        screen: Any = shown.pilot.app.screen
        assert [item.title for item in screen.list.shown] == ["secret", "one", "two"]


# An empty prompt


async def test_a_question_mark_opens_the_help_only_when_the_prompt_is_empty(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.pilot.press("a", "question_mark")
        assert shown.screen.prompt.draft.text == "a?"
        await shown.pilot.press("ctrl+c", "question_mark")
        await shown.until(lambda: is_open(shown, HelpScreen))
        assert shown.screen.prompt.draft.text == ""


async def test_ctrl_d_quits_an_empty_prompt_but_not_the_one_it_emptied(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        burst(shown, "a", "b", "home", *["ctrl+d"] * 5)
        await shown.until(lambda: shown.screen.prompt.draft.text == "")
        await shown.pilot.pause()
        assert shown.pilot.app.is_running
        await shown.pilot.press("left", "ctrl+d")
        await shown.until(lambda: not shown.pilot.app.is_running)


async def test_ctrl_d_asks_before_a_private_chat_is_lost(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.pilot.press("f8")
        await shown.ask("Hello")
        await shown.pilot.press("ctrl+d")
        await shown.until(lambda: is_open(shown, Confirm))
        await shown.pilot.press("n")
        assert shown.pilot.app.is_running
