"""Toasts hide no text that is being typed, and repeat nothing."""

from __future__ import annotations

import pytest
from textual.widget import Widget
from textual.widgets import Button, Input
from textual.widgets._toast import Toast

from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.dialogs.dialog import Confirm, HintLine
from tchat.tui.widgets.prompt import Prompt

from .chat_stage import Shown, opened
from .stage import SIZES

WORDS = "a notice of several words " * 4


def toasts(shown: Shown) -> list[Toast]:
    return [each for each in shown.pilot.app.screen.query(Toast) if each.region]


def hidden(shown: Shown, kind: type[Widget]) -> list[Widget]:
    """The fields of this kind that a toast lies over."""
    fields = [each for each in shown.pilot.app.screen.query(kind) if each.region]
    assert fields
    return [f for f in fields if any(f.region.overlaps(toast.region) for toast in toasts(shown))]


@pytest.mark.parametrize("size", SIZES)
async def test_a_toast_lies_above_the_prompt_however_tall_that_is(
    settings: Settings, paths: Paths, size: tuple[int, int]
) -> None:
    async with opened(settings, paths, size) as shown:
        shown.pilot.app.notify(WORDS, markup=False)
        await shown.until(lambda: bool(toasts(shown)))
        for typed in ("", "one\ntwo\nthree\nfour", "one"):
            shown.screen.prompt.load(typed)
            await shown.pilot.pause(0.05)
            await shown.until(lambda: not hidden(shown, Prompt))
            assert all(toast.region.y > 0 for toast in toasts(shown))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", ["f2", "f3", "f5", "ctrl+o", "alt+x"])
async def test_a_toast_lies_over_no_field_of_a_dialog(
    settings: Settings, paths: Paths, key: str, size: tuple[int, int]
) -> None:
    async with opened(settings, paths, size) as shown:
        await shown.pilot.press(key)
        await shown.until(lambda: bool(shown.pilot.app.screen.query(Input)))
        shown.pilot.app.notify(WORDS, markup=False)
        await shown.until(lambda: bool(toasts(shown)))
        assert not hidden(shown, Input)
        await shown.until(lambda: not hidden(shown, HintLine))


def on_border(shown: Shown) -> list[Toast]:
    """The toasts that lie over the border of the dialog."""
    frame = shown.pilot.app.screen.query_one("#frame")
    inside = frame.region.shrink(frame.gutter)
    return [
        each
        for each in toasts(shown)
        if each.region.overlaps(frame.region) and not inside.contains_region(each.region)
    ]


@pytest.mark.parametrize("size", [*SIZES, (80, 24), (200, 60)])
async def test_a_toast_lies_over_no_border_of_a_dialog(
    settings: Settings, paths: Paths, size: tuple[int, int]
) -> None:
    async with opened(settings, paths, size) as shown:
        await shown.pilot.press("f3")
        await shown.until(lambda: bool(shown.pilot.app.screen.query(Input)))
        for told, severity in ((WORDS, "error"), ("Copied.", "information"), (WORDS, "warning")):
            shown.pilot.app.notify(told, severity=severity, markup=False)  # type: ignore[arg-type]
        await shown.until(lambda: len(toasts(shown)) > 0)
        await shown.until(lambda: not on_border(shown))
        assert not hidden(shown, Input)
        shown.pilot.app.push_screen(Confirm("Sure?", "It is gone then."))
        await shown.until(lambda: bool(shown.pilot.app.screen.query(Button)))
        shown.pilot.app.notify("Copied again.", markup=False)
        await shown.until(lambda: len(toasts(shown)) > 0)
        await shown.until(lambda: not on_border(shown))
        assert not hidden(shown, Button)


async def test_of_one_kind_only_the_latest_is_shown(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        shown.pilot.app.clear_notifications()
        for told in ("Copied 12 characters.", "Wait.", "Copied 1,340 characters.", "Wait."):
            shown.pilot.app.notify(told, markup=False)
        await shown.until(lambda: shown.toasts == "Copied 1,340 characters.\nWait.")
        await shown.until(lambda: len(toasts(shown)) == 2)


async def test_of_several_errors_only_the_latest_is_shown(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        shown.pilot.app.clear_notifications()
        for line in ("/set nosuch 1", "/title", "/model nosuch", "/pin"):
            shown.pilot.app.notify(line, severity="error", markup=False)
        shown.pilot.app.notify("Copied.", markup=False)
        await shown.until(lambda: shown.toasts == "/pin\nCopied.")
        await shown.until(lambda: len(toasts(shown)) == 2)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("/set zzzzqq 1", "F3 lists them all"),
        ("/model zzzz", "F2 lists what there is and what to pull"),
        ("/model qwen3:4b", "F2 downloads it: qwen3:4b"),
    ],
)
async def test_an_error_names_keys_of_the_screen(
    settings: Settings, paths: Paths, typed: str, hint: str
) -> None:
    async with opened(settings, paths) as shown:
        await shown.type(typed)
        await shown.until(lambda: hint in shown.toasts)
        assert "tchat " not in shown.toasts


@pytest.mark.parametrize("key", ["f3", "ctrl+x"])
async def test_a_toast_that_informs_goes_when_keys_are_shown_below_it(
    settings: Settings, paths: Paths, key: str
) -> None:
    async with opened(settings, paths, (60, 16)) as shown:
        shown.pilot.app.notify("Copied.", markup=False)
        shown.pilot.app.notify("It broke.", severity="error", markup=False)
        await shown.until(lambda: len(toasts(shown)) >= 2)
        await shown.pilot.press(key)
        await shown.until(lambda: shown.toasts == "It broke.")
        await shown.until(lambda: len(toasts(shown)) == 1)
