"""The README's pictures, from the real program: ``python -m tests.screenshots``."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from tchat.paths import user_paths
from tchat.sessions.store import SessionStore
from tchat.settings import Sampling, Settings
from tchat.tui.app import TchatApp
from tchat.tui.services.conversation import StartupState

FOLDER = Path(__file__).parents[1] / ".github"
SIZE = (100, 30)
PROMPT = "Write a Python function that reverses a list, and explain it in two sentences."
Scene = Callable[[Pilot[None]], Awaitable[None]]


async def chat(pilot: Pilot[None]) -> None:
    """A question and its answer."""


async def themes(pilot: Pilot[None]) -> None:
    """The theme picker, with another theme highlighted."""
    await pilot.press("f4")
    await pilot.pause(0.5)
    await pilot.press("down", "down")
    await pilot.pause(0.5)


async def models(pilot: Pilot[None]) -> None:
    """The models that are here and that could be."""
    await pilot.press("f2")
    await pilot.pause(2)
    await pilot.press(*["down"] * 8)  # whose description names no file
    await pilot.pause(0.5)


async def candidates(pilot: Pilot[None]) -> None:
    """Three replies side by side, the second one current."""
    screen: Any = pilot.app.screen_stack[0]
    screen.prompt.load("/try 3 Name three things to see in Paris, each with one sentence.")
    await pilot.press("enter")
    await pilot.pause(0.5)
    while screen.controllers.turn.is_busy:
        await pilot.pause(0.1)
    await pilot.press("right")
    await pilot.pause(0.5)


SCENES: dict[str, Scene] = {
    "chat": chat,
    "models": models,
    "themes": themes,
    "candidates": candidates,
}


async def take(name: str, scene: Scene) -> None:
    """Run the app on the starter model, play a scene, and write its picture."""
    settings = Settings(sampling=Sampling(seed=5, max_tokens=160))
    with tempfile.TemporaryDirectory() as home:
        paths = user_paths({"TCHAT_HOME": home})
        with SessionStore(paths.sessions_db) as store:
            app = TchatApp(settings, paths, lambda: StartupState(settings, store))
            async with app.run_test(size=SIZE) as pilot:
                await pilot.pause(3)
                screen = app.screen_stack[0]
                screen.prompt.load(PROMPT)  # type: ignore[attr-defined]
                await pilot.press("enter")
                await pilot.pause(0.5)
                while screen.controllers.turn.is_busy:  # type: ignore[attr-defined]
                    await pilot.pause(0.1)
                await pilot.pause(0.5)
                app.clear_notifications()  # that the model was checked is of no interest here
                await scene(pilot)
                svg = app.export_screenshot(title="tchat")
                await app.action_quit()
    # Without the fonts that it would load from elsewhere.
    svg = re.sub(r"@font-face\s*\{[^}]*\}", "", svg).replace("Fira Code", "DejaVu Sans Mono")
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")


async def main(wanted: list[str]) -> None:
    """Take the pictures of these names, or all."""
    for name, scene in SCENES.items():
        if not wanted or name in wanted:
            await take(name, scene)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
