"""Writing speed of the starter model in the chat screen, against the same turns without drawing.

``python -m tests.benchmarks.tui_decode FOLDER`` is the screen; it plays both kinds of turns in
turn, with one loaded model, and leaves ``rates.json`` in the folder.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tchat.paths import user_paths
from tchat.sessions.store import SessionStore
from tchat.settings import Sampling, Settings
from tchat.tui.app import TchatApp
from tchat.tui.chat_screen import ChatScreen
from tchat.tui.services.conversation import StartupState
from tests.benchmarks.rows import Row, ratio
from tests.terminal import Terminal

TOKENS = 120
ROUNDS = 7
# So long that every line of the reply scrolls the screen.
NOTES = "".join(f"{number}. The keeper counts ship {number}.\n" for number in range(30))
PROMPT = f"{NOTES}\nWrite a long story about a lighthouse keeper and the sea."


def rows() -> Iterator[Row]:
    """The ratio of pairs of turns in one process."""
    with tempfile.TemporaryDirectory() as folder:
        with Terminal([sys.executable, "-m", "tests.benchmarks.tui_decode", folder]) as terminal:
            terminal.ended(patience=200)
        found = json.loads(Path(folder, "rates.json").read_text())
    share = ratio(found["screen"], found["headless"])
    bare = statistics.median(found["headless"])
    what = f"decode in the screen, against the same turns undrawn ({bare:.0f} tok/s)"
    yield Row(what, f"{share:.3f}x", ">= 0.92x", share >= 0.92)


class Played(TchatApp):
    """Plays the turns by itself, and ends."""

    CSS_PATH = str(Path(inspect.getfile(TchatApp)).with_name("app.tcss"))
    rates: dict[str, list[float]]

    def on_ready(self) -> None:
        """Begin once the screen is there."""
        self.rates = {"screen": [], "headless": []}
        self.run_worker(self._play())

    async def _play(self) -> None:
        screen = self.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        await self._idle(screen)
        for number in range(-1, ROUNDS):
            drawn, undrawn = await self._drawn(screen), await self._undrawn(screen)
            if number >= 0:
                self.rates["screen"].append(drawn)
                self.rates["headless"].append(undrawn)
        await self.action_quit()

    async def _drawn(self, screen: ChatScreen) -> float:
        await screen.controllers.sessions.open(None)
        screen.controllers.turn.run(lambda chat: chat.send(PROMPT))
        await self._idle(screen)
        return await self._rate(screen)

    async def _undrawn(self, screen: ChatScreen) -> float:
        await screen.controllers.sessions.open(None)
        conversation = screen.conversation
        await conversation._engine.run(lambda: list(conversation.chat.send(PROMPT)))
        return await self._rate(screen)

    async def _rate(self, screen: ChatScreen) -> float:
        reply = (await screen.context.messages.branch())[-1]
        assert reply.usage["completion"] == TOKENS
        return reply.usage["completion"] / reply.timings["write"]

    async def _idle(self, screen: ChatScreen) -> None:
        while (
            not screen.context.is_ready
            or screen.controllers.turn.is_busy
            or screen.conversation.metadata is None
        ):
            await asyncio.sleep(0.1)


def main(folder: str) -> None:
    """Play, and leave the rates."""
    sampling = Sampling(
        temp=0, max_tokens=TOKENS, logit_bias=("<|im_end|>=-100", "<|endoftext|>=-100")
    )
    paths = user_paths({"TCHAT_HOME": folder})
    with SessionStore(paths.sessions_db) as store:
        settings = replace(Settings(), sampling=sampling, prompt_lookup=False)
        app = Played(settings, paths, lambda: StartupState(settings, store))
        app.run()
    Path(folder, "rates.json").write_text(json.dumps(app.rates))


if __name__ == "__main__":
    main(sys.argv[1])
