"""`tchat map --servers` over two servers, one of them three times slower than the other."""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks.peers import TCHAT
from tests.benchmarks.rows import Row, alternated, wall
from tests.servers.fake_server import Answer, FakeServer, Seen, models, reply, serving

COUNT = 400
SECONDS = (0.02, 0.06)  # of one row on each server, which answers one at a time
IN_FLIGHT = 4
PLENTY = 40  # rows that tell what a start takes


def rows() -> Iterator[Row]:
    """Whole processes; their start is measured with few rows and taken off."""
    with ExitStack() as stack:
        fakes = [stack.enter_context(serving()) for _ in SECONDS]
        for fake, seconds in zip(fakes, SECONDS, strict=True):
            fake.put("/v1/models", models("tiny", owner="vllm", max_model_len=4096))
            fake.chat(_Answers(seconds))
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        yield _against_the_sum(fakes, home)


class _Answers:
    """One request at a time, each in the same time."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._turn = seconds, threading.Lock()

    def __call__(self, _: Seen) -> Answer:
        with self._turn:
            time.sleep(self._seconds)
        return reply("good")


def _against_the_sum(fakes: list[FakeServer], home: Path) -> Row:
    environment = {**os.environ, "TCHAT_HOME": str(home)}
    names = [_named(fake, name, environment) for fake, name in zip(fakes, "ab", strict=True)]
    lines = home / "rows.txt"

    def rate(servers: str) -> float:
        """Rows a second, from two calls of different length: their start is the same."""
        seconds = []
        for count in (PLENTY, PLENTY + COUNT):
            lines.write_text("".join(f"row {number}\n" for number in range(count)))
            call = ["map", "Mood: {}", str(lines), "--servers", servers]
            call += ["--in-flight", str(IN_FLIGHT)]
            seconds.append(wall([*TCHAT, *call], env=environment))
        return COUNT / (seconds[1] - seconds[0])

    rate(",".join(names))
    first, second, both = alternated(
        3, lambda: rate(names[0]), lambda: rate(names[1]), lambda: rate(",".join(names))
    )
    shares = [b / (x + y) for x, y, b in zip(first, second, both, strict=True)]
    share = statistics.median(shares)
    what = (
        f"tchat map --servers: {statistics.median(both):.0f} rows/s of two servers, against "
        f"{statistics.median(first):.0f} and {statistics.median(second):.0f} alone"
    )
    return Row(what, f"{share:.2f}x", ">= 0.9x of the sum", share >= 0.9)


def _named(fake: FakeServer, name: str, environment: dict[str, str]) -> str:
    wall([*TCHAT, "servers", "add", name, fake.url], env=environment)
    return name
