"""Help and palette: every declared key and command, as it is in force."""

from __future__ import annotations

import pytest

from tchat.chat.commands import Surface, commands_for
from tchat.tui.dialogs.help import HelpScreen, command_palette, help_items
from tchat.tui.keys import KEYS, Scope, with_keymap

from .stage import SIZES, is_tame, shown, text

COMMANDS = commands_for(Surface.SCREEN)


def test_nothing_that_is_declared_is_missing() -> None:
    keys = {item.key for item in help_items(KEYS, COMMANDS)}
    assert {action.id for action in KEYS} <= keys
    assert {f"/{command.name}" for command in COMMANDS} <= keys


def test_keys_of_one_scope_stand_together_whatever_their_order() -> None:
    groups = [item.group for item in help_items(tuple(reversed(KEYS)), ())]
    assert groups == sorted(groups, key=groups.index)
    assert groups[0] == "Keys · Chat"


@pytest.mark.parametrize("size", SIZES)
async def test_the_help_shows_remapped_keys_and_their_names(size: tuple[int, int]) -> None:
    actions = with_keymap({"chat.help": "f12"})
    async with shown(HelpScreen(actions, COMMANDS), size) as (app, _):
        page = text(app)
        assert is_tame(app)
        assert "F12" in page
        assert 'chat.help = "f12"' in page


async def test_a_command_is_found_by_its_meaning_and_handed_back() -> None:
    async with shown(HelpScreen(KEYS, COMMANDS)) as (app, pilot):
        await pilot.press(*"/export")
        await pilot.pause()
        assert "[FILE]" in text(app)
        await pilot.press("enter")
        await pilot.pause()
        assert app.ended_with == "/export"


async def test_a_key_is_only_there_to_read() -> None:
    async with shown(HelpScreen(KEYS, COMMANDS)) as (app, pilot):
        await pilot.press("enter")
        await pilot.pause()
        assert app.ended_with is None


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("typed", "result"),
    [
        ("branches", "chat.branches"),
        ("private", "chat.private"),
        ("title", "/title"),
        ("exit", "/quit"),  # a name, before titles with its letters apart
        ("try", "chat.try"),  # before the title that ends in `retry`
        ("/e", "/edit"),
    ],
)
async def test_the_palette_ends_with_what_to_do(
    size: tuple[int, int], typed: str, result: str
) -> None:
    actions = [action for action in KEYS if action.scope == Scope.CHAT]
    async with shown(command_palette(actions, COMMANDS), size) as (app, pilot):
        await pilot.press(*typed)
        await pilot.pause()
        assert is_tame(app)
        await pilot.press("enter")
        await pilot.pause()
        assert app.ended_with == result
