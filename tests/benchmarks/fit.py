"""The estimate of memory against what a process takes, for five shapes with random weights."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.rows import Row, child
from tests.benchmarks.shapes import RECIPES, write_shape

CONTEXT = 8192


def rows() -> Iterator[Row]:
    """Each dimensions in a process of its own, its KV cache cleared whole and a batch decoded."""
    with tempfile.TemporaryDirectory() as folder:
        for name, recipe in RECIPES.items():
            path = write_shape(Path(folder) / "dimensions.gguf", recipe)
            found = child("tests.benchmarks.fit", str(path))
            share = found["estimate"] / found["taken"]
            what = f"memory estimated against taken, {name} ({found['taken'] / 1e6:.0f} MB)"
            yield Row(what, f"{share:.3f}x", "0.90 to 1.10x", 0.9 <= share <= 1.1)


def taken(path: Path) -> dict[str, int]:
    """Bytes of resident memory that loading ``path`` and reading a batch adds, and the estimate."""
    from tchat.chat.machine import memory_plan
    from tchat.engine.binding import backend
    from tchat.engine.engine import Engine
    from tchat.engine.loading import EngineOptions
    from tchat.engine.prompt import ChatMessage
    from tchat.models.memory import estimate_memory
    from tchat.models.metadata import read_metadata
    from tchat.settings import Sampling, Settings

    metadata = read_metadata(path)
    expected = estimate_memory(
        metadata.dimensions, memory_plan(Settings(ctx_size=CONTEXT), metadata)
    ).total
    backend()
    before = _resident()
    options = EngineOptions(path=path, template=metadata.chat_template, ctx_size=CONTEXT)
    with Engine(options) as engine:
        list(engine.load())
        loaded = engine.loaded
        assert loaded is not None
        loaded.context.reserve(CONTEXT)
        asked = [ChatMessage("user", "the word " * 600)]
        list(engine.generate(asked, Sampling(max_tokens=1)))
        return {"estimate": expected, "taken": _resident() - before}


def _resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("this system does not tell its resident memory")


if __name__ == "__main__":
    print(json.dumps(taken(Path(sys.argv[1]))))
