"""The dialog that asks where a session is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input

from tchat.paths import Paths, path_text
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tchat.tui.dialogs.dialog import Confirm
from tchat.tui.dialogs.export import ExportDialog, ExportTarget
from tests.tui.chat_stage import Shown, opened

from .stage import lines, shown, shows, text, until

ID, TITLE = "01hzq0abcd", "Why is the sky blue? [b]"
NAME = "why-is-the-sky-blue-b-q0abcd.md"


def typed(dialog: ExportDialog, name: str) -> None:
    dialog.query_one(Input).value = name


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_it_proposes_a_file_in_the_working_folder_and_names_the_format(
    tmp_path: Path,
) -> None:
    async with shown(ExportDialog(ID, TITLE)) as (app, pilot):
        await until(pilot, lambda: "A new file: Markdown" in text(app))
        await shows(app, NAME)
        await pilot.press("enter")
        assert app.ended_with == ExportTarget(tmp_path / NAME)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a.json", "A new file: JSON"),
        ("a", "A new file: Markdown"),
        ("a.pdf", "✗ no format writes .pdf files"),
        ("none/a.md", "✗ there is no folder none"),
    ],
)
async def test_it_tells_what_comes_of_a_name_before_enter(name: str, told: str) -> None:
    async with shown(dialog := ExportDialog(ID, TITLE)) as (app, pilot):
        typed(dialog, name)
        await until(pilot, lambda: told in text(app))
        await pilot.press("enter")
        assert (app.screen is dialog) == told.startswith("✗")


async def test_a_folder_gets_the_usual_name(tmp_path: Path) -> None:
    async with shown(dialog := ExportDialog(ID, TITLE)) as (app, pilot):
        typed(dialog, str(tmp_path))
        await until(pilot, lambda: "A new file" in text(app))
        await pilot.press("enter")
        assert app.ended_with == ExportTarget(tmp_path / NAME)


@pytest.mark.parametrize("answer", ["y", "n", "enter", "escape"])
async def test_a_file_is_replaced_only_after_a_yes(answer: str, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("mine")
    async with shown(dialog := ExportDialog(ID, TITLE)) as (app, pilot):
        typed(dialog, "a.md")
        await until(pilot, lambda: "is there already" in "".join(lines(app)))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press(answer)
        await until(pilot, lambda: not isinstance(app.screen, Confirm))
        if answer == "y":
            assert app.ended_with == ExportTarget(Path("a.md"), replaces=True)
        else:
            assert app.screen is dialog


async def ask_to_export(stage: Shown, name: str) -> None:
    await stage.type("/export")
    await stage.until(lambda: isinstance(stage.pilot.app.screen, ExportDialog))
    dialog = stage.pilot.app.screen
    assert isinstance(dialog, ExportDialog)
    typed(dialog, name)
    await stage.pilot.press("enter")


async def test_the_screen_asks_and_writes(settings: Settings, paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("old")
    async with opened(settings, paths) as stage:
        await stage.ask("one")
        await ask_to_export(stage, "new.md")
        await stage.until(lambda: f"Written to {path_text(Path('new.md'))}." in stage.notices)
        await ask_to_export(stage, "old.json")
        await stage.until(lambda: isinstance(stage.pilot.app.screen, Confirm))
        await stage.pilot.press("y")
        await stage.until(lambda: f"Written to {tmp_path}/old.json." in stage.notices)
    assert "one" in (tmp_path / "new.md").read_text()
    with SessionStore(paths.sessions_db) as store:
        assert store.sessions()[0].id in (tmp_path / "old.json").read_text()


async def test_without_a_message_there_is_nothing_to_export(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as stage:
        await stage.pilot.press("ctrl+x", "w")
        await stage.until(lambda: "no message yet" in stage.toasts)
