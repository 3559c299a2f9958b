"""The model picker: its table, downloads, actions, and what changes behind it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from tchat.models.catalogue_entry import ABILITIES
from tchat.tui.dialogs.dialog import Confirm, Picker
from tchat.tui.dialogs.model_actions import ModelDetails
from tchat.tui.dialogs.model_table import ABILITY_NAMES
from tchat.tui.dialogs.models import ModelPicker
from tchat.tui.dialogs.text_question import TextQuestion
from tchat.tui.services.downloads import Outcome, Progress
from tchat.tui.services.model_rows import Fit, ModelRow
from tchat.tui.widgets.item_view import Item

from .session_service import ROWS, FakeModelService, revision
from .stage import HOSTILE, SIZES, is_tame, lines, shown, shows, text, until


def picker(files: FakeModelService) -> ModelPicker:
    return ModelPicker(ROWS, files)


def picker_of(files: FakeModelService) -> ModelPicker:
    return ModelPicker(files.own, files)


def listed(app: App[Any]) -> list[Item]:
    assert isinstance(app.screen, ModelPicker)
    return app.screen.list.shown


def cursor(app: App[Any]) -> str:
    assert isinstance(app.screen, ModelPicker)
    return app.screen.list.item.key if app.screen.list.item else ""


def toasts(app: App[Any]) -> str:
    return " ".join(each.message for each in app._notifications)


# The dialog


@pytest.mark.parametrize("size", SIZES)
async def test_the_fit_is_told_beside_each_model(size: tuple[int, int]) -> None:
    async with shown(picker(FakeModelService()), size) as (app, pilot):
        assert is_tame(app)
        await shows(app, "✓ fits")
        await shows(app, "✗ too large")
        await pilot.press("down")
        await pilot.pause()
        await shows(app, "does not fit")


async def test_details_are_shown_safely_and_closed_again() -> None:
    files = FakeModelService()
    async with shown(picker(files)) as (app, pilot):
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, ModelDetails))
        assert is_tame(app)
        await shows(app, "licence  [/foo] ␛[31m⟦U+202E⟧evil")
        await shows(app, "family   llama")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ModelPicker))
        assert files.asked == [("details", "starter")]


async def test_other_programs_models_stand_in_a_section_that_one_key_hides() -> None:
    files = FakeModelService()
    async with shown(picker(files)) as (app, pilot):
        await until(pilot, lambda: "Gemma" in text(app))
        headings = [line.split("─")[0].strip(" │") for line in lines(app) if "────" in line]
        assert headings[1:4] == ["Installed", "Available", "Other programs"]
        await pilot.press("tab")
        await until(pilot, lambda: "Gemma" not in text(app))
        await pilot.press("tab")
        await until(pilot, lambda: "Gemma" in text(app))


async def test_a_model_is_removed_after_asking() -> None:
    files = FakeModelService()
    async with shown(picker(files)) as (app, pilot):
        await pilot.press("down", "ctrl+d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert is_tame(app)
        await shows(app, "frees 98 MB")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, ModelPicker))
        assert files.asked == [("plan", "qwen3:4b")]
        await pilot.press("ctrl+d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: ("remove", HOSTILE) in files.asked)
        await until(pilot, lambda: len(files.listed) > 2)


async def test_a_model_is_made_the_default() -> None:
    files = FakeModelService()
    async with shown(picker(files)) as (_, pilot):
        await pilot.press("ctrl+s")
        await until(pilot, lambda: files.asked == [("default", "starter")])


@pytest.mark.parametrize("key", ["ctrl+o", "ctrl+s", "ctrl+d"])
async def test_what_cannot_be_done_is_a_toast(key: str) -> None:
    async with shown(picker(FakeModelService(refusal=HOSTILE))) as (app, pilot):
        await pilot.press(key)
        await until(pilot, lambda: bool(app._notifications))
        assert isinstance(app.screen, ModelPicker)
        assert is_tame(app)


async def test_a_name_of_the_hub_is_pulled_after_asking() -> None:
    files = FakeModelService()
    async with shown(picker(files)) as (app, pilot):
        await pilot.press(*"acme/x:q4_0")
        await until(pilot, lambda: "Download acme/x:q4_0" in text(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await shows(app, "Download acme/x:q4_0, 2.5 GB?")
        await shows(app, "Only 1.0 GB are free")
        assert is_tame(app)
        assert files.asked == [("plan pull", "acme/x:q4_0")]
        await pilot.press("y")
        await until(pilot, lambda: files.asked[1:] == [("pull", "acme/x:q4_0")])
        await until(pilot, lambda: isinstance(app.screen, ModelPicker))  # where it is followed


@pytest.mark.parametrize(
    ("typed", "offered", "asked"),
    [
        ("gemma3:1b", "❯ gemma3:1b", [("pull", "gemma3:1b")]),
        ("acme/x:q4_0", "Download acme/x:q4_0", [("plan pull", "acme/x:q4_0")]),
    ],
    ids=["there is space", "there is none"],
)
async def test_enter_downloads_only_what_the_disk_has_space_for(
    typed: str, offered: str, asked: list[tuple[str, ...]]
) -> None:
    files = FakeModelService()
    async with shown(picker(files)) as (app, pilot):
        await until(pilot, lambda: "phi4:14b" in text(app))
        await pilot.press(*typed)
        await until(pilot, lambda: offered in text(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ModelPicker))
        assert files.asked == asked


@pytest.mark.parametrize("answer", [("n",), ("escape",)])
async def test_nothing_is_pulled_without_a_yes(answer: tuple[str, ...]) -> None:
    files = FakeModelService()
    async with shown(picker(files)) as (app, pilot):
        await until(pilot, lambda: "phi4:14b" in text(app))
        await pilot.press("down", "down", "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press(*answer)
        await until(pilot, lambda: isinstance(app.screen, ModelPicker))
        assert files.asked == []


@pytest.mark.parametrize("clicks", [1, 2, 3])
async def test_no_click_on_the_catalogue_begins_a_download(clicks: int) -> None:
    files = FakeModelService()
    async with shown(picker(files)) as (app, pilot):
        await until(pilot, lambda: "gemma3:1b" in text(app))
        row = next(y for y, line in enumerate(text(app).splitlines()) if "gemma3:1b" in line)
        await pilot.click(offset=(30, row), times=clicks)
        await until(pilot, lambda: isinstance(app.screen, Confirm) and "806 MB" in text(app))
        assert files.asked == []


async def test_a_hub_that_cannot_be_asked_leaves_the_list_as_it_was() -> None:
    files = FakeModelService(refusal=HOSTILE)
    async with shown(picker(files)) as (app, pilot):
        await pilot.press(*"acme/x")
        await until(pilot, lambda: "Download acme/x" in text(app))
        await pilot.press("enter")
        await until(pilot, lambda: bool(app._notifications))
        assert isinstance(app.screen, ModelPicker)
        assert is_tame(app)


@pytest.mark.parametrize("size", SIZES)
async def test_the_catalogue_stands_below_and_enter_asks_to_pull(size: tuple[int, int]) -> None:
    files = FakeModelService()
    async with shown(picker(files), size) as (app, pilot):
        await until(pilot, lambda: "phi4:14b" in text(app))
        await shows(app, "Available")
        await pilot.press("down", "down", "down")
        assert is_tame(app)
        await pilot.press("ctrl+d", "ctrl+s")  # nothing that is there
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await shows(app, "Download gemma3:1b, 806 MB?")
        await shows(app, "Q4_K_M · fits")
        await shows(app, "120 GB free on the disk")
        assert files.asked == []
        await pilot.press("y")
        await until(pilot, lambda: files.asked == [("pull", "gemma3:1b")])


async def test_an_offer_can_be_looked_into_before_it_is_pulled() -> None:
    files = FakeModelService()
    async with shown(picker(files)) as (app, pilot):
        await pilot.press(*"phi4")
        await until(pilot, lambda: "Qwen3" not in text(app) and "phi4:14b" in text(app))
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, ModelDetails))
        assert files.asked == [("details", "phi4:14b")]


async def test_the_hub_is_searched_for_what_was_typed() -> None:
    files = FakeModelService()
    async with shown(picker(files)) as (app, pilot):
        await pilot.press(*"mistral")
        await until(pilot, lambda: "Search the hub for mistral" in text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "acme/x" in text(app))
        await shows(app, "1 found on the hub")
        assert is_tame(app)
        await pilot.press("enter")  # the cursor is on what was found
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        asked = [("search", "mistral"), ("plan pull", "acme/x"), ("pull", "acme/x")]
        await until(pilot, lambda: files.asked == asked)


async def test_a_download_shows_its_progress_in_its_row_and_is_stopped_by_a_key() -> None:
    files = FakeModelService()
    downloads = files.downloads
    async with shown(picker(files)) as (app, pilot):
        await until(pilot, lambda: "gemma3:1b" in text(app))
        downloads.name, downloads.words = "gemma3:1b", "↓ 25 % of 806 MB · 12 MB/s"
        downloads.progress = Progress(201_500_000, 806_000_000, 12e6, 50.0)
        await until(pilot, lambda: "25%" in text(app))
        row = next(line for line in lines(app) if "gemma3:1b" in line)
        assert "━━━╌╌╌╌╌╌╌╌╌ 25% · 12 MB/s · 50 s left · 202 MB of 806 MB" in row
        assert "806 MB  ~" not in row
        await pilot.press(*"gemma3:1b")
        await until(pilot, lambda: "stop the download" in text(app))
        await pilot.press("enter")  # begins no other
        await pilot.press("ctrl+d")
        assert downloads.is_stopping
        assert files.asked == []


@pytest.mark.parametrize("size", SIZES)
async def test_why_a_download_failed_stays_in_its_row_until_it_is_dismissed(
    size: tuple[int, int],
) -> None:
    files = FakeModelService()
    files.downloads.outcomes["acme/x"] = Outcome(f"the disk is full {HOSTILE}", failed=True)
    async with shown(picker(files), size) as (app, pilot):
        await pilot.press(*"acme/x")
        await until(pilot, lambda: "✗ the disk is full" in text(app))
        assert is_tame(app)
        await until(pilot, lambda: "dismiss" in text(app))
        await pilot.press("ctrl+d")
        await until(pilot, lambda: "the disk is full" not in text(app))
        assert files.downloads.outcomes == {}


async def test_another_download_waits_for_the_one_under_way() -> None:
    files = FakeModelService()
    files.downloads.name = "acme/x"
    async with shown(picker(files)) as (app, pilot):
        await until(pilot, lambda: "phi4:14b" in text(app))
        await pilot.press(*"phi4", "enter")
        await until(pilot, lambda: "Wait for acme/x" in toasts(app))
        assert isinstance(app.screen, ModelPicker)


# Columns, chips and order

OFFERED = [
    ModelRow(
        choice="gemma3:4b",
        name="gemma3:4b",
        size=3_300_000_000,
        fit=Fit.FITS,
        speed=9.0,
        abilities=("chat", "vision"),
        reason="Recommended: it fits",
        here=False,
    ),
    ModelRow(
        choice="qwen3:8b",
        name="qwen3:8b",
        quantization="Q4_K_M",
        size=5_000_000_000,
        fit=Fit.TIGHT,
        speed=4.0,
        abilities=("chat", "code", "tools"),
        here=False,
    ),
    ModelRow(
        choice="coder:1b", name="coder:1b", size=900_000_000, speed=30.0, fit=Fit.FITS,
        abilities=("code",), here=False,
    ),
]  # fmt: skip


def offered(files: FakeModelService, app: App[Any]) -> list[str]:
    """The names in the section of what is available, in the order shown."""
    names = {row.choice for row in OFFERED}
    words = (word for line in lines(app) for word in line.split())
    return list(dict.fromkeys(word for word in words if word in names))


async def test_the_rows_are_sorted_by_a_key_and_by_a_click_on_the_head() -> None:
    files = FakeModelService()
    files.offered = OFFERED
    async with shown(picker(files)) as (app, pilot):
        await until(pilot, lambda: "coder:1b" in text(app))
        assert offered(files, app) == ["gemma3:4b", "qwen3:8b", "coder:1b"]
        for order, found in {
            "name": ["coder:1b", "gemma3:4b", "qwen3:8b"],
            "size": ["coder:1b", "gemma3:4b", "qwen3:8b"],
            "speed": ["coder:1b", "gemma3:4b", "qwen3:8b"],
            "fit": ["coder:1b", "gemma3:4b", "qwen3:8b"],
        }.items():
            await pilot.press("alt+s")
            await pilot.pause()
            assert offered(files, app) == found
            await shows(app, f"Sorted by {order}")
        await pilot.press("alt+s")
        await pilot.pause()
        assert "Sorted by" not in text(app)
        assert offered(files, app) == ["gemma3:4b", "qwen3:8b", "coder:1b"]
        head = next(y for y, line in enumerate(lines(app)) if "Model" in line and "tok/s" in line)
        await pilot.click(offset=(lines(app)[head].index("tok/s") + 2, head))
        await pilot.pause()
        await shows(app, "tok/s ▼")
        assert offered(files, app)[0] == "coder:1b"


async def test_chips_leave_only_models_that_have_all_abilities() -> None:
    files = FakeModelService()
    files.offered = OFFERED
    async with shown(picker(files)) as (app, pilot):
        await until(pilot, lambda: "coder:1b" in text(app))
        await pilot.press("alt+c")
        await pilot.pause()
        assert offered(files, app) == ["qwen3:8b", "coder:1b"]
        await pilot.press("alt+h")
        await pilot.pause()
        assert offered(files, app) == ["qwen3:8b"]
        await pilot.press("alt+v")
        await pilot.pause()
        await shows(app, "No model has all of these.")
        await pilot.press("alt+v", "alt+h")
        row = next(y for y, line in enumerate(lines(app)) if "H chat" in line)
        await pilot.click(offset=(lines(app)[row].index("C code") + 3, row))
        await pilot.pause()
        assert offered(files, app) == ["gemma3:4b", "qwen3:8b", "coder:1b"]


async def test_the_recommended_model_has_a_star_and_a_reason() -> None:
    files = FakeModelService()
    files.offered = OFFERED
    async with shown(picker(files)) as (app, pilot):
        await until(pilot, lambda: "★ gemma3:4b" in text(app))
        await pilot.press(*"gemma3:4b")
        await until(pilot, lambda: "★ Recommended: it fits" in text(app))


async def test_recommended_models_stand_above_all_that_are_available() -> None:
    files = FakeModelService()
    best = replace(OFFERED[1], best_for=("chat", "tools"), reason="Best here for chat, tools")
    files.offered = [best, *OFFERED[::2]]
    async with shown(picker(files), (100, 36)) as (app, pilot):
        await until(pilot, lambda: "coder:1b" in text(app))
        headings = [line.split("─")[0].strip(" │") for line in lines(app) if "────" in line]
        assert headings[1:4] == ["Installed", "Recommended here", "Available"]
        row = next(line for line in lines(app) if "★ qwen3:8b" in line)
        assert "chat · tools" in row  # what it is the best for, not all that it can do
        assert offered(files, app) == ["qwen3:8b", "gemma3:4b", "coder:1b"]
        await pilot.press("alt+c")  # its other abilities are still filtered by
        await pilot.pause()
        assert offered(files, app) == ["qwen3:8b", "coder:1b"]
        await pilot.press(*"qwen3:8b")
        await until(pilot, lambda: "★ Best here for chat, tools" in text(app))


@pytest.mark.parametrize("width", [60, 80, 100, 129, 160, 200])
async def test_what_a_model_is_good_for_is_told_in_whole_words(width: int) -> None:
    words = {"Good", "for", "…", "·", *ABILITY_NAMES}
    files = FakeModelService()
    files.offered = [
        replace(OFFERED[0], name=f"model{place}", choice=f"model{place}", abilities=abilities)
        for place, abilities in enumerate((ABILITIES, ("chat", "tools"), ("chat",)) * 12)
    ]  # more than are shown: there is a scrollbar
    async with shown(picker(files), (width, 24)) as (app, pilot):
        await until(pilot, lambda: "model3" in text(app))
        await pilot.pause()
        for line in lines(app):
            _, found, rest = line.partition("✓ fits")
            if found:
                assert set(rest.strip("│▅▁▂▃▄▆▇█ ").split()) <= words, line


async def test_the_least_important_columns_leave_first() -> None:
    files = FakeModelService()
    files.offered = OFFERED
    for size, there, left_out in (
        ((120, 36), ("Quant", "Size", "tok/s", "Fit", "Good for"), ()),
        ((80, 24), ("Size", "tok/s", "Fit", "Good for"), ("Quant",)),
        ((60, 16), ("Size", "tok/s", "Fit"), ("Good for", "Quant")),
    ):
        async with shown(picker(files), size) as (app, pilot):
            await until(pilot, lambda: "tok/s" in text(app))
            head = next(line for line in lines(app) if "Model" in line and "Size" in line)
            assert all(title in head for title in there)
            assert all(title not in head for title in left_out)
            assert is_tame(app)


# Behind the list


async def test_a_model_whose_file_is_gone_is_not_chosen() -> None:
    files = FakeModelService()
    gone = Path("/m/gone.gguf")
    files.own = [ModelRow(choice="gone", name="gone", path=gone)]
    files.gone.add(gone)
    async with shown(picker_of(files)) as (app, pilot):
        await pilot.press(*"gone")
        files.own = []
        await pilot.press("enter")
        await until(pilot, lambda: "there is no file /m/gone.gguf" in toasts(app))
        await until(pilot, lambda: not any(item.key == "gone" for item in listed(app)))
        assert isinstance(app.screen, ModelPicker)


async def test_the_cursor_stays_on_its_model_while_the_list_is_refreshed() -> None:
    files = FakeModelService()
    async with shown(picker(files)) as (app, pilot):
        await until(pilot, lambda: "gemma3:1b" in text(app))
        await pilot.press("down", "down")
        key = cursor(app)
        files.own = [ModelRow(choice="new", name="new"), *files.own]
        files.downloads.outcomes["acme/y"] = Outcome("broken", failed=True)
        await until(pilot, lambda: "acme/y" in text(app))
        await pilot.press("tab")
        await until(pilot, lambda: "new" in [item.title for item in listed(app)])
        assert cursor(app) == key


# Actions


async def chosen(pilot: Pilot[None], app: App[Any], entry: str) -> None:
    """Choose an entry of the menu."""
    await pilot.press("alt+a")
    await until(pilot, lambda: isinstance(app.screen, Picker))
    await pilot.press(*entry, "enter")
    await until(pilot, lambda: not isinstance(app.screen, Picker))


@pytest.mark.parametrize("size", SIZES)
async def test_the_menu_names_what_can_be_done_with_the_model_and_with_all(
    size: tuple[int, int],
) -> None:
    files = FakeModelService()
    async with shown(picker(files), size) as (app, pilot):
        await pilot.press("alt+a")
        await until(pilot, lambda: isinstance(app.screen, Picker))
        assert is_tame(app)
        assert isinstance(app.screen, Picker)
        entries = [item.key for item in app.screen.list.shown]
        assert {"check", "alias", "unalias small", "register", "dupes", "du"} <= set(entries)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ModelPicker))
        await pilot.press(*"phi4")
        await pilot.press("alt+a")
        await until(pilot, lambda: isinstance(app.screen, Picker))
        assert isinstance(app.screen, Picker)
        assert not {"check", "alias", "remove"} & {item.key for item in app.screen.list.shown}


async def test_an_alias_is_asked_for_and_removed() -> None:
    files = FakeModelService()
    async with shown(picker(files)) as (app, pilot):
        await chosen(pilot, app, "add an alias")
        await until(pilot, lambda: isinstance(app.screen, TextQuestion))
        await pilot.press("enter")  # an empty name is none
        await pilot.press(*"tiny", "enter")
        await until(pilot, lambda: ("alias", "tiny", "starter") in files.asked)
        await chosen(pilot, app, "remove the alias")
        await until(pilot, lambda: ("unalias", "small") in files.asked)


MINE = ModelRow(choice="acme/x:Q4_0", name="x", path=Path("/m/x.gguf"), is_downloaded=True)


@pytest.mark.parametrize(
    ("there", "told"),
    [("old", "x is up to date."), ("", "x is no longer on the hub; it stays here.")],
)
async def test_a_model_without_a_newer_version_stays(there: str, told: str) -> None:
    files = FakeModelService()
    files.own, files.revision = [MINE], revision("old", there)
    async with shown(picker_of(files)) as (app, pilot):
        await chosen(pilot, app, "newer version")
        await until(pilot, lambda: told in toasts(app))
        assert files.asked == [("find revision", "x.gguf")]


async def test_a_newer_version_is_downloaded_after_asking_and_followed_in_its_row() -> None:
    files = FakeModelService()
    files.own, files.revision = [MINE], revision("old", "new")
    async with shown(picker_of(files)) as (app, pilot):
        await chosen(pilot, app, "newer version")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await shows(app, "Download the newer version of x, 1.0 GB?")
        await pilot.press("y")
        await until(pilot, lambda: ("update", "acme/x:Q4_0") in files.asked)
        downloads = files.downloads
        downloads.name, downloads.words = "acme/x:Q4_0", "↓ 25 % of 1.0 GB"
        downloads.progress = Progress(250_000_000, 1_000_000_000, 12e6, 50.0)
        await until(pilot, lambda: "25% · 12 MB/s" in text(app))
        assert [item.title for item in listed(app)].count("x") == 1
        await until(pilot, lambda: "stop the download" in text(app))
        await pilot.press("ctrl+d")
        assert downloads.is_stopping
        assert ("plan", "acme/x:Q4_0") not in files.asked  # nothing is removed


async def test_only_what_came_from_the_hub_is_looked_for_there() -> None:
    async with shown(picker(FakeModelService())) as (app, pilot):
        await pilot.press("alt+a")
        await until(pilot, lambda: isinstance(app.screen, Picker))
        assert isinstance(app.screen, Picker)
        assert "update" not in [item.key for item in app.screen.list.shown]


async def test_the_row_names_the_file_that_comes_beside_its_model() -> None:
    files = FakeModelService()
    async with shown(picker(files)) as (app, pilot):
        files.downloads.name, files.downloads.words = "gemma3:1b", "↓ 10 % of 1.0 GB"
        files.downloads.progress, files.downloads.part = Progress(1, 10), f"mmproj{HOSTILE}"
        await until(pilot, lambda: "mmproj" in text(app) and "10%" in text(app))
        assert is_tame(app)


async def test_a_file_is_added_to_the_list() -> None:
    files = FakeModelService()
    async with shown(picker(files)) as (app, pilot):
        await chosen(pilot, app, "add a gguf")
        await until(pilot, lambda: isinstance(app.screen, TextQuestion))
        await pilot.press(*"/m/new.gguf", "enter")
        await until(pilot, lambda: ("register", "/m/new.gguf") in files.asked)


@pytest.mark.parametrize("size", SIZES)
async def test_results_are_shown_readably(size: tuple[int, int]) -> None:
    files = FakeModelService()
    async with shown(picker(files), size) as (app, pilot):
        for entry, told in (
            ("disk usage", "2 models · 2.0 GB of unfinished downloads"),
            ("check the file", "✗ is damaged"),
        ):
            await chosen(pilot, app, entry)
            await until(pilot, lambda: isinstance(app.screen, ModelDetails))
            await shows(app, told)
            assert is_tame(app)
            await pilot.press("enter")  # there is nothing to accept
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, ModelPicker))


@pytest.mark.parametrize("answer", ["y", "n"])
async def test_duplicates_are_shown_and_linked_only_after_asking(answer: str) -> None:
    files = FakeModelService()
    async with shown(picker(files)) as (app, pilot):
        await chosen(pilot, app, "find duplicate")
        await until(pilot, lambda: isinstance(app.screen, ModelDetails))
        await shows(app, "1.0 GB")
        await shows(app, "/m/b.gguf")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await shows(app, "free 1.0 GB?")
        await pilot.press(answer)
        await until(pilot, lambda: isinstance(app.screen, ModelPicker))
        await pilot.pause(0.1)
        assert (("link", "1") in files.asked) == (answer == "y")
