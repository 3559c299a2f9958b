"""Replies side by side: the engine's candidates against a bare loop over the same batches."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.rows import Row, alternated, child, ratio

PROMPT = "Write a long story about a lighthouse keeper and the sea."
STEPS = 40  # tokens of each reply
ROUNDS = 7
COUNTS = (4, 8)


def rows() -> Iterator[Row]:
    """With the starter model, and with one of a billion random weights."""
    yield from _of("starter", child("tests.benchmarks.candidates"))
    with tempfile.TemporaryDirectory() as folder:
        path = child("tests.benchmarks.shapes", "dense 1.1B", f"{folder}/model.gguf")["path"]
        yield from _of("1B-shaped", child("tests.benchmarks.candidates", path))


def _of(name: str, found: dict[str, Any]) -> Iterator[Row]:
    for count in COUNTS:
        share, gain, one = (found[str(count)][key] for key in ("share", "gain", "one"))
        what = f"{count} replies at a time, {name}, against a bare loop over the same batches"
        yield Row(what, f"{share:.3f}x", ">= 0.95x", share >= 0.95)
        what = f"the same, bare loop against one reply ({one:.0f} tok/s): the most there is to gain"
        yield Row(what, f"{gain:.2f}x", "for comparison", reached=True)


class Loops:
    """Two ways to write the same number of tokens with one loaded model; in tokens a second."""

    def __init__(self, path: Path) -> None:
        from tchat.engine.engine import Engine
        from tchat.engine.loading import EngineOptions
        from tchat.engine.prompt import ChatMessage
        from tchat.models.metadata import read_metadata
        from tchat.settings import Sampling

        options = EngineOptions(
            path=path, template=read_metadata(path).chat_template, ctx_size=2048
        )
        self._engine = Engine(options)
        deque(self._engine.load(), maxlen=0)
        assert self._engine.loaded is not None
        self._loaded = self._engine.loaded
        ends = [f"{token}=-inf" for token in self._loaded.model.end_tokens]
        self._sampling = Sampling(seed=1, max_tokens=STEPS, logit_bias=tuple(ends))
        self._chat = [ChatMessage("user", PROMPT)]

    def engine(self, count: int) -> float:
        """`Engine.candidates`."""
        from tchat.engine.events import CandidateEvent, Finished

        ends = [
            event.event
            for event in self._engine.candidates(self._chat, self._sampling, count)
            if isinstance(event, CandidateEvent) and isinstance(event.event, Finished)
        ]
        written = sum(end.usage.completion for end in ends)
        assert written == count * STEPS
        return written / max(end.timings.decode for end in ends)

    def bare(self, count: int) -> float:
        """llama.cpp with the same sampler chains and nothing around it."""
        from tchat.engine.binding import backend
        from tchat.engine.context import FIRST_PARALLEL
        from tchat.engine.sampling import Sampler
        from tchat.engine.threads import default_threads

        lib, model, kv = backend().lib, self._loaded.model, self._loaded.kv
        kv.clear()
        if not kv.set_parallel(count) or not kv.reserve(256 * (count + 1)):
            raise RuntimeError("no room for the sequences")
        context: Any = self._loaded.context.handle
        memory = lib.llama_get_memory(context)
        threads = self._loaded.context._threads = default_threads()  # a trial may be going on
        lib.llama_set_n_threads(context, threads, threads)
        *head, last = self._engine.prompt_tokens(self._chat)
        deque(kv.prefill(head), maxlen=0)
        chains = [Sampler(model, self._sampling, seed=n, prompt=head) for n in range(count)]
        batch = lib.llama_batch_init(count, 0, 1)
        batch.n_tokens = count
        for place in range(count):
            lib.llama_memory_seq_cp(memory, 0, FIRST_PARALLEL + place, -1, -1)
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, FIRST_PARALLEL + place
            batch.logits[place], batch.token[place] = 1, last
        started = time.perf_counter()
        for written in range(STEPS):
            for place in range(count):
                batch.pos[place] = len(head) + written
            lib.llama_decode(context, batch)
            for place, chain in enumerate(chains):
                batch.token[place] = lib.llama_sampler_sample(chain.chain, context, place)
        seconds = time.perf_counter() - started
        for chain in chains:
            chain.close()
        lib.llama_batch_free(batch)
        kv.clear()
        return count * STEPS / seconds


def measure(path: Path | None) -> dict[str, dict[str, float]]:
    """By the number of replies: the engine's share of the bare loop, and what that gains."""
    from tchat.models.resolve import resolve
    from tchat.paths import user_paths

    loops = Loops(path or resolve("starter", user_paths()))
    loops.engine(max(COUNTS))  # makes the cache as large as it gets
    found = {}
    for count in COUNTS:
        engine, bare, one = alternated(
            ROUNDS,
            lambda count=count: loops.engine(count),  # type: ignore[misc]
            lambda count=count: loops.bare(count),  # type: ignore[misc]
            lambda: loops.bare(1),
        )
        found[str(count)] = {
            "share": ratio(engine, bare),
            "gain": ratio(bare, one),
            "one": statistics.median(one),
        }
    return found


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]) if sys.argv[1:] else None)))
