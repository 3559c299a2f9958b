"""The first screen: recent chats, prompts to try, the model, the keys; and the wide sidebar."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import TextArea

from tchat.errors import TchatError
from tchat.models.metadata import MetadataCache, read_metadata
from tchat.paths import Paths
from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tchat.translation import tr
from tchat.tui.services.model_rows import model_label
from tchat.tui.services.model_summary import model_summary
from tchat.tui.widgets.first_screen import PROMPTS, facts_line
from tchat.tui.widgets.sidebar import Sidebar
from tests.sessions.stores import new_session
from tests.tui.chat_stage import Shown, opened
from tests.tui.stage import HOSTILE, is_tame, text

SMALL, USUAL, LARGE, HUGE = (60, 16), (80, 24), (120, 36), (200, 60)


def fill(paths: Paths, *titles: str) -> None:
    """Sessions with one question each, the last one used last."""
    with SessionStore(paths.sessions_db) as store:
        for title in titles:
            session = new_session(store, title=title)
            asked = store.add(session.id, Role.USER, f"about {title}", parent_id=None)
            store.add(session.id, Role.ASSISTANT, "So it is.", parent_id=asked.id)


def page(shown: Shown) -> str:
    return text(shown.pilot.app)


async def filled(shown: Shown, title: str) -> None:
    await shown.until(lambda: title in page(shown))


@pytest.mark.parametrize("size", [SMALL, USUAL, LARGE, HUGE])
async def test_it_shows_the_last_three_chats_the_model_and_the_keys(
    settings: Settings, paths: Paths, size: tuple[int, int]
) -> None:
    fill(paths, "First", "Second", HOSTILE, "Fourth")
    async with opened(settings, paths, size) as shown:
        await filled(shown, "Fourth")
        await shown.until(lambda: "demonstration model" in page(shown))
        main = "\n".join(line[33:] for line in page(shown).splitlines()) if size == HUGE else ""
        assert "First" not in (main or page(shown))
        assert "Second" in page(shown)
        assert "tiny ·" in page(shown)
        assert "sessions" in page(shown)  # a key
        assert is_tame(shown.pilot.app)
        assert (tr(PROMPTS[0]) in page(shown)) is (size != SMALL)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(("size", "has_error"), [(USUAL, False), ((100, 30), True)])
async def test_the_rows_of_keys_are_filled(
    settings: Settings,
    paths: Paths,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    has_error: bool,
    language: str,
) -> None:
    fill(paths, "First", "Second", "Third")
    monkeypatch.setenv("TCHAT_LANG", language)
    async with opened(settings, paths, size) as shown:
        await filled(shown, "Third")
        if has_error:
            shown.screen.controllers.transcript.show_error(TchatError("it failed"))
            await filled(shown, "it failed")
            await shown.pilot.pause()
        keys = [f"F6 {tr('search')}", f"F3 {tr('settings')}", f"Alt+X {tr('all actions')}"]
        shown_keys = " ".join(page(shown).split())
        assert [key for key in keys if key not in shown_keys] == []


async def test_the_hints_name_the_keys_in_force(settings: Settings, paths: Paths) -> None:
    keys = {
        "prompt.help": "f12",
        "prompt.complete": "ctrl+l",
        "prompt.send": "f11",
        "prompt.up": "f10",
    }
    async with opened(replace(settings, keys=keys), paths, USUAL, ready=False) as shown:
        for hint in ("· Ctrl+L selects", "· F12 help"):
            assert hint in page(shown)
        shown.screen.prompt.queue = ["one"]
        shown.screen.prompt.held = True
        await filled(shown, "waiting: F11 sends the next one, F10 takes the last one back")


async def test_a_number_or_enter_opens_a_chat(settings: Settings, paths: Paths) -> None:
    fill(paths, "First", "Second")
    async with opened(settings, paths) as shown:
        await filled(shown, "First")
        await shown.pilot.press("tab", "2")
        await shown.until(lambda: ("user", "about First") in shown.branch)
        await shown.idle()
        assert shown.screen.prompt.has_focus_within
        await shown.pilot.press("alt+n")
        await filled(shown, "Second")
        await shown.until(lambda: not shown.branch)
        await shown.idle()
        await shown.pilot.press("tab", "down", "up", "enter")
        await shown.until(lambda: ("user", "about Second") in shown.branch)


async def test_a_click_opens_a_chat(settings: Settings, paths: Paths) -> None:
    fill(paths, "First", "Second")
    async with opened(settings, paths, LARGE) as shown:
        await filled(shown, "First")
        row = next(y for y, line in enumerate(page(shown).splitlines()) if "First" in line)
        column = page(shown).splitlines()[row].index("First")
        await shown.pilot.click(offset=(column + 1, row))
        await shown.until(lambda: ("user", "about First") in shown.branch)


@pytest.mark.parametrize("size", [USUAL, LARGE])
async def test_a_prompt_to_try_goes_into_the_prompt(
    settings: Settings, paths: Paths, size: tuple[int, int]
) -> None:
    async with opened(settings, paths, size) as shown:
        await filled(shown, tr(PROMPTS[1]))
        await shown.pilot.press("tab", "down", "enter")
        assert shown.screen.prompt.draft.text == tr(PROMPTS[1])
        assert shown.screen.prompt.has_focus_within
        await shown.pilot.press("!")
        assert shown.screen.prompt.draft.text.endswith("!")
        await shown.pilot.press("ctrl+c", "tab", "1")
        assert shown.screen.prompt.draft.text == tr(PROMPTS[0])


async def test_what_is_typed_while_a_chat_is_chosen_reaches_the_prompt(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await filled(shown, tr(PROMPTS[0]))
        await shown.pilot.press("tab", "h", "9")
        assert shown.screen.prompt.draft.text == "h9"
        await shown.pilot.press("tab")  # not the empty prompt: stays
        assert shown.screen.prompt.has_focus_within
        await shown.pilot.press("ctrl+c", "tab", "escape")
        assert shown.screen.prompt.has_focus_within


async def test_notices_have_room_beside_it(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths, SMALL) as shown:
        await shown.type("/version")
        await shown.until(lambda: "tchat" in shown.notices)
        await shown.pilot.pause()
        assert shown.notices.split()[1] in page(shown)
        assert "all keys" in page(shown)


async def test_a_tall_prompt_keeps_its_room(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths, SMALL) as shown:
        shown.screen.prompt.load("one\ntwo\nthree\nfour\nfive")
        await shown.pilot.pause()
        assert "five" in page(shown)


def test_the_verdict_names_the_measured_speed_else_an_estimate(
    paths: Paths, starter_model: Path
) -> None:
    metadata = read_metadata(starter_model)
    facts = ["SmolLM2 135M", "98 MB", "demonstration model"]
    assert model_label(metadata) == "starter"
    assert model_summary(metadata, paths) == [*facts, "fits this machine"]
    measured = model_summary(metadata, paths, measure=True)
    assert " here: ~" in measured[-1]
    assert model_summary(metadata, paths) == measured  # it is measured once
    with MetadataCache(paths) as cache:
        cache.record_speed(metadata, 5.4)
    assert model_summary(metadata, paths) == [*facts, "reading speed here: 5.4 tok/s"]


def test_a_narrow_line_keeps_the_name_and_the_speed() -> None:
    facts = ("SmolLM2 135M", "98 MB", "demonstration model", "fast here: 54 tok/s")
    assert facts_line(facts, 80).plain == " · ".join(facts)
    assert facts_line(facts, 60).plain == "SmolLM2 135M · demonstration model · fast here: 54 tok/s"
    assert facts_line(facts, 40).plain == "SmolLM2 135M · fast here: 54 tok/s"


# The sidebar


def sidebar(shown: Shown) -> bool:
    found = shown.screen.query(Sidebar)
    return bool(found) and found.first().display


async def test_a_wide_terminal_opens_the_sidebar_and_a_narrow_one_closes_it(
    settings: Settings, paths: Paths
) -> None:
    fill(paths, "First")
    async with opened(settings, paths, (150, 40)) as shown:
        await shown.until(lambda: sidebar(shown))
        await shown.until(lambda: "Today" in page(shown))
        assert "❯" not in page(shown)
        assert shown.screen.prompt.has_focus_within
        await shown.pilot.resize_terminal(149, 40)
        await shown.until(lambda: not sidebar(shown))
        assert shown.screen.prompt.has_focus_within
        await shown.pilot.resize_terminal(150, 40)
        await shown.until(lambda: sidebar(shown))


async def test_the_users_choice_for_the_sidebar_holds(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths, (160, 40)) as shown:
        await shown.until(lambda: sidebar(shown))
        await shown.pilot.press("ctrl+b")
        await shown.until(lambda: not sidebar(shown))
        for width in (100, 160):
            await shown.pilot.resize_terminal(width, 40)
            await shown.pilot.pause()
            assert not sidebar(shown)
        await shown.pilot.press("ctrl+b")
        await shown.until(lambda: sidebar(shown))
        await shown.pilot.resize_terminal(100, 40)
        await shown.pilot.pause()
        assert sidebar(shown)  # he wants it, and there is room


async def test_a_terminal_that_grows_gets_the_sidebar(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths, USUAL) as shown:
        assert not sidebar(shown)
        await shown.pilot.resize_terminal(200, 60)
        await shown.until(lambda: sidebar(shown))
        await shown.pilot.press("h", "i")
        assert isinstance(shown.pilot.app.focused, TextArea)
        assert shown.screen.prompt.draft.text == "hi"


@pytest.mark.parametrize("last", [150, 60])
async def test_quick_resizes_make_one_sidebar(settings: Settings, paths: Paths, last: int) -> None:
    fill(paths, "First")
    async with opened(settings, paths, (160, 40), ready=False) as shown:
        await shown.pilot.pause()
        for width in (60, 200, 60, 150):
            await shown.pilot.resize_terminal(width, 40)
        await shown.until(lambda: shown.screen.context.is_ready)
        for _ in range(2):  # before the first worker runs
            shown.screen.controllers.sessions._open_wide()
        await shown.pilot.resize_terminal(last, 40)
        await shown.until(lambda: len(shown.screen.query(Sidebar)) > 0)
        await shown.pilot.pause(0.1)
        assert len(shown.screen.query(Sidebar)) == 1
        assert sidebar(shown) is (last == 150)


async def test_the_key_for_the_sidebar_makes_no_second_one(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, LARGE) as shown:
        shown.screen.controllers.sessions._open_wide()
        shown.screen.controllers.sessions._open_wide()
        shown.screen.controllers.sessions.toggle_sidebar()
        await shown.until(lambda: sidebar(shown))
        await shown.pilot.pause(0.1)
        assert len(shown.screen.query(Sidebar)) == 1


@pytest.mark.parametrize("size", [(20, 5), (20, 6), (80, 7), (80, 8)])
async def test_the_prompt_has_a_row_for_text_in_the_lowest_terminal(
    settings: Settings, paths: Paths, size: tuple[int, int]
) -> None:
    async with opened(settings, paths, size) as shown:
        await shown.pilot.press("h", "i", "t")
        await shown.until(lambda: "hit" in page(shown))
        await shown.pilot.resize_terminal(80, 24)
        await shown.until(lambda: "╭" in page(shown))  # the border is back
