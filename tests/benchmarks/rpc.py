"""Decode through two workers on loopback, against llama.cpp itself through two others.

Needs a build with the RPC backend. ``LLAMA_BENCH`` names a ``llama-bench`` of the same version and
with the same backend, to be measured too.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.benchmarks.decode import PROMPT, bare_rate, rate_of
from tests.benchmarks.rows import Row, alternated, child, ratio
from tests.engine.rpc.worker_process import Worker

TOKENS = 100
ROUNDS = 11
BENCH = "LLAMA_BENCH"


def rows() -> Iterator[Row]:
    """The engine beside a bare loop, and beside llama-bench where there is one."""
    from tchat.engine.rpc.workers import require_rpc

    require_rpc()
    found = child("tests.benchmarks.rpc", "loops")
    what = f"decode, two RPC workers, against a bare C-API loop ({found['bare']:.0f} tok/s)"
    yield Row(what, f"{found['engine']:.3f}x", ">= 0.95x", found["engine"] >= 0.95)
    if program := os.environ.get(BENCH):
        found = child("tests.benchmarks.rpc", "bench", program)
        what = f"decode, two RPC workers, against llama-bench --rpc ({found['bench']:.0f} tok/s)"
        yield Row(what, f"{found['engine']:.3f}x", ">= 0.95x", found["engine"] >= 0.95)


def loops() -> dict[str, float]:
    """`RpcEngine` and, in this process, llama.cpp alone; each has two workers, all the time."""
    from tchat.engine.engine import Engine
    from tchat.engine.rpc.workers import register_workers
    from tchat.settings import Sampling

    with ExitStack() as stack:
        engine = _engine(stack)
        register_workers(_workers(stack))
        here = stack.enter_context(Engine(_options(())))
        list(here.load())
        assert here.loaded is not None
        loaded, sampling = here.loaded, Sampling(seed=1, max_tokens=TOKENS)
        ours, bare = alternated(ROUNDS, engine, lambda: bare_rate(loaded, sampling))
    return {"engine": ratio(ours, bare), "bare": statistics.median(bare)}


def bench(program: str) -> dict[str, float]:
    """`RpcEngine` and llama-bench."""
    with ExitStack() as stack:
        engine = _engine(stack)
        others = ",".join(_workers(stack))
        model = str(_options(()).path)
        command = [program, "--rpc", others, "-m", model, "-p", "0", "-n", str(TOKENS)]
        command += ["-d", "32", "-t", "1", "-ngl", "99", "-r", "1", "-o", "json"]

        def theirs() -> float:
            done = subprocess.run(command, capture_output=True, check=True)
            return float(json.loads(done.stdout)[0]["avg_ts"])

        ours, rates = alternated(ROUNDS, engine, theirs)
    return {"engine": ratio(ours, rates), "bench": statistics.median(rates)}


def _engine(stack: ExitStack) -> Any:
    """A function that returns the tokens a second of a reply of `RpcEngine`."""
    from tchat.engine.prompt import ChatMessage
    from tchat.engine.rpc.engine import RpcEngine
    from tchat.settings import Sampling

    engine = stack.enter_context(RpcEngine(_options(_workers(stack))))
    messages, sampling = [ChatMessage("user", PROMPT)], Sampling(seed=1, max_tokens=TOKENS)
    list(engine.generate(messages, sampling))
    return lambda: rate_of(engine.generate(messages, sampling))


def _workers(stack: ExitStack) -> tuple[str, ...]:
    found = []
    for _ in range(2):
        worker = Worker()
        stack.callback(worker.end)
        found.append(worker.endpoint)
    return tuple(found)


def _options(rpc: tuple[str, ...]) -> Any:
    from tchat.engine.loading import EngineOptions
    from tchat.models.metadata import read_metadata
    from tchat.models.resolve import resolve
    from tchat.paths import user_paths

    path: Path = resolve("starter", user_paths())
    template = read_metadata(path).chat_template
    return EngineOptions(
        path=path, template=template, ctx_size=1024, threads=1, rpc=rpc, rpc_timeout=60
    )


if __name__ == "__main__":
    print(json.dumps(loops() if sys.argv[1] == "loops" else bench(sys.argv[2])))
