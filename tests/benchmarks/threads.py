"""The thread governor against fixed thread counts, with free cores and beside a busy process.

Also how long libgomp's threads spin, as tchat sets it, against libgomp's own.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tchat.engine.kv_cache import KVCache
from tests.benchmarks.rows import Row, alternated, child, ratio

TOKENS = 60
PROMPT = "The keeper of the lighthouse counts the ships. " * 20
ROUNDS = 7
SPIN_ROUNDS = 3
BUSY = "while True: pass"
OWN_SPINS = "300000"  # libgomp's default
REACH = {"quiet": 0.97, "one core busy": 0.9}


def rows() -> Iterator[Row]:
    """Measured in one process, the counts in turn; then the spins, each in their own."""
    found = child("tests.benchmarks.threads")
    for work in ("decode", "read"):
        for state, reach in REACH.items():
            figures = found[state][work]
            share = figures["governed"] / max(figures["fixed"])
            counts = ", ".join(f"{rate:.0f}" for rate in figures["fixed"])
            what = f"{work}, {state}, governed against the best fixed count (1.. threads: {counts})"
            yield Row(what, f"{share:.3f}x", f">= {reach}x", share >= reach)
    yield from _spins()


def _spins() -> Iterator[Row]:
    def run(*spins: str) -> dict[str, float]:
        return child("tests.benchmarks.threads", "spins", *spins)

    pairs = [(run(), run(OWN_SPINS)) for _ in range(SPIN_ROUNDS)]
    share = ratio([ours["quiet"] for ours, _ in pairs], [own["quiet"] for _, own in pairs])
    what = "decode, quiet, all threads, short spins against libgomp's own"
    yield Row(what, f"{share:.3f}x", ">= 0.97x", share >= 0.97)
    ours, own = (1000 * max(pair[place]["longest"] for pair in pairs) for place in (0, 1))
    what = (
        f"longest token beside a busy core, all threads, short spins (libgomp's own: {own:.0f} ms)"
    )
    yield Row(what, f"{ours:.0f} ms", "for comparison", reached=True)


def measure() -> dict[str, dict[str, object]]:
    """Median tokens a second, decoding and reading, governed and with each fixed count."""
    from tchat.engine.threads import default_threads

    most = default_threads()
    counts = sorted({1, most // 2 or 1, most})
    caches = [_opened(threads) for threads in (0, *counts)]

    def taken(rate: Callable[[KVCache], float]) -> dict[str, object]:
        runs = [lambda cache=cache: rate(cache) for cache in caches]
        governed, *fixed = map(statistics.median, alternated(ROUNDS, *runs))
        return {"governed": governed, "fixed": fixed}

    def state() -> dict[str, object]:
        return {"decode": taken(_decoded), "read": taken(_read)}

    for cache in caches:
        _decoded(cache)
    quiet = state()
    with _busy_core():
        busy = state()
    return {"quiet": quiet, "one core busy": busy}


def spins(count: str) -> dict[str, float]:
    """Tokens a second on a quiet machine, and the longest token beside a busy core."""
    from tchat.engine.threads import default_threads

    if count:
        os.environ["GOMP_SPINCOUNT"] = count
    cache = _opened(default_threads())
    quiet = statistics.median(_decoded(cache) for _ in range(ROUNDS))
    with _busy_core():
        longest = max(_steps(cache))
    return {"quiet": quiet, "longest": longest}


def _opened(threads: int) -> KVCache:
    from tchat.engine.binding import Cancel
    from tchat.engine.context import Context
    from tchat.engine.model import Model
    from tchat.models.resolve import resolve
    from tchat.paths import user_paths

    cancel = Cancel()
    model = Model(resolve("starter", user_paths()), cancel=cancel)
    context = Context(model, size=512, batch=512, threads=threads, cancel=cancel)
    cache = KVCache(context, model)
    list(cache.prefill(model.tokenize(PROMPT, special=False)))
    return cache


def _steps(cache: KVCache) -> list[float]:
    """Seconds of each of some tokens, decoded one by one."""
    held, seconds = len(cache.tokens), []
    for token in cache.tokens[:TOKENS]:
        started = time.perf_counter()
        cache.step(token)
        seconds.append(time.perf_counter() - started)
    cache.truncate(held)
    return seconds


def _decoded(cache: KVCache) -> float:
    return TOKENS / sum(_steps(cache))


def _read(cache: KVCache) -> float:
    """Tokens a second of reading all of the text."""
    text = list(cache.tokens)
    cache.clear()
    started = time.perf_counter()
    list(cache.prefill(text))
    return len(text) / (time.perf_counter() - started)


@contextmanager
def _busy_core() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", BUSY]) as other:
        yield
        other.kill()


if __name__ == "__main__":
    print(json.dumps(spins("".join(sys.argv[2:])) if "spins" in sys.argv else measure()))
