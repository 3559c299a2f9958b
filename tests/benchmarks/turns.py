"""A long chat: what a second turn reads, how fast a stop is, what memory it takes."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.rows import Row, child

LONG = "The lighthouse stands on a rock in the sea, and the keeper counts the ships. " * 115
STOPS = 20


def rows() -> Iterator[Row]:
    """Measured in one process of their own."""
    found = child("tests.benchmarks.turns")
    read, new = found["read"], found["new"]
    what = f"second turn of a {found['prompt']:,}-token chat: tokens read"
    yield Row(what, f"{read} of {new} new", "only the new ones", read <= new)
    for name in ("reading", "writing"):
        p95 = found[name]
        yield Row(f"stop while {name}, p95 of {STOPS}", f"{p95:.0f} ms", "<= 100 ms", p95 <= 100)
    over = found["over"]
    yield Row("resident memory over model and KV cache", f"{over:.0f} MB", "<= 120 MB", over <= 120)


def resident() -> float:
    """Megabytes of this process that are in memory and not the mapped model file (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    anonymous = next(line for line in lines if line.startswith("RssAnon"))
    return int(anonymous.split()[1]) / 1024


def library_pages() -> float:
    """Megabytes of mapped files other than models (Linux)."""
    total, counts = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            counts = line.endswith(".so") or ".so." in line or "python" in line
            counts = counts and not line.endswith(".gguf")
        elif counts and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total / 1024


def measure() -> dict[str, float]:
    """Turn, stops and memory on the starter."""
    from tchat.engine.engine import Engine
    from tchat.engine.events import Event, Finished, PromptProgress, TextDelta
    from tchat.engine.loading import EngineOptions
    from tchat.engine.prompt import ChatMessage
    from tchat.models.metadata import read_metadata
    from tchat.models.resolve import resolve
    from tchat.paths import user_paths
    from tchat.settings import Sampling

    path = resolve("starter", user_paths())
    engine = Engine(EngineOptions(path=path, template=read_metadata(path).chat_template))
    short = Sampling(temp=0, max_tokens=24)

    def run(messages: list[ChatMessage], sampling: Sampling) -> Finished:
        end = list(engine.generate(messages, sampling))[-1]
        assert isinstance(end, Finished)
        return end

    history = [ChatMessage("user", LONG)]
    first = run(history, short)
    assert engine.loaded is not None
    held = len(engine.loaded.kv.tokens)
    history += [ChatMessage("assistant", first.text), ChatMessage("user", "And then?")]
    second = run(history, short)
    kv = kv_megabytes(engine)
    over = resident() + library_pages() - kv

    def stop(messages: list[ChatMessage], kind: type[Event], after: float) -> float:
        """Milliseconds from setting the flag to the end of the generator."""
        engine.cancel.clear()
        at: list[float] = []

        def pull() -> None:
            at.append(time.perf_counter())
            engine.cancel.set()

        timer: threading.Timer | None = None
        for event in engine.generate(messages, Sampling(temp=0, max_tokens=500)):
            if timer is None and isinstance(event, kind):
                timer = threading.Timer(after, pull)
                timer.start()
        ended = time.perf_counter()
        return 1000 * (ended - at[0])

    reading = []
    for number in range(STOPS):
        engine.loaded.kv.clear()
        reading.append(stop([ChatMessage("user", LONG)], PromptProgress, 0.3 + 0.037 * number))
    writing = [
        stop([ChatMessage("user", "Tell a long story.")], TextDelta, 0.2 + 0.013 * number)
        for number in range(STOPS)
    ]
    engine.cancel.clear()
    return {
        "prompt": second.usage.prompt,
        "read": second.usage.prefilled,
        "new": second.usage.prompt - held,
        "reading": statistics.quantiles(reading, n=20)[-1],
        "writing": statistics.quantiles(writing, n=20)[-1],
        "over": over,
    }


def kv_megabytes(engine: Any) -> float:
    """Size of the starter's KV cache: 30 layers, 3 heads of 64, keys and values, f16."""
    capacity: int = engine.loaded.context.capacity
    return capacity * 30 * 3 * 64 * 2 * 2 / 2**20


if __name__ == "__main__":
    print(json.dumps(measure()))
