"""The settings: shown with all that is known of them, changed in place, checked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.errors import StorageError, UsageError
from tchat.settings import Key, Sampling, Settings, Value, find_key, keys
from tchat.tui.dialogs.settings import SettingsScreen, editable, typed

from .stage import HOSTILE, SIZES, is_tame, shown, text, until

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
    return SettingsScreen(SETTINGS, {"ctx_size": "environment"}, changes)


async def find(pilot: Any, opened: SettingsScreen, name: str) -> None:
    opened.list.set_query(name)
    await pilot.pause()
    assert opened.list.item is not None
    assert opened.list.item.key == name


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
    opened = screen(changes)
    async with shown(opened) as (app, pilot):
        assert {item.key for item in opened.list.shown} == set(keys())
        await find(pilot, opened, "ctx_size")
        page = text(app)
        for part in ("● ctx_size", "4096", "environment", "Context window in tokens", "default 0"):
            assert part in page
        assert "a whole number from 0 to 16777216" in page


@pytest.mark.parametrize("size", SIZES)
async def test_hostile_values_act_on_nothing(changes: Changes, size: tuple[int, int]) -> None:
    opened = screen(changes)
    async with shown(opened, size) as (app, pilot):
        for name in ("system", "stop"):
            await find(pilot, opened, name)
            assert is_tame(app)
            await pilot.press("enter")
            await pilot.pause()
            assert is_tame(app)
            await pilot.press("enter")
            await pilot.pause()
        assert changes == []


@pytest.mark.parametrize("size", SIZES)
async def test_a_number_is_typed_where_it_stands(changes: Changes, size: tuple[int, int]) -> None:
    opened = screen(changes)
    async with shown(opened, size) as (app, pilot):
        await find(pilot, opened, "temp")
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press(*"0.25", "enter")
        await until(pilot, lambda: bool(changes))
        await pilot.pause()
        assert changes == [("temp", 0.25, False)]
        assert "0.25" in text(app)


async def test_a_wrong_value_is_told_and_can_be_mended(changes: Changes) -> None:
    opened = screen(changes)
    async with shown(opened) as (app, pilot):
        await find(pilot, opened, "temp")
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press(*"99", "enter")
        await until(pilot, lambda: "must be a number from 0 to 10" in text(app))
        assert opened.list.editing
        assert changes == []
        await pilot.press("end", "backspace", "enter")
        await until(pilot, lambda: changes == [("temp", 9.0, False)])


async def test_esc_leaves_the_value_and_then_the_screen(changes: Changes) -> None:
    opened = screen(changes)
    async with shown(opened) as (app, pilot):
        await find(pilot, opened, "temp")
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press(*"5", "escape")
        await pilot.pause()
        assert not opened.list.editing
        assert app.ended_with == "not ended"
        await pilot.press("escape")
        await pilot.pause()
        assert app.ended_with is None
        assert changes == []


@pytest.mark.parametrize(
    ("name", "values"),
    [("think", ["on", "off", "auto"]), ("save_oneshots", [False, True])],
)
async def test_what_has_few_values_goes_to_the_next_one(
    changes: Changes, name: str, values: list[Value]
) -> None:
    opened = screen(changes)
    async with shown(opened) as (_, pilot):
        await find(pilot, opened, name)
        for count, _ in enumerate(values, 1):
            await pilot.press("enter")
            await until(pilot, lambda count=count: len(changes) == count)  # type: ignore[misc]
            await pilot.pause()
    assert [value for _, value, _ in changes] == values


async def test_a_value_is_saved_and_set_back(changes: Changes) -> None:
    opened = screen(changes)
    async with shown(opened) as (app, pilot):
        await find(pilot, opened, "ctx_size")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: changes == [("ctx_size", 4096, True)])
        await pilot.pause()
        assert "config.toml" in text(app)
        await pilot.press("ctrl+d")
        await until(pilot, lambda: changes[1:] == [("ctx_size", 0, False)])
        await pilot.pause()
        assert "this chat" in text(app)


@pytest.mark.parametrize("size", SIZES)
async def test_what_cannot_be_changed_is_told_and_shown_as_it_was(
    changes: Changes, size: tuple[int, int]
) -> None:
    changes.broken = True
    opened = screen(changes)
    async with shown(opened, size) as (app, pilot):
        await find(pilot, opened, "ctx_size")
        await pilot.press("ctrl+d")
        await until(pilot, lambda: "cannot write [/x]␛" in text(app))
        assert is_tame(app)
        assert "4096" in text(app)


async def test_a_setting_is_found_by_its_meaning(changes: Changes) -> None:
    opened = screen(changes)
    async with shown(opened) as (_, pilot):
        await pilot.press(*"nucleus")
        await pilot.pause()
        assert [item.key for item in opened.list.shown] == ["top_p"]


async def test_what_the_file_holds_is_told_beside_another_value(changes: Changes) -> None:
    opened = SettingsScreen(SETTINGS, {}, changes)
    async with shown(opened) as (app, pilot):
        await find(pilot, opened, "top_k")
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press(*["backspace"] * 4, "7", "enter")
        await until(pilot, lambda: bool(changes))
        await pilot.press("ctrl+s", "ctrl+d")
        await until(pilot, lambda: len(changes) == 3)
        await pilot.pause()
        default = find_key("top_k").default
        assert changes[1:] == [("top_k", 7, True), ("top_k", default, False)]
        assert "this chat; config.toml: 7" in text(app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: len(changes) == 4)
        await pilot.pause()
        assert "config.toml: 7" not in text(app)


async def test_keys_pressed_fast_are_carried_out_in_their_order() -> None:
    done: list[tuple[Value, bool]] = []

    async def slow(_: Key, value: Value, save: bool) -> None:
        await asyncio.sleep(0.05 if save else 0.01)
        done.append((value, save))

    opened = SettingsScreen(Settings(), {}, slow)
    async with shown(opened) as (app, pilot):
        await find(pilot, opened, "show_details")
        await pilot.press("enter", "ctrl+s", "ctrl+d")
        await until(pilot, lambda: len(done) == 3)
        await pilot.pause()
        assert done == [(True, False), (True, True), (False, False)]
        assert "this chat; config.toml: true" in text(app)
