"""The list with a filter, and the dialogs made of it: models, templates, branches, questions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.events import Key
from textual.keys import key_to_character
from textual.widgets import Input

from tchat.chat.templates import list_templates
from tchat.paths import user_paths
from tchat.sessions.records import Message, Role, Status
from tchat.tui.dialogs.dialog import Confirm, ListDialog, Picker
from tchat.tui.dialogs.help import template_picker
from tchat.tui.dialogs.models import ModelPicker
from tchat.tui.dialogs.sessions import tree_items, tree_picker
from tchat.tui.dialogs.welcome import AGAIN, BROWSE, Welcome
from tchat.tui.services.model_rows import ModelRow
from tchat.tui.widgets.fuzzy_list import FuzzyList, ranked
from tchat.tui.widgets.fuzzy_match import match
from tchat.tui.widgets.item_view import Item, arrange, fit, safe

from .session_service import FakeModelService
from .stage import HOSTILE, NARROW, SIZES, is_tame, lines, shown, shows, text, until

FRUIT = [Item(key=name, title=name) for name in ("apple", "banana", "blood orange", "orange")]


def names(picker: ListDialog) -> list[str]:
    return [item.key for item in picker.list.shown]


# The filter


@pytest.mark.parametrize(
    ("query", "best", "worse"),
    [
        ("or", "orange", "blood orange"),
        ("or", "blood orange", "labor"),
        ("or", "labor", "o r"),
        ("abd", "abxd", "axbxd"),
        ("blue sky", "blue sky", "the sky is blue"),
    ],
)
def test_nearer_to_what_was_typed_is_better(query: str, best: str, worse: str) -> None:
    near, far = match(query, best), match(query, worse)
    assert near is not None
    assert far is not None
    assert near.distance < far.distance


@pytest.mark.parametrize(("query", "title"), [("x", "apple"), ("ba", "ab"), ("aa", "a")])
def test_what_does_not_fit_is_no_match(query: str, title: str) -> None:
    assert match(query, title) is None


@given(st.text(max_size=8), st.text(max_size=30))
def test_the_places_of_a_match_spell_the_query(query: str, title: str) -> None:
    found = match(query, title)
    if found is None:
        return
    assert list(found.places) == sorted(set(found.places))
    spelled = {title[place].lower() for place in found.places}
    if len(title.lower()) == len(title) and len(query.lower()) == len(query):
        assert spelled == set("".join(query.lower().split()))


@given(st.text(min_size=1, max_size=30))
def test_a_title_matches_itself(title: str) -> None:
    assert match(title, title) is not None


def test_what_is_not_shown_finds_too_but_later() -> None:
    items = [Item(key="1", title="one", also="fruit"), Item(key="2", title="fruit salad")]
    assert [item.key for item in ranked(items, "fruit")] == ["2", "1"]
    assert ranked(items, "one fruit")[0].key == "1"


# The lines


@given(st.text(max_size=40), st.integers(0, 20))
def test_a_text_is_cut_to_its_cells(title: str, width: int) -> None:
    assert cell_len(fit(title, width)) <= max(width, 0)


@given(
    st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=5),
    st.integers(0, 120),
)
def test_the_parts_of_a_line_never_need_more_than_it_has(
    rows: list[tuple[str, str]], width: int
) -> None:
    items = [safe(Item(key=str(n), title=a, columns=(b, "x"))) for n, (a, b) in enumerate(rows)]
    marks, title, columns = arrange(items, width)
    assert 2 + marks + title + sum(columns) + 2 * len(columns) <= max(width, 2)


def test_the_last_column_gives_way_first() -> None:
    items = [Item(key="a", title="t" * 30, columns=("quant", "c" * 30))]
    assert arrange(items, 80).columns == (5, 30)
    assert arrange(items, 60).columns == (5, 19)
    assert arrange(items, 45).columns == (5,)
    assert arrange(items, 20).columns == ()


# The picker


@pytest.mark.parametrize("size", SIZES)
async def test_typing_narrows_the_list_and_enter_takes_the_best(size: tuple[int, int]) -> None:
    picker = Picker("Fruit", FRUIT)
    async with shown(picker, size) as (app, pilot):
        await pilot.press(*"or")
        await pilot.pause()
        assert names(picker) == ["orange", "blood orange"]
        await pilot.press("down", "enter")
        await pilot.pause()
        assert app.ended_with == "blood orange"


async def test_keys_that_arrive_at_once_edit_the_filter_in_the_order_typed() -> None:
    picker = Picker("Fruit", FRUIT)
    async with shown(picker) as (app, pilot):
        for key in ("o", "x", "backspace", "r", "a", "left", "home", "l"):
            app.post_message(Key(key, key_to_character(key)))
        await pilot.pause()
        await pilot.pause()
        assert picker.query_one(Input).value == "lora"


async def test_esc_and_a_click_beside_it_choose_nothing() -> None:
    async with shown(Picker("Fruit", FRUIT)) as (app, pilot):
        await pilot.press("escape")
        await pilot.pause()
        assert app.ended_with is None
    async with shown(Picker("Fruit", FRUIT)) as (app, pilot):
        await pilot.click(offset=(1, 1))
        await pilot.pause()
        assert app.ended_with is None


@pytest.mark.parametrize("size", SIZES)
async def test_a_click_takes_the_line(size: tuple[int, int]) -> None:
    async with shown(Picker("Fruit", FRUIT), size) as (app, pilot):
        y = next(n for n, line in enumerate(lines(app)) if "banana" in line)
        await pilot.click(offset=(12, y))
        await pilot.pause()
        assert app.ended_with == "banana"


async def test_the_cursor_begins_where_it_should_and_stops_at_the_ends() -> None:
    picker = Picker("Fruit", FRUIT, cursor="banana")
    async with shown(picker) as (_, pilot):
        assert picker.list.item == FRUIT[1]
        await pilot.press("up", "up", "up")
        assert picker.list.item == FRUIT[0]
        await pilot.press("pagedown", "down")
        assert picker.list.item == FRUIT[3]
        await pilot.press("ctrl+home")
        assert picker.list.item == FRUIT[0]


async def test_enter_in_an_empty_list_does_nothing() -> None:
    async with shown(Picker("Fruit", [], empty="No fruit [/b] today.")) as (app, pilot):
        await shows(app, "No fruit [/b] today.")
        await pilot.press("enter")
        await pilot.pause()
        assert app.ended_with == "not ended"


async def test_without_a_match_the_list_says_so() -> None:
    async with shown(Picker("Fruit", FRUIT), NARROW) as (app, pilot):
        await pilot.press(*"[/x]")
        await pilot.pause()
        await shows(app, "Nothing matches “[/x]”.")


@pytest.mark.parametrize("size", SIZES)
async def test_hostile_names_act_on_nothing(size: tuple[int, int]) -> None:
    item = Item(
        key="a", title=HOSTILE, columns=(HOSTILE,), group=HOSTILE, about=HOSTILE, marked=True
    )
    async with shown(Picker(HOSTILE, [item]), size) as (app, pilot):
        assert is_tame(app)
        await shows(app, "[/foo] ␛[31m⟦U+202E⟧evil")
        await pilot.press(*"foo", "enter")
        await pilot.pause()
        assert app.ended_with == "a"


async def test_hostile_text_pasted_into_the_filter_acts_on_nothing() -> None:
    picker = Picker("Fruit", FRUIT)
    async with shown(picker) as (app, pilot):
        picker.list.set_query(HOSTILE)
        await pilot.pause()
        assert is_tame(app)


async def test_ten_thousand_lines_cost_what_is_on_the_screen() -> None:
    picker = Picker("Many", [Item(key=str(n), title=f"line {n}") for n in range(10_000)])
    async with shown(picker) as (app, pilot):
        await shows(app, "line 0")
        await pilot.press("ctrl+end")
        await pilot.pause()
        await shows(app, "line 9999")
        assert "line 0" not in text(app)


async def test_the_cursor_stays_on_its_item_when_the_items_change() -> None:
    picker = Picker("Fruit", FRUIT, cursor="banana")
    async with shown(picker) as (_, pilot):
        picker.list.set_items(FRUIT[1:])
        await pilot.pause()
        assert picker.list.item == FRUIT[1]
        picker.list.set_items(FRUIT[2:])
        await pilot.pause()
        assert picker.list.item == FRUIT[2]


async def test_the_screen_may_change_its_size_while_it_is_open() -> None:
    async with shown(Picker("Fruit", FRUIT)) as (app, pilot):
        for size in (NARROW, (20, 5), (1, 1), (200, 60)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        await shows(app, "orange")


@pytest.mark.parametrize(
    ("size", "frame"),
    [((60, 16), (60, 16)), ((80, 24), (75, 22)), ((120, 36), (104, 33)), ((200, 60), (176, 52))],
)
async def test_a_dialog_grows_with_the_terminal(
    size: tuple[int, int], frame: tuple[int, int]
) -> None:
    picker = Picker("Fruit", FRUIT)
    async with shown(picker, size) as (app, _):
        assert is_tame(app)
        assert picker.query_one("#frame").outer_size == frame


async def test_a_wide_dialog_shows_all_of_the_text_about_an_item_beside_the_list() -> None:
    about = "\n".join(
        f"{word} {word} {word}" for word in ["one", "two", "three", "four", "five", "six"]
    )
    items = [Item(key="a", title="apple", about=about), Item(key="b", title="banana")]
    picker = Picker("Fruit", items)
    async with shown(picker, (200, 60)) as (app, pilot):
        beside = [line for line in lines(app) if "❯ apple" in line]
        assert "one one one" not in beside[0]  # the filter is above the list, the text at the top
        assert all(
            f"{word} {word}" in text(app) for word in ["one", "two", "three", "four", "five", "six"]
        )
        await pilot.resize_terminal(120, 36)
        await pilot.pause()
        await shows(app, "three three")
        assert "four four" not in text(app)


# Models


def model_rows() -> list[ModelRow]:
    home = Path.home()
    return [
        ModelRow(choice="starter", name="SmolLM2", quantization="Q4_1", size=98_000_000),
        ModelRow(
            choice="/m/a.gguf",
            name="Llama",
            quantization="Q4_K_M",
            size=2_019_377_696,
            path=home / "models" / "a.gguf",
            current=True,
        ),
        ModelRow(choice="/m/b.gguf", name=HOSTILE, quantization=HOSTILE, path=Path("/m/\x1b.gguf")),
    ]


def model_picker(rows: list[ModelRow]) -> ModelPicker:
    service = FakeModelService()
    service.own, service.others, service.offered = rows, [], []
    return ModelPicker(rows, service)


@pytest.mark.parametrize("size", SIZES)
async def test_models_show_what_they_are_and_which_is_in_use(size: tuple[int, int]) -> None:
    async with shown(model_picker(model_rows()), size) as (app, pilot):
        page = text(app)
        assert is_tame(app)
        for part in ("● Llama", "Q4_K_M", "2.0 GB", "98 MB", "~/models/a.gguf"):
            assert part in page
        await pilot.press("enter")
        await pilot.pause()
        assert app.ended_with == "/m/a.gguf"


async def test_models_are_found_by_quantization() -> None:
    picker = model_picker(model_rows())
    async with shown(picker) as (_, pilot):
        await pilot.press(*"q4_1")
        await pilot.pause()
        assert names(picker) == ["search q4_1", "starter"]


async def test_a_path_that_was_typed_can_be_chosen() -> None:
    async with shown(model_picker([])) as (app, pilot):
        await shows(app, "pip install 'tchat[starter]'")
        await pilot.press(*"/m/x.gguf")
        await pilot.pause()
        await shows(app, "Load the file /m/x.gguf")
        await pilot.press("enter")
        await until(pilot, lambda: app.ended_with != "not ended")
        assert app.ended_with == "/m/x.gguf"


# Templates


async def test_templates_show_what_they_are_for() -> None:
    templates, _ = list_templates(user_paths())
    async with shown(template_picker(templates)) as (app, pilot):
        await shows(app, "Translate a text")
        await pilot.press(*"translate", "enter")
        await pilot.pause()
        assert app.ended_with == "translate"


# Branches


def message(number: int, parent: int | None, told: str, status: Status = Status.DONE) -> Message:
    return Message(
        id=number,
        session_id="s",
        parent_id=parent,
        role=Role.USER if number % 2 else Role.ASSISTANT,
        text=told,
        reasoning="",
        status=status,
        created_at=0.0,
        model="",
        model_sha256="",
        quantization="",
        template_hash="",
        sampling={},
        usage={},
        timings={},
        finish_reason="",
    )


TREE = [
    message(1, None, "question"),
    message(2, 1, "first answer"),
    message(4, 1, "second answer", Status.STOPPED),
    message(5, 4, "thanks"),
    message(3, 2, "more"),
]


def test_only_a_fork_goes_to_the_right() -> None:
    drawn = [item.guide + item.title for item in tree_items(TREE, {1, 4, 5})]
    assert drawn == [
        "question",
        "├─ first answer",
        "│  more",
        "╰─ second answer (stopped)",
        "   thanks",
    ]


def test_a_long_session_stays_at_the_left() -> None:
    chain = [message(n, n - 1 or None, "x") for n in range(1, 3000)]
    assert {item.guide for item in tree_items(chain, ())} == {""}


def test_many_forks_in_one_another_stay_on_the_screen() -> None:
    forks = [message(1, None, "x")]
    for n in range(2, 400, 2):
        forks += [message(n, max(1, n - 2), "a"), message(n + 1, max(1, n - 2), "b")]
    items = list(tree_items(forks, ()))
    assert len(items) == len(forks)
    assert max(len(item.guide) for item in items) < 40


@pytest.mark.parametrize("size", SIZES)
async def test_the_tree_begins_at_the_end_of_the_active_path(size: tuple[int, int]) -> None:
    tree = [*TREE, message(6, 5, HOSTILE)]
    async with shown(tree_picker(tree, {1, 4, 5, 6}), size) as (app, pilot):
        assert is_tame(app)
        await pilot.press("up", "enter")
        await pilot.pause()
        assert app.ended_with == "5"


# Questions


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("keys", "answer"),
    [("enter", False), ("y", True), ("n", False), ("right enter", True), ("escape", None)],
)
async def test_a_dangerous_question_begins_at_the_safe_answer(
    size: tuple[int, int], keys: str, answer: bool | None
) -> None:
    question = Confirm(f"Delete {HOSTILE}?", HOSTILE, yes="Delete", no="Keep", danger=True)
    async with shown(question, size) as (app, pilot):
        assert is_tame(app)
        await shows(app, "Keep")
        await pilot.press(*keys.split())
        await pilot.pause()
        assert app.ended_with is answer


async def test_a_question_can_be_answered_with_the_mouse() -> None:
    async with shown(Confirm("Open it?", "https://example.org/", yes="Open")) as (app, pilot):
        await pilot.click("#yes")
        await pilot.pause()
        assert app.ended_with is True


# The first run


@pytest.mark.parametrize("size", SIZES)
async def test_the_welcome_tells_how_to_get_a_model(size: tuple[int, int]) -> None:
    async with shown(Welcome(), size) as (app, pilot):
        await shows(app, "pip install 'tchat[starter]'")
        await pilot.press("enter")
        await pilot.pause()
        assert app.ended_with == "not ended"
        assert app.clipboard == "pip install 'tchat[starter]'"
        await pilot.press(*"/m/a.gguf", "enter")
        await pilot.pause()
        assert app.ended_with == "/m/a.gguf"


@pytest.mark.parametrize(
    ("keys", "result"), [(["enter"], BROWSE), (["down", "down", "down", "enter"], AGAIN)]
)
async def test_the_welcome_offers_what_is_there(keys: list[str], result: str) -> None:
    async with shown(Welcome(found=3)) as (app, pilot):
        await shows(app, "Choose from 3 files")
        await pilot.press(*keys)
        await pilot.pause()
        assert app.ended_with == result


def test_items_are_safe_before_they_are_matched() -> None:
    def generated() -> Iterator[Item]:
        yield Item(key="a", title="a\x1b\nb")

    assert [item.title for item in FuzzyList(generated())._items] == ["a␛ b"]
