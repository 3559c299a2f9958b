"""The speed that is told of a model before it is pulled, against the speed that it has."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.rows import Row, child
from tests.benchmarks.shapes import RECIPES, write_shape

TOKENS = 64


def rows() -> Iterator[Row]:
    """Each dimensions in a process of its own, and the starter model, which is really trained."""
    from tchat.models.sources.starter import starter_file

    with tempfile.TemporaryDirectory() as folder:
        yield _row("starter", starter_file())
        for name, recipe in RECIPES.items():
            yield _row(name, write_shape(Path(folder) / "dimensions.gguf", recipe))


def _row(name: str, path: Path) -> Row:
    found = child("tests.benchmarks.model_speed", str(path))
    share = found["expected"] / found["written"]
    told = f"{found['written']:.0f} tok/s at {found['rate'] / 1e9:.0f} GB/s"
    what = f"speed expected against written, {name} ({told})"
    return Row(what, f"{share:.2f}x", "0.67 to 1.5x", 0.67 <= share <= 1.5)


def speeds(path: Path) -> dict[str, float]:
    """Tokens a second, expected and written; the better of two replies."""
    from dataclasses import replace

    from tchat.chat.machine import this_machine
    from tchat.engine.binding import weights_rate
    from tchat.engine.engine import Engine
    from tchat.engine.events import Finished
    from tchat.engine.loading import EngineOptions
    from tchat.engine.prompt import ChatMessage
    from tchat.models.memory import LoadPlan, tokens_per_second
    from tchat.models.metadata import read_metadata
    from tchat.settings import Sampling

    metadata = read_metadata(path)
    machine = replace(this_machine(), speed=max(weights_rate() for _ in range(3)))
    expected = tokens_per_second(metadata.dimensions, LoadPlan(context=256), machine)
    sampling = Sampling(max_tokens=TOKENS, seed=1)
    options = EngineOptions(path=path, template=metadata.chat_template, ctx_size=512)
    written = 0.0
    with Engine(options) as engine:
        list(engine.load())
        for _ in range(3):
            *_, end = engine.generate([ChatMessage("user", "Tell me a story.")], sampling)
            assert isinstance(end, Finished)
            written = max(written, end.usage.completion / end.timings.decode)
    return {"expected": expected, "written": written, "rate": machine.speed}


if __name__ == "__main__":
    print(json.dumps(speeds(Path(sys.argv[1]))))
