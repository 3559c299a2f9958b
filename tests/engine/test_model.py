"""A model takes the memory of its weights once, however llama.cpp loads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.engine.prompt import ChatMessage
from tchat.settings import Sampling
from tests.benchmarks.shapes import Recipe, write_shape
from tests.engine.conftest import OpenEngine, finished
from tests.engine.pages import taken_by

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


def test_weights_that_are_repacked_are_held_once(repacked: Path) -> None:
    size = repacked.stat().st_size
    assert 0.9 * size < sum(taken_by(repacked)) < 1.4 * size


def test_weights_that_are_read_from_the_file_stay_in_memory(starter_model: Path) -> None:
    _, of_file = taken_by(starter_model)
    assert of_file > 0.9 * starter_model.stat().st_size


def test_a_reply_is_the_same_from_the_file_and_from_memory(
    open_engine: OpenEngine, repacked: Path
) -> None:
    mapped, read = (
        finished(open_engine(repacked, mmap=mmap).generate(HELLO, GREEDY)) for mmap in (True, False)
    )
    assert mapped.usage.completion == GREEDY.max_tokens
    assert mapped.text == read.text
