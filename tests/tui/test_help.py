"""Help and palette: every declared key and command, as it is in force."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.screen import Screen

from tchat.chat.commands import Surface, commands_for
from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.dialogs.dialog import Picker
from tchat.tui.dialogs.help import HelpScreen, command_palette, help_items, palette_items
from tchat.tui.dialogs.judge import JudgeScreen
from tchat.tui.dialogs.settings import SettingsScreen
from tchat.tui.dialogs.themes import ThemePicker
from tchat.tui.keymap import ALL_BINDINGS
from tchat.tui.keys import FIRST_KEYS, KEYS, Scope, with_keymap
from tchat.tui.services.palette import DAY, PaletteUse
from tchat.tui.widgets.fuzzy_list import ranked
from tchat.tui.widgets.item_view import Item

from .chat_stage import ENDLESS, opened
from .stage import SIZES, is_tame, lines, shown, shows, text, until

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
        await shows(app, "[FILE]")
        await pilot.press("enter")
        await pilot.pause()
        assert app.ended_with == "/export"


async def test_enter_runs_a_key_of_the_chat_and_its_hint_is_there_only_then() -> None:
    async with shown(HelpScreen(ALL_BINDINGS, COMMANDS)) as (app, pilot):
        await shows(app, "Enter do it")
        await pilot.press(*"/export")
        await until(pilot, lambda: "Enter use the command" in text(app))
        await pilot.press("ctrl+u", *"prompt.send")
        await until(pilot, lambda: "Enter do" not in text(app) and "Enter use" not in text(app))
        await pilot.press("enter")
        await pilot.pause()
        assert app.ended_with == "not ended"
        await pilot.press("ctrl+u", *"chat.theme", "enter")
        await until(pilot, lambda: app.ended_with == "chat.theme")


async def test_over_a_dialog_all_is_only_there_to_read() -> None:
    screen = HelpScreen(ALL_BINDINGS, COMMANDS, Scope.SETTINGS, only_read=True)
    async with shown(screen) as (app, pilot):
        for typed in ("", "/export", "chat.theme"):
            await pilot.press("ctrl+u", *typed, "enter")
            await pilot.pause()
            assert "Enter" not in lines(app)[-4]
            assert app.ended_with == "not ended"


@pytest.mark.parametrize(
    ("typed", "done"), [("chat.theme", ThemePicker), ("chat.judge", JudgeScreen)]
)
async def test_the_help_carries_out_an_action(
    typed: str, done: type[Screen[object]], settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as chat:
        await chat.pilot.press("f1", *typed, "enter")
        await chat.until(lambda: isinstance(chat.pilot.app.screen, done))


def groups(items: Iterable[Item]) -> list[str]:
    return list(dict.fromkeys(item.group for item in items))


def test_what_can_be_done_now_comes_first_and_line_editing_last() -> None:
    items = list(help_items(ALL_BINDINGS, COMMANDS, Scope.PROMPT))
    assert groups(items)[:3] == ["Keys · Prompt", "Keys · Chat", "Commands"]
    assert groups(items)[-1] == "Keys · Line editing"
    assert [item.title for item in items[:4]] == ["Enter", "Ctrl+J, Shift+Enter", "/", "@"]
    items = list(help_items(ALL_BINDINGS, COMMANDS, Scope.PROMPT, writing=True))
    assert groups(items)[:2] == ["Keys · While a reply is written", "Keys · Prompt"]
    assert [item.key for item in items[:4]].count("chat.stop") == 1
    assert groups(help_items(ALL_BINDINGS, COMMANDS, Scope.SETTINGS))[:3] == [
        "Keys · Settings",
        "Keys · Lists",
        "Keys · Dialogs",
    ]


def test_the_help_tells_what_escape_does_twice() -> None:
    found = ranked(list(help_items(KEYS, COMMANDS)), "edit last question")
    assert found[0].key == "chat.stop"


async def test_the_help_opens_at_what_stops_a_reply(settings: Settings, paths: Paths) -> None:
    endless = replace(settings, sampling=replace(ENDLESS, max_tokens=100_000))
    async with opened(endless, paths) as chat:
        app = chat.pilot.app
        await chat.type("Hello")
        await chat.until(lambda: bool(chat.last.text))
        await chat.pilot.press("f1")
        await chat.until(lambda: isinstance(app.screen, HelpScreen))
        top = app.screen
        assert isinstance(top, HelpScreen)
        assert top.list.item
        assert top.list.item.key == "chat.stop"
        await chat.pilot.press("enter")
        await chat.idle()
        assert chat.last.status == "stopped"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("typed", "result"),
    [
        ("branches", "chat.branches"),
        ("private", "chat.private"),
        ("/title", "chat.rename"),  # by the name of its command
        ("exit", "chat.quit"),  # a name, before titles with its letters apart
        ("try", "chat.try"),  # before the title that ends in `retry`
        ("/ed", "/edit"),
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
    assert len({item.key for item in items}) == len(items)


def test_the_palette_has_one_entry_for_a_key_and_the_command_that_does_the_same() -> None:
    actions = [action for action in KEYS if action.scope == Scope.CHAT]
    names = [command.name for command in COMMANDS]
    served = [action.command for action in actions if action.command]
    assert set(served) <= set(names)
    assert len(set(served)) == len(served)
    items = palette_items(actions, COMMANDS, ("/regen", "chat.regenerate", "/stats"))
    assert [item.key for item in items[:2]] == ["chat.regenerate", "/stats"]
    assert len(items) == len(actions) + len(COMMANDS) - len(served)
    titles = [item.title.casefold() for item in items]
    assert len(set(titles)) == len(titles)
    exported = next(item for item in items if item.key == "chat.export")
    assert exported.columns == ("Ctrl+X w", "/export")


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


async def test_a_narrow_help_shows_the_whole_meaning_below() -> None:
    async with shown(HelpScreen(ALL_BINDINGS, COMMANDS), (60, 16)) as (app, pilot):
        for typed, meaning in (
            ("models.remove", "Remove it (asks first), or stop or dismiss its download"),
            ("a list opens", "A command: a list opens"),
            ("/regen", next(each.help for each in COMMANDS if each.name == "regen")),
        ):
            await pilot.press("ctrl+u", *typed)
            await pilot.pause()
            assert meaning in " ".join(text(app).replace("│", " ").split())


def test_the_palette_has_the_name_that_the_first_screen_gives_it() -> None:
    palette = next(each for each in KEYS if each.id == "chat.palette")
    named = dict(FIRST_KEYS)["chat.palette"]
    assert command_palette(KEYS, COMMANDS)._heading.lower() == palette.help.lower() == named
