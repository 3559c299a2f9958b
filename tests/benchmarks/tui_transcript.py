"""The transcript: what one flush of a streaming reply costs, and opening a long session."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
import tracemalloc
from collections.abc import Iterator

from textual.app import App, ComposeResult

from tchat.tui.themes import variable_defaults
from tchat.tui.widgets.transcript.entry import Entry, Role
from tchat.tui.widgets.transcript.view import Transcript
from tests.benchmarks.rows import Row

FLUSH = 30  # characters: 200 tok/s at 30 flushes a second
FRAME = 1 / 30
SIZE = (120, 40)

PROSE = "The quick brown fox **jumps** over the `lazy` dog, and then it *rests* a while. "


class Stage(App[None]):
    """Nothing but the transcript."""

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults(self.current_theme)

    def compose(self) -> ComposeResult:
        yield Transcript()


def rows() -> Iterator[Row]:
    """One flush of each kind of reply, of the begin and the end of 100 kB, and 10,000 messages."""
    for name, text in replies().items():
        yield _flush_row(f"one flush of {name}", asyncio.run(flushes(text)))
    long = asyncio.run(flushes(mixed(100_000), every=20))
    fifth = len(long) // 5
    yield _flush_row("one flush in the last fifth of a reply of 100 kB", long[-fifth:])
    growth = _p95(long[-fifth:]) / _p95(long[:fifth])
    yield Row("the same against the first fifth", f"{growth:.2f}x", "<= 1.5x", growth <= 1.5)
    yield from _opening()


def replies() -> dict[str, str]:
    """Replies of some 8 kB, one for each kind of block."""
    code = "".join(f"    total += price[{i}] * (1 - discount)  # item {i}\n" for i in range(150))
    return {
        "a list": "".join(f"- item {i}: {PROSE[:60]}\n" for i in range(110)),
        "prose": (PROSE * 8 + "\n\n") * 12,
        "one paragraph of 8 kB": PROSE * 100,
        "code": f"```python\n{code}```\n",
        "a table": "| a | b | c |\n|---|---|---|\n"
        + "".join(f"| row {i} | **bold {i}** | {PROSE[:40]} |\n" for i in range(110)),
        "a quote": "".join(f"> {PROSE}\n" for i in range(100)),
    }


def mixed(length: int) -> str:
    """A reply of ``length`` characters with blocks of all kinds."""
    parts = [text[:1200].rpartition("\n")[0] + "\n" for text in replies().values()]
    once = "\n\n".join(part + ("```" if part.startswith("```") else "") for part in parts)
    return (once * (length // len(once) + 1))[:length]


async def flushes(text: str, every: int = 1) -> list[float]:
    """Seconds of CPU that each flush costs, drawing included; ``every`` n-th is measured."""
    app = Stage()
    figures: list[float] = []
    async with app.run_test(size=SIZE) as pilot:
        transcript = app.query_one(Transcript)
        transcript.show([Entry(key=0, role="user", text="Go on.")])
        transcript.begin(Entry(key=1, role="assistant"))
        await pilot.pause()
        for number, start in enumerate(range(0, len(text), FLUSH)):
            piece = text[start : start + FLUSH]
            if number % every:
                transcript.feed(1, piece)
                continue
            await asyncio.sleep(FRAME)
            before = time.process_time()
            transcript.feed(1, piece)
            await asyncio.sleep(FRAME)
            figures.append(time.process_time() - before)
    return figures


def _opening() -> Iterator[Row]:
    few, many = _messages(10), _messages(10_000)
    asyncio.run(_opened(few))  # warm
    short = [asyncio.run(_opened(few)) for _ in range(5)]
    long = [asyncio.run(_opened(many)) for _ in range(5)]
    median = statistics.median(long)
    figure = f"{1000 * median:.0f} ms"
    yield Row("10,000 messages to the first picture", figure, "<= 40 ms", median <= 0.04)
    ratio = median / statistics.median(short)
    yield Row("the same against 10 messages", f"{ratio:.2f}x", "<= 1.5x", ratio <= 1.5)
    size = asyncio.run(_memory(many)) / 1e6
    yield Row(
        "memory of 10,000 messages, less their text", f"{size:.1f} MB", "<= 20 MB", size <= 20
    )


async def _opened(entries: list[Entry]) -> float:
    app = Stage()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        start = time.process_time()
        app.query_one(Transcript).show(entries)
        await asyncio.sleep(0.05)
        return time.process_time() - start


async def _memory(entries: list[Entry]) -> float:
    app = Stage()
    async with app.run_test(size=SIZE) as pilot:
        transcript = app.query_one(Transcript)
        transcript.show(entries[:10])
        await pilot.pause()
        gc.collect()
        tracemalloc.start()
        transcript.show(entries)
        await pilot.pause()
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return float(size)


def _messages(count: int) -> list[Entry]:
    text = PROSE * 5 + "\n\n- one\n- two\n\n```python\nprint(1)\n```\n"
    roles: tuple[Role, ...] = ("user", "assistant")
    return [Entry(key=n, role=roles[n % 2], text=f"{n} {text}") for n in range(count)]


def _flush_row(what: str, figures: list[float]) -> Row:
    p95 = _p95(figures)
    label = f"{what} (median {1000 * statistics.median(figures):.1f} ms), p95"
    return Row(label, f"{1000 * p95:.1f} ms", "<= 5 ms", p95 <= 0.005)


def _p95(figures: list[float]) -> float:
    return sorted(figures)[int(0.95 * len(figures))]
