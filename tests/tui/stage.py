"""An app that shows one screen or widget, as the chat's app would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from rich.cells import cell_len
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen

from tchat.paths import user_paths
from tchat.tui.dialogs.typing_guard import TypingGuard
from tchat.tui.keymap import remap
from tchat.tui.themes import DEFAULT, load_themes, variable_defaults

STEP = 0.02  # seconds: longer than a turn of the screen's painting
KEEPS_UP_AFTER = 0.1  # seconds
PATIENCE = 90.0  # seconds for anything to happen, on a loaded machine too

NARROW, WIDE = (60, 16), (120, 40)
SIZES = (NARROW, WIDE)
HOSTILE = "[/foo] \x1b[31m\u202eevil\x9b2J\n名前 [@click=app.quit]"
UNSAFE = set(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x202E]))


class Stage(App[None]):
    """Themes, keys and nothing else; ``ended_with`` gets the result of the screen pushed."""

    ENABLE_COMMAND_PALETTE = False
    ended_with: Any = "not ended"

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults(self.current_theme)

    def on_mount(self) -> None:
        for theme in load_themes(user_paths()).themes:
            self.register_theme(theme)
        self.theme = DEFAULT

    def end(self, result: Any) -> None:
        self.ended_with = result


Opened = tuple[Stage, Pilot[None]]


@asynccontextmanager
async def shown(
    screen: Screen[Any], size: tuple[int, int] = WIDE, keys: dict[str, str] | None = None
) -> AsyncIterator[Opened]:
    """The screen on a terminal of this size, with the keys of ``config.toml``."""
    app = Stage()
    async with app.run_test(size=size, notifications=True) as pilot:
        app.set_keymap(remap(keys or {}).keymap)
        app.push_screen(screen, app.end)
        await pilot.pause()
        await pilot.pause()
        yield app, pilot


def lines(app: App[Any]) -> list[str]:
    """What is on the screen, line by line."""
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


def text(app: App[Any]) -> str:
    """What is on the screen."""
    return "\n".join(lines(app))


def is_tame(app: App[Any]) -> bool:
    """Whether nothing on the screen acts on a terminal, and every line fits."""
    return all(not UNSAFE & set(line) and cell_len(line) <= app.size.width for line in lines(app))


def takes_keys(screen: Screen[Any]) -> bool:
    """Whether a question is shown whose keys answer by now."""
    guard = getattr(screen, "_guard", None)
    return isinstance(guard, TypingGuard) and not guard.is_up


async def wait_for_idle(min_sleep: float = STEP, max_sleep: float = 1.0) -> None:
    """Wait until the process does little, or until the event loop keeps up beside other threads.

    In place of Textual's, which has no second condition.
    """
    begun = time.monotonic()
    while True:
        slept, worked = time.monotonic(), time.process_time()
        await asyncio.sleep(STEP)
        worked = time.process_time() - worked
        now = time.monotonic()
        keeps_up = now - begun > KEEPS_UP_AFTER and now - slept < STEP * 1.5
        if now - begun > min_sleep and (worked < STEP / 20 or keeps_up or now - begun > max_sleep):
            return


async def until(pilot: Pilot[Any], happened: Callable[[], bool]) -> None:
    """Wait until ``happened``, at most `PATIENCE` seconds: a loaded machine is no fault."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while not happened():
        assert asyncio.get_running_loop().time() < end, "it did not happen"
        await pilot.pause(0.02)


async def shows(app: App[Any], words: str) -> None:
    """Wait until ``words`` are on the screen: what was changed is painted a little later."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while words not in text(app):
        assert asyncio.get_running_loop().time() < end, f"{words!r} is not in:\n{text(app)}"
        await asyncio.sleep(0.02)
