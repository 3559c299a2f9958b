"""The settings: shown with all that is known of them, changed in place, checked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.errors import StorageError, UsageError
from tchat.models.models_file import set_model_setting
from tchat.paths import Paths
from tchat.settings import Key, Sampling, Settings, Value, find_key, keys, load
from tchat.tui.dialogs.dialog import Picker
from tchat.tui.dialogs.settings import SECTIONS, SettingsScreen, _shown, editable, typed
from tests.tiny import write_tiny

from .chat_stage import opened
from .stage import HOSTILE, SIZES, is_tame, shown, shows, text, until

SETTINGS = Settings(system=HOSTILE, ctx_size=4096, sampling=Sampling(stop=("###", HOSTILE)))


class Changes(list[tuple[str, Value, bool]]):
    """What was changed; ``broken`` refuses it."""

    broken = False

    async def __call__(self, key: Key, value: Value, save: bool) -> None:
        if self.broken:
            raise StorageError("cannot write [/x]\x1b")
        self.append((key.name, value, save))


@pytest.fixture
def changes() -> Changes:
    return Changes()


def screen(changes: Changes) -> SettingsScreen:
    return SettingsScreen(SETTINGS, {"ctx_size": "environment"}, changes, file="/etc/[/x].toml")


async def find(pilot: Any, dialog: SettingsScreen, name: str) -> None:
    dialog.list.set_query(name)
    await pilot.pause()
    assert dialog.list.item is not None
    assert dialog.list.item.key == name


@given(st.sampled_from(sorted(keys())), st.data())
def test_what_is_shown_for_editing_reads_back_as_it_was(name: str, data: st.DataObject) -> None:
    key = find_key(name)
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    if key.kind is str and not key.choices and not key.require:
        value: Value = data.draw(texts)
    elif key.kind is tuple:
        value = tuple(data.draw(st.lists(texts, max_size=3)))
    else:
        value = key.default
    shown_text = editable(value)
    assert "\x1b" not in shown_text
    assert "\n" not in shown_text
    assert typed(key, shown_text) == value


@pytest.mark.parametrize("line", ['"unfinished', '"'])
def test_a_quotation_mark_is_a_character_like_any_other(line: str) -> None:
    assert typed(find_key("system"), line) == line


def test_text_without_anything_in_it_is_no_list() -> None:
    assert typed(find_key("stop"), " ") == ()


@given(st.sampled_from(sorted(keys())), st.text(max_size=20))
def test_any_text_is_a_value_or_a_usage_error(name: str, line: str) -> None:
    try:
        value = typed(find_key(name), line)
    except UsageError:
        return
    assert type(value) is find_key(name).kind


async def test_every_setting_is_there_with_help_value_and_origin(changes: Changes) -> None:
    dialog = screen(changes)
    async with shown(dialog) as (app, pilot):
        assert {item.key for item in dialog.list.shown} == set(keys())
        await find(pilot, dialog, "ctx_size")
        page = text(app)
        for part in (
            "● ctx_size",
            "4096 tokens",
            "environment",
            "Context window in tokens",
            "default 0",
            "config.toml: ctx_size · --ctx-size · TCHAT_CTX_SIZE",
        ):
            assert part in page
        assert "a whole number from 0 to 16777216" in page


@pytest.mark.parametrize("size", SIZES)
async def test_hostile_values_act_on_nothing(changes: Changes, size: tuple[int, int]) -> None:
    dialog = screen(changes)
    async with shown(dialog, size) as (app, pilot):
        for name in ("system", "stop"):
            await find(pilot, dialog, name)
            assert is_tame(app)
            await pilot.press("enter")
            await pilot.pause()
            assert is_tame(app)
            await pilot.press("enter")
            await pilot.pause()
        assert changes == []


@pytest.mark.parametrize("size", SIZES)
async def test_a_number_is_typed_where_it_stands(changes: Changes, size: tuple[int, int]) -> None:
    dialog = screen(changes)
    async with shown(dialog, size) as (app, pilot):
        await find(pilot, dialog, "temp")
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press(*"0.25", "enter")
        await until(pilot, lambda: bool(changes))
        await pilot.pause()
        assert changes == [("temp", 0.25, False)]
        await shows(app, "0.25")


async def test_a_wrong_value_is_told_and_can_be_mended(changes: Changes) -> None:
    dialog = screen(changes)
    async with shown(dialog) as (app, pilot):
        await find(pilot, dialog, "temp")
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press(*"99", "enter")
        await until(pilot, lambda: "must be a number from 0 to 10" in text(app))
        assert dialog.list.editing
        assert changes == []
        assert not app._notifications
        assert dialog.list.item is not None
        assert dialog.list.item.columns[1] == "✗ not changed"
        await pilot.press("end", "backspace", "enter")
        await until(pilot, lambda: changes == [("temp", 9.0, False)])
        await until(pilot, lambda: "must be a number" not in text(app))


async def test_a_change_that_failed_is_told_at_its_setting(changes: Changes) -> None:
    dialog = screen(changes)
    changes.broken = True
    async with shown(dialog) as (app, pilot):
        await find(pilot, dialog, "save_oneshots")
        for keys_ in ("enter", "ctrl+s"):
            await pilot.press(keys_)
            await until(pilot, lambda: "✗ cannot write [/x]␛" in text(app))
            assert not app._notifications
        dialog.list.set_query("temp")
        await until(pilot, lambda: "✗" not in text(app))
        changes.broken = False
        await find(pilot, dialog, "save_oneshots")
        await pilot.press("enter")
        await until(pilot, lambda: len(changes) == 1)
        await until(pilot, lambda: "✗" not in text(app))


async def test_esc_leaves_the_value_and_then_the_screen(changes: Changes) -> None:
    dialog = screen(changes)
    async with shown(dialog) as (app, pilot):
        await find(pilot, dialog, "temp")
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press(*"5", "escape")
        await pilot.pause()
        assert not dialog.list.editing
        assert app.ended_with == "not ended"
        await pilot.press("escape")
        await pilot.pause()
        assert app.ended_with is None
        assert changes == []


async def test_a_switch_is_switched(changes: Changes) -> None:
    dialog = screen(changes)
    async with shown(dialog) as (app, pilot):
        await find(pilot, dialog, "save_oneshots")
        for count in (1, 2):
            await pilot.press("enter")
            await until(pilot, lambda count=count: len(changes) == count)  # type: ignore[misc]
            await pilot.pause()
            await shows(app, ("off", "on")[count - 1])
    assert [value for _, value, _ in changes] == [False, True]


@pytest.mark.parametrize("size", SIZES)
async def test_a_choice_is_made_from_a_list(changes: Changes, size: tuple[int, int]) -> None:
    dialog = screen(changes)
    async with shown(dialog, size) as (app, pilot):
        await find(pilot, dialog, "think")
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, Picker)
        assert is_tame(app)
        await shows(app, "● auto")
        await pilot.press("enter")  # what is in use already
        await pilot.pause()
        assert changes == []
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press(*"off", "enter")
        await until(pilot, lambda: changes == [("think", "off", False)])


async def test_what_differs_from_the_default_can_be_shown_alone(changes: Changes) -> None:
    dialog = screen(changes)
    async with shown(dialog) as (app, pilot):
        await shows(app, "3 differ from the default")
        await pilot.press("tab")
        await pilot.pause()
        assert [item.key for item in dialog.list.shown] == ["system", "ctx_size", "stop"]
        await pilot.press("tab")
        await pilot.pause()
        assert len(dialog.list.shown) == len(keys())


def test_every_setting_is_in_one_section() -> None:
    listed = [name for names in SECTIONS.values() for name in names]
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(keys())


@pytest.mark.parametrize("name", ["threads", "max_tokens", "kv_cache_disk_mb", "temp"])
def test_a_number_has_its_unit_where_it_counts_something(name: str) -> None:
    unit = {"threads": " threads", "max_tokens": " tokens", "kv_cache_disk_mb": " MB"}
    assert _shown(find_key(name), 8) == f"8{unit.get(name, '')}"
    assert _shown(find_key(name), -1) == "-1"


async def test_origins_are_words(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Default, file, environment, flag, session and the model's own."""
    paths.config.mkdir(exist_ok=True)
    paths.config_file.write_text("[sampling]\ntop_k = 7\n", encoding="utf-8")
    monkeypatch.setenv("TCHAT_TOP_P", "0.5")
    loaded = load(paths).settings
    base = replace(
        settings, sampling=replace(loaded.sampling, min_p=0.1), batch_size=loaded.batch_size
    )
    path = Path(settings.model)
    set_model_setting(paths, str(path), path, find_key("cache_type"), "q8_0")
    async with opened(base, paths) as chat:
        await chat.screen.conversation.change({"temp": 0.3})
        await chat.pilot.press("f3")
        await chat.until(lambda: isinstance(chat.pilot.app.screen, SettingsScreen))
        top = chat.pilot.app.screen
        assert isinstance(top, SettingsScreen)
        words = {item.key: item.columns[1] for item in top.list.shown}
    expected = {
        "typical_p": "default",
        "top_k": "config.toml",
        "top_p": "environment",
        "min_p": "flag",
        "temp": "session",
        "cache_type": "models.toml",
    }
    assert {name: words[name] for name in expected} == expected


@pytest.mark.parametrize("before", ["", "lock_after = 7\n"])
async def test_a_value_that_the_file_got_after_the_start_is_no_flag(
    settings: Settings, paths: Paths, before: str
) -> None:
    paths.config.mkdir(exist_ok=True)
    paths.config_file.write_text(before, encoding="utf-8")
    base = replace(load(paths).settings, model=settings.model)
    async with opened(base, paths) as chat:
        paths.config_file.write_text("lock_after = 5\n", encoding="utf-8")
        await chat.pilot.press("f3")
        await chat.until(lambda: isinstance(chat.pilot.app.screen, SettingsScreen))
        top = chat.pilot.app.screen
        assert isinstance(top, SettingsScreen)
        words = {item.key: item.columns[1] for item in top.list.shown}
    assert words["lock_after"] == "at the start; config.toml: 5"


async def test_what_the_model_recommends_is_shown_as_such(paths: Paths, tmp_path: Path) -> None:
    own = {"general.sampling.temp": 0.25, "general.sampling.top_k": 9}
    path = write_tiny(tmp_path / "own.gguf", metadata=own)
    async with opened(Settings(model=str(path), threads=1), paths) as chat:
        await chat.screen.conversation.change({"top_k": 3})
        await chat.pilot.press("f3")
        await chat.until(lambda: isinstance(chat.pilot.app.screen, SettingsScreen))
        top = chat.pilot.app.screen
        assert isinstance(top, SettingsScreen)
        columns = {item.key: item.columns for item in top.list.shown}
    assert columns["temp"] == ("0.25", "model file")
    assert columns["top_k"] == ("3 tokens", "session")


async def test_a_value_is_saved_and_set_back(changes: Changes) -> None:
    dialog = screen(changes)
    async with shown(dialog) as (app, pilot):
        await find(pilot, dialog, "ctx_size")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: changes == [("ctx_size", 4096, True)])
        await pilot.pause()
        await shows(app, "saved in /etc/[/x].toml")
        await pilot.press("ctrl+d")
        await until(pilot, lambda: changes[1:] == [("ctx_size", 0, False)])
        await pilot.pause()
        await shows(app, "session; config.toml: 4096")


@pytest.mark.parametrize("size", SIZES)
async def test_what_cannot_be_changed_is_told_and_shown_as_it_was(
    changes: Changes, size: tuple[int, int]
) -> None:
    changes.broken = True
    dialog = screen(changes)
    async with shown(dialog, size) as (app, pilot):
        await find(pilot, dialog, "ctx_size")
        await pilot.press("ctrl+d")
        await until(pilot, lambda: "cannot write [/x]␛" in text(app))
        assert is_tame(app)
        await shows(app, "4096")


async def test_a_setting_is_found_by_its_meaning(changes: Changes) -> None:
    dialog = screen(changes)
    async with shown(dialog) as (_, pilot):
        await pilot.press(*"nucleus")
        await pilot.pause()
        assert [item.key for item in dialog.list.shown] == ["top_p"]


async def test_what_the_file_holds_is_told_beside_another_value(changes: Changes) -> None:
    dialog = SettingsScreen(SETTINGS, {}, changes)
    async with shown(dialog) as (app, pilot):
        await find(pilot, dialog, "top_k")
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press(*["backspace"] * 4, "7", "enter")
        await until(pilot, lambda: bool(changes))
        await pilot.press("ctrl+s", "ctrl+d")
        await until(pilot, lambda: len(changes) == 3)
        await pilot.pause()
        default = find_key("top_k").default
        assert changes[1:] == [("top_k", 7, True), ("top_k", default, False)]
        await shows(app, "session; config.toml: 7")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: len(changes) == 4)
        await pilot.pause()
        assert "config.toml: 7" not in text(app)


async def test_keys_pressed_fast_are_carried_out_in_their_order() -> None:
    done: list[tuple[Value, bool]] = []

    async def slow(_: Key, value: Value, save: bool) -> None:
        await asyncio.sleep(0.05 if save else 0.01)
        done.append((value, save))

    dialog = SettingsScreen(Settings(), {}, slow)
    async with shown(dialog) as (app, pilot):
        await find(pilot, dialog, "show_details")
        await pilot.press("enter", "ctrl+s", "ctrl+d")
        await until(pilot, lambda: len(done) == 3)
        await pilot.pause()
        assert done == [(True, False), (True, True), (False, False)]
        await shows(app, "session; config.toml: true")


@pytest.mark.parametrize("again", [False, True])
async def test_a_setting_that_was_reset_has_its_default(
    settings: Settings, paths: Paths, again: bool
) -> None:
    async with opened(settings, paths) as chat:
        await chat.screen.conversation.change({"top_k": 7})
        await chat.pilot.press("f3")
        await chat.until(lambda: isinstance(chat.pilot.app.screen, SettingsScreen))
        top = chat.pilot.app.screen
        assert isinstance(top, SettingsScreen)
        await find(chat.pilot, top, "top_k")
        assert top.list.item is not None
        assert top.list.item.columns[1] == "session"
        await chat.pilot.press("ctrl+d")
        await chat.until(lambda: bool(top.list.item and top.list.item.columns[1] == "default"))
        if again:
            await chat.pilot.press("escape", "escape", "f3")
            await chat.until(lambda: chat.pilot.app.screen not in (top, chat.screen))
            reopened = chat.pilot.app.screen
            assert isinstance(reopened, SettingsScreen)
            words = {item.key: item.columns[1] for item in reopened.list.shown}
            assert words["top_k"] == "default"


async def test_a_small_terminal_shows_sources_and_the_names_of_a_setting(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, (60, 16)) as chat:
        await chat.pilot.press("f3")
        await chat.until(lambda: isinstance(chat.pilot.app.screen, SettingsScreen))
        await chat.pilot.pause()
        shown_lines = text(chat.pilot.app).splitlines()
        for name in ("system", "ctx_size"):
            assert "default" in next(line for line in shown_lines if name in line)
        await shows(chat.pilot.app, "config.toml: model · -m · TCHAT_MODEL")
        await shows(chat.pilot.app, settings.model[:40])  # below, as the list cuts it
