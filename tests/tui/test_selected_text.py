"""Text selected with the mouse or by keys can be read, in every theme and everywhere."""

from __future__ import annotations

import pytest
from textual import events
from textual.app import App
from textual.color import Color
from textual.theme import BUILTIN_THEMES
from textual.widgets import Input, TextArea
from textual.widgets._toast import Toast
from textual.widgets.input import Selection as Span
from textual.widgets.text_area import Selection

from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.dialogs.dialog import Confirm, Dialog
from tchat.tui.themes import READABLE, contrast, shipped_folder
from tchat.tui.widgets.transcript.entry import Entry

from .chat_stage import Shown, opened

SHIPPED = sorted(path.stem for path in shipped_folder().glob("*.toml"))
THEMES = (*SHIPPED, *BUILTIN_THEMES)
CODE = "plainword\n\n**boldword** `codeword`\n\n```python\nclass fenceword: pass\n```\n"
WORDS = ("userword", "plainword", "boldword", "codeword", "fenceword", "noticeword")


def looks(app: App[None], word: str) -> list[tuple[Color, Color]]:
    """Foreground and background of each character of ``word`` on the screen."""
    found = []
    for strip in app.screen._compositor.render_strips():
        at = strip.text.find(word)
        if at < 0:
            continue
        for segment in strip.crop(at, at + len(word)):
            assert segment.style is not None
            front, back = segment.style.color, segment.style.bgcolor
            assert front is not None
            assert back is not None
            if segment.style.reverse:
                front, back = back, front
            found.append((Color.from_rich_color(front), Color.from_rich_color(back)))
    assert found, f"{word} is not on the screen"
    return found


def assert_seen(app: App[None], word: str, before: list[tuple[Color, Color]]) -> None:
    grounds = [back for _, back in before]
    for front, back in looks(app, word):
        assert front != back
        if front.ansi is None and back.ansi is None:
            assert contrast(front, back) >= READABLE, f"{word}: {front.hex} on {back.hex}"
            assert all(contrast(back, ground) >= 1.5 for ground in grounds), word


async def dress(shown: Shown, theme: str) -> None:
    await shown.until(lambda: theme in shown.pilot.app.available_themes)
    shown.pilot.app.theme = theme
    await shown.pilot.pause()
    await shown.pilot.pause()


def fill(shown: Shown) -> None:
    shown.screen.controllers.transcript.view.show(
        [
            Entry(key=1, role="user", text="userword"),
            Entry(key=2, role="assistant", text=CODE),
            Entry(key="n", role="notice", text="noticeword"),
        ]
    )
    shown.screen.controllers.transcript.update_first_screen()


async def test_selected_text_of_the_transcript_can_be_read_in_every_theme(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, size=(80, 40), ready=False) as shown:
        app = shown.pilot.app
        fill(shown)
        for theme in THEMES:
            await dress(shown, theme)
            before = {word: looks(app, word) for word in WORDS}
            shown.screen.controllers.transcript.view.text_select_all()
            await shown.pilot.pause()
            for word in WORDS:
                assert_seen(app, word, before[word])
            shown.screen.clear_selection()
            await shown.pilot.pause()
            assert {word: looks(app, word) for word in WORDS} == before


async def test_selected_text_of_the_prompt_can_be_read_in_every_theme(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, size=(80, 40), ready=False) as shown:
        app = shown.pilot.app
        shown.screen.prompt.load("draftword")
        area = shown.screen.prompt.query_one(TextArea)
        for theme in THEMES:
            await dress(shown, theme)
            area.move_cursor((0, 9))
            await shown.pilot.pause()
            before = looks(app, "draftword")
            area.selection = Selection((0, 0), (0, 8))
            await shown.pilot.pause()
            assert_seen(app, "draftwor", before[:1])


async def test_selected_text_of_dialogs_can_be_read_in_every_theme(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, size=(80, 40), ready=False) as shown:
        app = shown.pilot.app
        confirm = Confirm("questionword?", "detailword")
        await app.push_screen(confirm)
        await shown.pilot.pause()
        line = Input("filterword ", select_on_focus=False)
        await confirm.query_one("#frame").mount(line)
        line.focus()
        for theme in THEMES:
            line.selection = Span(11, 11)
            await dress(shown, theme)
            before = {word: looks(app, word) for word in ("questionword", "filterword")}
            line.select_all()
            await shown.pilot.pause()
            assert_seen(app, "filterword", before["filterword"])
            confirm.query_one("#question").text_select_all()
            await shown.pilot.pause()
            assert_seen(app, "questionword", before["questionword"])
            confirm.clear_selection()


async def test_what_is_dragged_over_with_the_mouse_can_be_read(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, size=(80, 40)) as shown:
        app = shown.pilot.app
        fill(shown)
        await shown.pilot.pause()
        rows = [strip.text for strip in app.screen._compositor.render_strips()]
        y = next(number for number, row in enumerate(rows) if "plainword" in row)
        before = looks(app, "plainword")
        await shown.pilot.mouse_down(offset=(2, y))
        await shown.pilot.hover(offset=(14, y))
        await shown.pilot.mouse_up(offset=(14, y))
        await shown.pilot.pause()
        assert "plainword" in (app.screen.get_selected_text() or "")
        assert_seen(app, "plainword", before)


@pytest.mark.parametrize("where", ["chat", "dialog"])
async def test_a_click_on_a_toast_that_is_gone_does_no_harm(
    settings: Settings, paths: Paths, where: str
) -> None:
    async with opened(settings, paths) as shown:
        pilot = shown.pilot
        if where == "dialog":
            await pilot.press("f1")
            await shown.until(lambda: isinstance(pilot.app.screen, Dialog))
        pilot.app.notify("a toast", timeout=60)
        await shown.until(lambda: any(each.region for each in pilot.app.screen.query(Toast)))
        toast = pilot.app.screen.query(Toast).last()
        x, y = toast.region.offset
        await toast.remove()  # as the first of two clicks does; the layout is still the old one
        no_key = (False, False, False)
        pilot.app.screen._forward_event(events.MouseDown(None, x, y, 0, 0, 1, *no_key, x, y))
        await pilot.pause()
        assert pilot.app.is_running
