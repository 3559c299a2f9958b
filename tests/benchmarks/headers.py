"""Damaged and hostile model files: how long until the header is judged."""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tchat.errors import ModelError
from tchat.models.gguf.header_parser import read_header
from tchat.models.metadata import read_metadata
from tests.benchmarks.rows import Row
from tests.models.gguf.test_header_parser import mutated
from tests.models.gguf_builder import large_vocabulary
from tests.models.hostile import DAMAGED, NOT_GGUF, UNFIT
from tests.tiny import write_tiny

MUTATIONS = 2000
VOCABULARY = 250_000
LIMIT = 0.1  # seconds


def rows() -> Iterator[Row]:
    """The slowest of all files; a slow one is read three times, since the machine may be busy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        seconds = [_seconds(path, data) for data in _contents(path)]
    what = f"header verdict of {len(seconds):,} damaged and hostile files, the slowest"
    worst = max(seconds)
    yield Row(what, f"{worst * 1000:.1f} ms", f"<= {LIMIT * 1000:.0f} ms", worst <= LIMIT)
    with tempfile.TemporaryDirectory() as folder:
        passed = _seconds(Path(folder) / "model.gguf", large_vocabulary(VOCABULARY))
    what = f"header of a model with {VOCABULARY:,} tokens"
    yield Row(what, f"{passed * 1000:.1f} ms", f"<= {LIMIT * 1000:.0f} ms", passed <= LIMIT)


def _contents(path: Path) -> Iterator[bytes]:
    for data, _ in {**NOT_GGUF, **DAMAGED, **UNFIT}.values():
        yield data
    original = write_tiny(path).read_bytes()
    header, draw = read_header(path).data_offset, random.Random(0)
    for _ in range(MUTATIONS):
        yield mutated(original, header, draw)


def _seconds(path: Path, data: bytes) -> float:
    path.write_bytes(data)
    took: list[float] = []
    while len(took) < 3 and (not took or took[-1] > LIMIT):
        started = time.perf_counter()
        with contextlib.suppress(ModelError):
            read_metadata(path)
        took.append(time.perf_counter() - started)
    return min(took)
