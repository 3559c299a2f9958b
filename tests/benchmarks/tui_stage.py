"""The chat screen with a scripted model, as a program: ``python -m tests.benchmarks.tui_stage``.

Arguments: the folder to live in, and the name of a text of `TEXTS`. Every prompt is answered with
that text, endlessly, at 200 tokens a second. When it ends it leaves ``flushes.json`` in the
folder: seconds of CPU of the screen's thread from one batch of text to the next.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tchat.chat.chat import Chat
from tchat.chat.prompt_builder import TokenCount
from tchat.engine.events import (
    Event,
    Finished,
    MessageStored,
    Reason,
    TextDelta,
    Timings,
    TokenUsage,
)
from tchat.paths import user_paths
from tchat.sessions.records import Role, Status
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tchat.tui.app import TchatApp
from tchat.tui.controllers.reply import ReplyController
from tchat.tui.services import conversation
from tchat.tui.services.conversation import StartupState

RATE = 200  # tokens a second
TOKEN = 5  # characters
JOURNAL = 0.2  # seconds between two writes to the disk

PROSE = "The quick brown fox **jumps** over the `lazy` dog, and then it *rests* a while. "


def _texts() -> dict[str, str]:
    code = "".join(f"    total += price[{i}] * (1 - discount)  # item {i}\n" for i in range(300))
    return {
        "list": "".join(f"- item {i}: {PROSE[:60]}\n" for i in range(400)),
        "prose": (PROSE * 8 + "\n\n") * 40,
        "code": f"```python\ndef price():\n{code}```\n\n",
        "table": "| a | b | c |\n|---|---|---|\n"
        + "".join(f"| row {i} | **bold {i}** | {PROSE[:40]} |\n" for i in range(300)),
    }


TEXTS = _texts()


class Scripted(Chat):
    """A chat whose replies are known; it stores them as the real one does."""

    text = ""

    def load(self) -> Iterator[Event]:
        """There is nothing to load."""
        return iter(())

    def count_draft(self, draft: str) -> TokenCount | None:
        """About as many tokens as there are."""
        return TokenCount(len(draft) // TOKEN, len(draft) // TOKEN, 8192)

    def send(
        self, prompt: str, *, reply_prefix: str = "", after: int | None = None
    ) -> Iterator[Event]:
        """Answer at `RATE` until it is stopped."""
        question = self._ask(prompt, after).message
        row = self.store.add(
            question.session_id,
            Role.ASSISTANT,
            "",
            parent_id=question.id,
            status=Status.STREAMING,
        )
        yield MessageStored(question.id, row.id)
        begun = journaled = time.perf_counter()
        written = ""
        while not self.cancel.is_set():
            at = len(written) % len(self.text)
            piece = self.text[at : at + TOKEN]
            written += piece
            yield TextDelta(piece)
            due = begun + len(written) / TOKEN / RATE
            if (wait := due - time.perf_counter()) > 0:
                time.sleep(wait)
            if time.perf_counter() - journaled > JOURNAL:
                self.store.journal(row.id, written)
                journaled = time.perf_counter()
        self.store.finish(row.id, status=Status.STOPPED, text=written)
        usage = TokenUsage(3, 0, 3, len(written) // TOKEN)
        yield Finished(Reason.CANCELLED, written, "", 1, usage, Timings(0.0, 0.1, 1.0))


def timed_flushes(figures: list[float]) -> None:
    """Let the screen note what its thread needs from one batch of text to the next."""
    show = ReplyController.show
    last: list[float] = []

    async def noted(self: ReplyController, batch: Sequence[Event]) -> None:
        now = time.thread_time()
        if last:
            figures.append(now - last.pop())
        last.append(now)
        await show(self, batch)

    setattr(ReplyController, "show", noted)  # noqa: B010


def main(folder: str, text: str) -> None:
    """Run the screen until it is quit."""
    figures: list[float] = []
    timed_flushes(figures)
    scripted: Any = type("Chat", (Scripted,), {"text": TEXTS[text]})
    conversation.Chat = scripted  # type: ignore[attr-defined]
    paths = user_paths({"TCHAT_HOME": folder})
    with SessionStore(paths.sessions_db) as store:
        TchatApp(Settings(), paths, lambda: StartupState(Settings(), store)).run()
    Path(folder, "flushes.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
