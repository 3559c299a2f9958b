"""Under the fingers: from a key to its echo on a real pty, and a paste of 100 kB."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.rows import Row
from tests.benchmarks.tui_stage import TEXTS
from tests.terminal import Terminal

# Letters that stand nowhere else on the screen.
LETTERS = "".join(map(chr, [*range(0x430, 0x450), *range(0x561, 0x587), *range(0x3B1, 0x3C9)]))
KEYS = 80
PAUSE = 0.083  # seconds between two keys, out of step with the flushes
CLEAR = b"\x15"  # Ctrl+U
PASTE = 100_000
PROMPT = "Message · / commands"


def rows() -> Iterator[Row]:
    """Key to echo beside each kind of reply, what a flush costs meanwhile, and a paste."""
    for name in TEXTS:
        yield from _echo_rows(name)
    yield _paste_row()


def _echo_rows(name: str) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        with _stage(folder, name) as terminal:
            idle = echoes(terminal)
            terminal.send("Go on.\r")
            terminal.until("Esc stops")
            busy = echoes(terminal)
            terminal.send("\x1b")
            terminal.until("■ stopped")
            terminal.send("\x11")
            terminal.ended()
        flushes = json.loads(Path(folder, "flushes.json").read_text())[5:-5]
    late, calm = p95(busy), p95(idle)
    what = f"key to echo while a {name} is drawn (median {1000 * statistics.median(busy):.1f} ms)"
    yield Row(f"{what}, p95", f"{1000 * late:.1f} ms", "<= 10 ms", late <= 0.01)
    share = late / calm
    what = f"the same against idle (p95 {1000 * calm:.1f} ms)"
    yield Row(what, f"{share:.2f}x", "<= 4x", share <= 4)
    cost = p95(flushes)
    what = f"screen CPU from flush to flush of a {name} with keys, p95 ({len(flushes)} flushes)"
    yield Row(what, f"{1000 * cost:.1f} ms", "<= 8 ms", cost <= 0.008)


def echoes(terminal: Terminal) -> list[float]:
    """Seconds from each of some keys to the first sight of its letter."""
    figures = []
    for number in range(KEYS):
        letter = LETTERS[number % len(LETTERS)].encode()
        quiet(terminal, PAUSE)
        terminal.send(letter)
        figures.append(terminal.until_bytes(letter))
        if number % 20 == 19:
            terminal.send(CLEAR)
            quiet(terminal, PAUSE)
    return figures


def quiet(terminal: Terminal, seconds: float) -> None:
    """Let the program write for a while."""
    end = time.perf_counter() + seconds
    while (left := end - time.perf_counter()) > 0:
        terminal.read(left)


def _paste_row() -> Row:
    text = "".join(f"line {number} of a long text that is pasted\n" for number in range(2_500))
    with tempfile.TemporaryDirectory() as folder, _stage(folder, "prose") as terminal:
        figures = []
        for _ in range(9):
            started = time.perf_counter()
            terminal.send(b"\x1b[200~" + text[:PASTE].encode() + b"\x1b[201~")
            terminal.until_bytes(b"[pasted ")
            figures.append(time.perf_counter() - started)
            terminal.send(CLEAR)
            quiet(terminal, 0.3)
    median = statistics.median(figures)
    return Row("paste of 100 kB to its echo", f"{1000 * median:.0f} ms", "<= 50 ms", median <= 0.05)


def _stage(folder: str, text: str) -> Terminal:
    terminal = Terminal([sys.executable, "-m", "tests.benchmarks.tui_stage", folder, text])
    terminal.until(PROMPT)
    terminal.until("F1 help")
    quiet(terminal, 0.5)
    return terminal


def p95(figures: list[float]) -> float:
    """The 95th percentile."""
    return sorted(figures)[int(0.95 * len(figures))]
