"""The thread governor against fixed thread counts, with free cores and beside a busy process."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.benchmarks.rows import Row, alternated, child

TOKENS = 60
PROMPT = "The keeper of the lighthouse counts the ships. " * 20
ROUNDS = 7
BUSY = "while True: pass"


def rows() -> Iterator[Row]:
    """Measured in one process, the counts in turn."""
    found = child("tests.benchmarks.threads")
    for state, reach in (("quiet", 0.97), ("one core busy", 0.9)):
        share = found[state]["governed"] / max(found[state]["fixed"])
        counts = ", ".join(f"{rate:.0f}" for rate in found[state]["fixed"])
        what = f"decode, {state}, governed against the best fixed count (1.. threads: {counts})"
        yield Row(what, f"{share:.3f}x", f">= {reach}x", share >= reach)


def measure() -> dict[str, dict[str, object]]:
    """Median tokens a second, governed and with each fixed count."""
    from tchat.engine.cancel import Cancel
    from tchat.engine.context import Context
    from tchat.engine.kv import KVCache
    from tchat.engine.model import Model
    from tchat.engine.threads import default_threads
    from tchat.models.resolve import resolve
    from tchat.paths import user_paths

    most, cancel = default_threads(), Cancel()
    model = Model(resolve("starter", user_paths()), cancel=cancel)
    text = model.tokenize(PROMPT, special=False)

    def opened(threads: int) -> KVCache:
        context = Context(model, size=512, batch=512, threads=threads, cancel=cancel)
        cache = KVCache(context, model)
        list(cache.read(text))
        return cache

    def rate(cache: KVCache) -> float:
        cache.reuse(text)
        started = time.perf_counter()
        for token in text[:TOKENS]:
            cache.step(token)
        return TOKENS / (time.perf_counter() - started)

    counts = sorted({1, most // 2 or 1, most})
    caches = [opened(threads) for threads in (0, *counts)]
    runs = [lambda cache=cache: rate(cache) for cache in caches]  # type: ignore[misc]

    def state() -> dict[str, object]:
        governed, *fixed = map(statistics.median, alternated(ROUNDS, *runs))
        return {"governed": governed, "fixed": fixed}

    alternated(1, *runs)
    quiet = state()
    with subprocess.Popen([sys.executable, "-c", BUSY]) as other:
        busy = state()
        other.kill()
    return {"quiet": quiet, "one core busy": busy}


if __name__ == "__main__":
    print(json.dumps(measure()))
