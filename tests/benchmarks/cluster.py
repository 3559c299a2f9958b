"""What `tchat map` takes on 1 to 1,000 nodes, for a thousand to a thousand million rows.

A small simulation with costs that were measured (`MEASURED`), which ``rows`` measures again, and
checks at other sizes than those the costs are drawn from. ``python -m tests.benchmarks.cluster``
prints the table of the manual.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path

from tests.benchmarks.peers import TCHAT
from tests.benchmarks.rows import Row
from tests.servers.fake_server import Answer, FakeServer, models, reply, serving

NODES = (1, 10, 100, 1000)
ROWS = (10**3, 10**5, 10**7, 10**9)
ROW_BYTES = 100  # of a row of text, as measured
NODE_ROWS = 10.0  # rows a second that a node answers: an assumption of the table
NODE_START = 60.0  # seconds until a node has its model
SPREAD = 0.1  # by which the speed of nodes differs, as a standard deviation
YEARS = 1.0  # between two failures of a node
RESTART = 300.0  # seconds until a node that failed is back
NODE_MEMORY = 64e9  # bytes
AGREES = 0.35  # by how much a measured point may differ from the simulation
_USAGE = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"code": code, "wall": time.perf_counter() - started,
                  "cpu": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss * 1024}))
"""


@dataclass(frozen=True, slots=True)
class Costs:
    """What a process of tchat takes, on one core.

    Attributes:
        start: Seconds until it reads rows.
        memory: Bytes without rows.
        read: Seconds for each row of the whole input, in every shard.
        row_memory: Bytes for each row of the whole input, in every shard.
        send: Seconds for each row that it sends to a server and writes.
        send_memory: Bytes for each row of a call that sends rows to servers.
        merge: Seconds for each row of a merge.
        merge_memory: Bytes for each row of a merge.
    """

    start: float
    memory: float
    read: float
    row_memory: float
    send: float
    send_memory: float
    merge: float
    merge_memory: float


MEASURED = Costs(0.5, 35e6, 2.1e-6, 300.0, 2e-3, 900.0, 6.5e-6, 200.0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A simulated run: seconds, bytes in the largest process, node hours, what is the limit."""

    seconds: float
    memory: float
    node_hours: float
    limit: str


def shards(costs: Costs, nodes: int, rows: int, rate: float = NODE_ROWS) -> Outcome:
    """Each node runs its shard with an engine of its own, then one merges."""
    drawn = random.Random(nodes)
    reading = costs.start + costs.read * rows
    ends = []
    for _ in range(nodes):
        speed = max(0.2, drawn.gauss(1.0, SPREAD))
        work = NODE_START + rows / nodes / (rate * speed)
        ends.append(reading + work + _failures(drawn, work) * RESTART)
    merging = (costs.start + costs.merge * rows) if nodes > 1 else 0.0
    memory = costs.memory + rows * max(costs.row_memory, costs.merge_memory * (nodes > 1))
    slowest = max(ends)
    parts = {
        "the nodes": rows / nodes / rate,
        "loading the model": NODE_START,
        "reading and merging": reading + merging,
    }
    limit = "memory" if memory > NODE_MEMORY else max(parts, key=parts.__getitem__)
    return Outcome(slowest + merging, memory, nodes * slowest / 3600, limit)


def servers(costs: Costs, nodes: int, rows: int, rate: float = NODE_ROWS) -> Outcome:
    """One process sends the rows to the nodes, which serve the model already."""
    drawn = random.Random(nodes)
    total = sum(rate * max(0.2, drawn.gauss(1.0, SPREAD)) for _ in range(nodes))
    ceiling = 1 / costs.send
    seconds = costs.start + costs.read * rows + rows / min(total, ceiling)
    memory = costs.memory + rows * costs.send_memory
    limit = "the one client" if ceiling < total else "the nodes"
    limit = "memory" if memory > NODE_MEMORY else limit
    return Outcome(seconds, memory, nodes * seconds / 3600, limit)


def _failures(drawn: random.Random, seconds: float) -> int:
    """How often a node fails in this time; rows that were written are not repeated."""
    left, count = seconds, 0
    mean = YEARS * 365 * 86_400
    while (left := left - drawn.expovariate(1 / mean)) > 0:
        count += 1
    return count


# Measured points


def rows() -> Iterator[Row]:
    """Costs from small inputs, and whether larger ones take what they foretell."""
    with ExitStack() as stack:
        fake = stack.enter_context(serving())
        fake.put("/v1/models", models("tiny", owner="vllm", max_model_len=4096))
        fake.chat(reply("good"))
        bench = _Bench(fake, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        costs = bench.costs()
        for each in fields(Costs):
            known, now = getattr(MEASURED, each.name), getattr(costs, each.name)
            text = f"{each.name}, where the table of the manual has {known:.3g}"
            yield Row(text, f"{now:.3g}", "for comparison", reached=True)
        many = 400_000
        read = bench.read(many)
        foretold = costs.memory + costs.row_memory * many
        yield _agrees(f"memory of a shard of {many:,} rows", read["memory"], foretold)
        foretold = costs.start + costs.read * many
        yield _agrees(f"CPU seconds of a shard of {many:,} rows", read["cpu"], foretold)
        sent, few = bench.send(1200), servers(costs, 1000, 1200).seconds
        yield _agrees("CPU seconds of a client of servers, 1,200 rows", sent["cpu"], few)
        merged = bench.merge(200_000)
        foretold = costs.start + costs.merge * 200_000
        yield _agrees("CPU seconds of a merge of 200,000 rows", merged["cpu"], foretold)
        foretold = costs.memory + costs.merge_memory * 200_000
        yield _agrees("memory of a merge of 200,000 rows", merged["memory"], foretold)


def _agrees(what: str, measured: float, foretold: float) -> Row:
    share = measured / foretold
    reached = 1 - AGREES <= share <= 1 + AGREES
    return Row(f"{what}, against the simulation", f"{share:.2f}x", f"1 ± {AGREES}", reached)


@dataclass(frozen=True, slots=True)
class _Bench:
    """Runs of `tchat map` with a server that answers at once."""

    fake: FakeServer
    home: Path

    def costs(self) -> Costs:
        few, more = self.read(20_000), self.read(120_000)
        once, often = self.send(100), self.send(500)
        small, large = self.merge(10_000), self.merge(60_000)

        def slope(a: Mapping[str, float], b: Mapping[str, float], name: str, count: int) -> float:
            return (b[name] - a[name]) / count

        read, memory = (slope(few, more, name, 100_000) for name in ("cpu", "memory"))
        return Costs(
            few["cpu"] - read * 20_000,
            few["memory"] - memory * 20_000,
            read,
            memory,
            slope(once, often, "cpu", 400),
            slope(self.wait(20_000), self.wait(70_000), "memory", 50_000),
            slope(small, large, "cpu", 50_000),
            slope(small, large, "memory", 50_000),
        )

    def read(self, count: int) -> dict[str, float]:
        """A shard of one row in ``count``."""
        number = min(count, 100_000)
        return self._map(count, "--shard", f"{number}/{number}")

    def send(self, count: int) -> dict[str, float]:
        """Rows that are answered at once."""
        return self._map(count, "-o", str(self._new("out.jsonl")))

    def wait(self, count: int) -> dict[str, float]:
        """Rows for a server that is gone when the first is sent."""
        told = models("tiny", owner="vllm", max_model_len=4096)
        self.fake.put("/v1/models", told, Answer(cut=True))
        self.fake.chat(Answer(cut=True))
        found = self._map(count, "-o", str(self._new("out.jsonl")), code=5)
        self.fake.put("/v1/models", told)
        self.fake.chat(reply("good"))
        return found

    def merge(self, count: int) -> dict[str, float]:
        """Four files put together."""
        text = "x" * ROW_BYTES
        for part in range(4):
            with (self.home / f"part-{part}.jsonl").open("w") as file:
                for index in range(part, count, 4):
                    record = {"index": index, "call": "0" * 12, "input": text, "output": "good"}
                    file.write(json.dumps(record) + "\n")
        parts = [str(self.home / f"part-{part}.jsonl") for part in range(4)]
        return self._used("map", "merge", str(self._new("merged.jsonl")), *parts)

    def _map(self, count: int, *flags: str, code: int = 0) -> dict[str, float]:
        lines = self.home / "rows.txt"
        with lines.open("w") as file:
            file.writelines(f"{number:0{ROW_BYTES}d}\n" for number in range(count))
        model = self.fake.url.removesuffix("/v1") + "/tiny"
        return self._used("map", "Mood: {}", str(lines), "-m", model, *flags, code=code)

    def _new(self, name: str) -> Path:
        path = self.home / name
        path.unlink(missing_ok=True)
        return path

    def _used(self, *arguments: str, code: int = 0) -> dict[str, float]:
        environment = {**os.environ, "TCHAT_HOME": str(self.home / "home")}
        call = [sys.executable, "-c", _USAGE, *TCHAT, *arguments]
        done = subprocess.run(call, env=environment, capture_output=True, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout)
        if found["code"] != code:
            raise RuntimeError(done.stderr[-2000:])
        return found


# The table of the manual


def table(costs: Costs = MEASURED) -> Iterator[str]:
    """The lines of a table in Markdown."""
    yield "| rows | nodes | `--shard`: time | memory | node hours | `--servers`: time | limit |"
    yield "|---|---|---|---|---|---|---|"
    for rows_ in ROWS:
        for nodes in NODES:
            own, sent = shards(costs, nodes, rows_), servers(costs, nodes, rows_)
            yield (
                f"| {rows_:,} | {nodes:,} | {_duration(own.seconds)} | {_bytes(own.memory)} "
                f"| {own.node_hours:,.1f} | {_duration(sent.seconds)} | {own.limit}; {sent.limit} |"
            )


def _duration(seconds: float) -> str:
    for name, size in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {name}"
    return f"{seconds:,.0f} s"


def _bytes(size: float) -> str:
    for name, unit in (("TB", 1e12), ("GB", 1e9)):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size / 1e6:,.0f} MB"


if __name__ == "__main__":
    started = time.perf_counter()
    print("\n".join(table()))
    print(f"{time.perf_counter() - started:.1f} s", file=sys.stderr)
