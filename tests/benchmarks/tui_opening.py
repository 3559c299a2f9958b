"""Opening: the first picture against a bare Textual app, and a session of 10,000 messages.

Whole processes on a real pty. Each is asked with a model that is not there, so that what is timed
is the screen.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tchat.paths import user_paths
from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore
from tests.benchmarks.rows import Row, alternated, ratio
from tests.benchmarks.tui_keys import PROMPT
from tests.sessions.stores import new_session
from tests.terminal import Terminal

ROUNDS = 3
NOWHERE = "/nowhere/no.gguf"
TEXT = (
    "The quick brown fox **jumps** over the `lazy` dog.\n\n- one\n- two\n\n```python\nx = 1\n```\n"
)
BARE = """
from textual.app import App
from textual.widgets import TextArea
class Bare(App):
    def compose(self):
        yield TextArea(placeholder="Message · / commands")
Bare().run()
"""


def rows() -> Iterator[Row]:
    """First picture by model and number of sessions; the end of a long session in view."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _sessions(folder / "none", 0, 0)
        _sessions(folder / "sessions", 10_000, 0)
        _sessions(folder / "few", 1, 10)
        _sessions(folder / "many", 1, 10_000)
        _seconds(folder / "none", _tchat(), PROMPT)  # compiles what it needs
        bare, first, sessions, starter = alternated(
            ROUNDS,
            lambda: _seconds(folder / "none", [sys.executable, "-c", BARE], PROMPT),
            lambda: _seconds(folder / "none", _tchat(), PROMPT),
            lambda: _seconds(folder / "sessions", _tchat(), PROMPT),
            lambda: _seconds(folder / "none", _tchat(), PROMPT, model="starter"),
        )
        base = 1000 * statistics.median(bare)
        share = ratio(first, bare)
        what = f"first picture, against a bare Textual app ({base:.0f} ms)"
        yield Row(what, f"{share:.2f}x", "<= 1.05x", share <= 1.05)
        for what, figures in (("10,000 sessions", sessions), ("the starter model", starter)):
            share = ratio(figures, first)
            yield Row(f"the same with {what}", f"{share:.2f}x", "<= 1.1x", share <= 1.1)
        few, many = alternated(
            ROUNDS,
            lambda: _seconds(folder / "few", _tchat("-c"), "end of 10."),
            lambda: _seconds(folder / "many", _tchat("-c"), "end of 10000."),
        )
        more = statistics.median(many) - statistics.median(few)
        what = "a session of 10,000 messages in view, over one of 10"
        yield Row(what, f"{1000 * more:.0f} ms", "<= 200 ms", more <= 0.2)


def _tchat(*flags: str) -> list[str]:
    return [sys.executable, "-m", "tchat", *flags]


def _seconds(home: Path, command: list[str], wanted: str, model: str = NOWHERE) -> float:
    environ = {**os.environ, "TCHAT_HOME": str(home), "TCHAT_MODEL": model}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program is compiled
    started = time.perf_counter()
    with Terminal(command, environ=environ) as terminal:
        terminal.until_bytes(wanted.rsplit(maxsplit=1)[-1].encode())
        return time.perf_counter() - started


def _sessions(home: Path, count: int, messages: int) -> None:
    with SessionStore(user_paths({"TCHAT_HOME": str(home)}).sessions_db) as store:
        store._database._connection.execute("PRAGMA synchronous=OFF")
        for number in range(count):
            session = new_session(store, title=f"Session {number}")
            parent: int | None = None
            for place in range(messages):
                text = f"end of {messages}." if place == messages - 1 else TEXT
                role = Role.ASSISTANT if place % 2 else Role.USER
                parent = store.add(session.id, role, text, parent_id=parent).id
