"""From Enter to the first token behind a long paste, and what reading costs the keys meanwhile."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator

from tests.benchmarks.rows import Row
from tests.benchmarks.tui_keys import LETTERS, PROMPT, p95, quiet
from tests.terminal import Terminal

NOTES = "The lighthouse stands on a rock in the sea, and the keeper counts the ships. "
PASTE = NOTES * 60  # about 1,000 tokens
SECONDS = 15.0  # of typing
KEYS = 4  # a second
WORD = 6  # letters to a space


def rows() -> Iterator[Row]:
    """The same paste and the same keys with reading while they come, and without."""
    plain, undisturbed = _typed(read=False)
    ahead, echoes = _typed(read=True)
    what = f"Enter to first token, 1,000 tokens pasted, 15 s typed ({plain:.1f} s read then)"
    yield Row(what, f"{1000 * ahead:.0f} ms", "<= 300 ms", ahead <= 0.3)
    late, calm = p95(echoes), p95(undisturbed)
    what = f"key to echo beside that reading, p95 (without it {1000 * calm:.0f} ms)"
    yield Row(what, f"{1000 * late:.0f} ms", "<= 33 ms", late <= 0.033)


def _typed(*, read: bool) -> tuple[float, list[float]]:
    """Seconds from Enter to the first token, and from each key to its echo."""
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "TCHAT_HOME": home,
            "TCHAT_MAX_TOKENS": "24",
            "TCHAT_READ_WHILE_TYPING": str(read).lower(),
        }
        with Terminal([sys.executable, "-m", "tchat"], environ=environment) as terminal:
            terminal.until(PROMPT)
            terminal.until("F1 help")
            quiet(terminal, 1.0)
            terminal.send(b"\x1b[200~" + PASTE.encode() + b"\x1b[201~")
            echoes = list(_keys(terminal))
            terminal.send("\r")
            seconds = terminal.until_bytes("● ".encode())  # "● writing"
            terminal.until("F1 help")
            terminal.send("\x11")
            terminal.ended()
    return seconds, echoes


def _keys(terminal: Terminal) -> Iterator[float]:
    """Type for `SECONDS`, a few keys a second; yields the seconds to each echo."""
    end = time.perf_counter() + SECONDS
    count = 0
    while (began := time.perf_counter()) < end:
        letter = LETTERS[count % len(LETTERS)].encode()
        terminal.send(letter)
        yield terminal.until_bytes(letter)
        count += 1
        if count % WORD == 0:
            terminal.send(" ")
        quiet(terminal, 1 / KEYS - (time.perf_counter() - began))


if __name__ == "__main__":
    for row in rows():
        print(row)
