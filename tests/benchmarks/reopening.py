"""Chats in fresh homes reopen at once: from the screen and from a one-shot, quiet and busy.

``python -m tests.benchmarks.reopening 10`` tries ten homes of each of the four kinds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tchat.chat.preload import snapshot_store
from tchat.paths import user_paths
from tchat.sessions.records import Status
from tchat.sessions.store import SessionStore
from tests.benchmarks.rows import Row
from tests.terminal import Terminal

HOMES = 1  # of each kind, in the table
SENTENCE = "The lighthouse stands on a rock in the sea, and the keeper counts the ships. "
DOCUMENT = SENTENCE * 52  # 950 tokens
TCHAT = [sys.executable, "-m", "tchat"]
PATIENCE = 240.0  # seconds for a reply

Form = Callable[[dict[str, str]], None]


def rows(homes: int = HOMES) -> Iterator[Row]:
    """How many of the homes reopen a chat at once."""
    for busy in (False, True):
        for name, form in (("one-shot", one_shot), ("screen", screen)):
            with busy_core() if busy else quiet_core():
                good = sum(reopens(form) for _ in range(homes))
            state = "beside a busy core" if busy else "quiet"
            what = f"fresh homes whose first chat reopens at once, {name}, {state}"
            yield Row(what, f"{good} of {homes}", f"{homes} of {homes}", good == homes)


def reopens(form: Form) -> bool:
    """Whether the check of the first chat passes in a fresh home, and the chat is restored."""
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "TCHAT_HOME": home, "TCHAT_MAX_TOKENS": "8"}
        form(environ)
        with closing(snapshot_store(user_paths(environ))) as store:
            exact = [known.exact for known in store.models()]
        command = [*TCHAT, "-c", "--json", "Who counts the ships?"]
        told = json.loads(_told(command, environ))
        return exact == [True] and told["usage"]["restored"] > 500


def _told(command: list[str], environ: dict[str, str]) -> bytes:
    return subprocess.run(command, env=environ, capture_output=True, check=True).stdout


def one_shot(environ: dict[str, str]) -> None:
    """Ask about the document on standard input."""
    subprocess.run(
        [*TCHAT, "What is it about?"],
        input=DOCUMENT.encode(),
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def screen(environ: dict[str, str]) -> None:
    """Paste the document into the screen, wait for the reply and quit at once."""
    paths = user_paths(environ)
    with Terminal(TCHAT, environ=environ) as terminal:
        terminal.until("Message · / commands", PATIENCE)
        terminal.send(b"\x1b[200~" + DOCUMENT.encode() + b"\x1b[201~")
        terminal.until("counts the ships.", PATIENCE)
        terminal.send("\r")
        terminal.until(lambda: _answered(paths.sessions_db), PATIENCE)
        terminal.send("\x11")
        terminal.ended(PATIENCE)


def _answered(database: Path) -> bool:
    if not database.exists():
        return False
    time.sleep(0.1)
    with SessionStore(database) as store:
        branches = [store.branch(session.id) for session in store.sessions()]
    return any(branch[-1].status is Status.DONE for branch in branches if len(branch) == 2)


@contextmanager
def busy_core() -> Iterator[None]:
    """Something that keeps one core busy."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            yield
        finally:
            other.kill()


@contextmanager
def quiet_core() -> Iterator[None]:
    """Nothing beside."""
    yield


if __name__ == "__main__":
    for row in rows(int(sys.argv[1]) if len(sys.argv) > 1 else HOMES):
        print(f"{row.figure:>10}  {row.what}", flush=True)
