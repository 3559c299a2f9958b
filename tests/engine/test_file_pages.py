"""A model takes the memory of its weights once, however llama.cpp reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tchat.engine.cancel import Cancel
from tchat.engine.llama import backend
from tchat.engine.model import Model
from tchat.engine.turns import ChatMessage
from tchat.settings import Sampling
from tests.benchmarks.shapes import Recipe, write_shape
from tests.engine.conftest import OpenEngine, finished

HELLO = [ChatMessage("user", "Name three colours.")]
GREEDY = Sampling(temp=0, max_tokens=8)
WIDE = Recipe(
    arch="llama",
    vocabulary=4096,
    layers=4,
    width=1024,
    feed_forward=4096,
    heads=16,
    kv_heads=4,
    head=64,
)


@pytest.fixture(scope="module")
def repacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 36 MB whose weights are of the type that most processors have repacked."""
    return write_shape(tmp_path_factory.mktemp("wide") / "wide.gguf", WIDE)


def of_no_file() -> int:
    """Bytes of this process's memory that are of no file."""
    told = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert told is not None
    return int(told[1]) << 10


def of_file(path: Path) -> int:
    """Bytes of ``path`` that are mapped and in this process's memory."""
    name = re.escape(str(path))
    told = Path("/proc/self/smaps").read_text()
    mapped = re.findall(rf" {name}\n(?:\S+:.*\n)*?Rss:\s+(\d+) kB", told)
    assert mapped
    return sum(map(int, mapped)) << 10


@contextmanager
def loaded(path: Path) -> Iterator[int]:
    """Bytes that loading ``path`` takes beside the file's own pages."""
    backend()
    before = of_no_file()
    model = Model(path, cancel=Cancel())
    yield of_no_file() - before
    model.close()


def test_weights_that_are_repacked_are_held_once(repacked: Path) -> None:
    with loaded(repacked) as taken:
        size = repacked.stat().st_size
        assert 0.9 * size < taken + of_file(repacked) < 1.4 * size


def test_weights_that_are_read_from_the_file_stay_in_memory(starter_model: Path) -> None:
    with loaded(starter_model):
        assert of_file(starter_model) > 0.9 * starter_model.stat().st_size


def test_a_reply_is_the_same_from_the_file_and_from_memory(
    open_engine: OpenEngine, repacked: Path
) -> None:
    mapped, read = (
        finished(open_engine(repacked, mmap=mmap).generate(HELLO, GREEDY)) for mmap in (True, False)
    )
    assert mapped.usage.completion == GREEDY.max_tokens
    assert mapped.text == read.text
