"""Help and palette: every declared key and command, as it is in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.chat.commands import Surface, commands_for
from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.dialogs.dialog import Picker
from tchat.tui.dialogs.help import HelpScreen, command_palette, help_items, palette_items
from tchat.tui.dialogs.settings import SettingsScreen
from tchat.tui.keys import KEYS, Scope, with_keymap
from tchat.tui.services.palette import DAY, PaletteUse

from .chat_stage import opened
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


def test_the_palette_shows_actions_before_navigation_and_what_is_used_first() -> None:
    actions = [action for action in KEYS if action.scope == Scope.CHAT]
    items = palette_items(actions, COMMANDS, ("/stats", "chat.theme", "gone"))
    assert [item.key for item in items[:2]] == ["/stats", "chat.theme"]
    groups = list(dict.fromkeys(item.group for item in items))
    assert groups == ["Used recently", "Actions", "Commands", "Navigation"]
    assert len({item.key for item in items}) == len(items) == len(actions) + len(COMMANDS)


def test_what_is_chosen_often_and_lately_is_first(tmp_path: Path) -> None:
    use = PaletteUse(tmp_path / "cache" / "palette.json")
    assert use.first() == []
    for day, key in enumerate(("old", "old", "often", "often", "often", "late"), 1):
        use.record(key, day * DAY)
    assert list(use.first(7 * DAY)) == ["often", "late", "old"]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"a": 3}', b'{"a": [1, "x"]}', b"\xff", b"[" * 9999]
)
def test_a_broken_record_of_uses_is_as_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "palette.json"
    file.write_bytes(content)
    use = PaletteUse(file)
    assert use.first() == []
    use.record("chat.theme")
    assert use.first() == ["chat.theme"]


async def test_a_use_is_remembered_by_the_screen(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as chat:
        await chat.pilot.press("alt+x")
        await chat.until(lambda: isinstance(chat.pilot.app.screen, Picker))
        await chat.pilot.press(*"details", "enter")
        await chat.until(paths.palette_file.exists)
        await chat.pilot.press("alt+x")
        await chat.until(lambda: "Used recently" in text(chat.pilot.app))


@pytest.mark.parametrize(
    ("keys", "scope"),
    [((), Scope.PROMPT), (("alt+up",), Scope.MESSAGES), (("f3",), Scope.SETTINGS)],
)
async def test_the_help_opens_at_what_is_being_done(
    settings: Settings, paths: Paths, keys: tuple[str, ...], scope: Scope
) -> None:
    async with opened(settings, paths) as chat:
        app = chat.pilot.app
        await chat.ask("Hello")
        await chat.pilot.press(*keys)
        if "f3" in keys:
            await chat.until(lambda: isinstance(app.screen, SettingsScreen))
        below = app.screen
        await chat.pilot.press("f1")
        await chat.until(lambda: isinstance(app.screen, HelpScreen))
        top = app.screen
        assert isinstance(top, HelpScreen)
        assert top.list.shown[0].group == f"Keys · {scope}"
        await chat.pilot.press("f1" if "f3" in keys else "escape")
        await chat.until(lambda: app.screen is below)
