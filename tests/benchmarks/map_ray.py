"""`tchat map --ray local`, two workers of one core each, against `tchat map` on two cores."""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tests.benchmarks.map import texts
from tests.benchmarks.peers import TCHAT
from tests.benchmarks.rows import Row, alternated, wall

COUNT = 400
PLENTY = 40  # rows that tell what a start takes
TOKENS = 3
PROMPT = "Is this review good or bad? Answer with one word: {}"


def rows() -> Iterator[Row]:
    """Whole processes; their start, and that of the cluster, is measured with few rows."""
    if importlib.util.find_spec("ray") is None:
        yield Row("tchat map --ray (needs: pip install ray)", "left out", "", reached=True)
        return
    with tempfile.TemporaryDirectory() as home:
        yield from _against_one_process(Path(home))


def _against_one_process(home: Path) -> Iterator[Row]:
    environment = {**os.environ, "TCHAT_HOME": str(home)}
    ways = {"ray": ["--ray", "local", "--workers", "2"], "map": ["--threads", "2"]}

    def seconds(way: str, count: int) -> float:
        lines, output = home / f"rows-{count}.txt", home / f"{way}-{count}.jsonl"
        lines.write_text("".join(f"{text}\n" for text in islice(texts(), count)))
        output.unlink(missing_ok=True)
        call = ["map", PROMPT, str(lines), "--temp", "0", "--max-tokens", str(TOKENS)]
        return wall([*TCHAT, *call, "-o", str(output), *ways[way]], env=environment)

    seconds("map", PLENTY)
    found = alternated(
        3,
        *(
            lambda w=way, n=count: seconds(w, n)
            for way in ways
            for count in (PLENTY, PLENTY + COUNT)
        ),
    )
    start, end, alone_start, alone_end = found
    over = [
        1000 * ((b - a) - (d - c)) / COUNT
        for a, b, c, d in zip(start, end, alone_start, alone_end, strict=True)
    ]
    overhead = statistics.median(over)
    alone = statistics.median(b - a for a, b in zip(alone_start, alone_end, strict=True))
    what = (
        f"tchat map --ray local of {COUNT} rows, 2 workers of 1 core, against tchat map on 2 cores "
        f"({1000 * alone / COUNT:.1f} ms a row)"
    )
    yield Row(what, f"{overhead:+.1f} ms", "<= 5 ms a row", overhead <= 5)
    same = _outputs(home / f"ray-{PLENTY + COUNT}.jsonl") == _outputs(
        home / f"map-{PLENTY + COUNT}.jsonl"
    )
    yield Row("the rows of both", "identical" if same else "differ", "identical", same)


def _outputs(path: Path) -> list[str]:
    return [json.loads(line)["output"] for line in path.read_text().splitlines()]
