"""KV states as bytes: a restored one decodes to the same logits, bit by bit."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tchat.engine.loading import LoadedModel
from tests.engine.conftest import OpenEngine

WORDS = "the be to of and in that have it for not on with he as you do at this but his by from "


def ready(open_engine: OpenEngine, path: Path) -> tuple[LoadedModel, list[int]]:
    """A model with 200 tokens in its cache."""
    engine = open_engine(path)
    list(engine.load())
    loaded = engine.loaded
    assert loaded is not None
    tokens = loaded.model.tokenize(WORDS * 10, special=False)[:200]
    assert all(loaded.kv.prefill(tokens))
    return loaded, tokens


def logits(loaded: LoadedModel, token: int, position: int) -> Any:
    assert loaded.context.step(token, position)
    return loaded.context.logits_array().copy()


@pytest.mark.parametrize("name", ["tiny_model", "tiny_recurrent", "tiny_sliding", "tiny_spm"])
def test_a_whole_state_comes_back(
    open_engine: OpenEngine, request: pytest.FixtureRequest, name: str
) -> None:
    loaded, tokens = ready(open_engine, request.getfixturevalue(name))
    buffer = bytearray()
    size = loaded.context.save_state(None, buffer)
    expected = logits(loaded, 7, len(tokens))
    loaded.context.clear()
    assert loaded.context.load_state(None, buffer, size)
    assert (logits(loaded, 7, len(tokens)) == expected).all()


@pytest.mark.parametrize("cuts", [(0, 200), (0, 64, 128, 200), (0, 1, 199, 200)])
def test_a_state_in_parts_comes_back(
    open_engine: OpenEngine, tiny_model: Path, cuts: tuple[int, ...]
) -> None:
    loaded, tokens = ready(open_engine, tiny_model)
    assert loaded.model.shape.divisible
    parts = []
    for span in pairwise(cuts):
        buffer = bytearray()
        parts.append((span, buffer, loaded.context.save_state(span, buffer)))
    expected = logits(loaded, 7, len(tokens))
    loaded.context.clear()
    assert all(loaded.context.load_state(*part) for part in parts)
    assert (logits(loaded, 7, len(tokens)) == expected).all()


def test_of_a_part_only_its_beginning_may_be_taken(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    loaded, _ = ready(open_engine, tiny_model)
    buffer = bytearray()
    size = loaded.context.save_state((0, 200), buffer)
    assert loaded.context.truncate(100)
    expected = logits(loaded, 7, 100)
    loaded.context.clear()
    assert loaded.context.load_state((0, 100), buffer, size)
    assert (logits(loaded, 7, 100) == expected).all()


def test_only_attention_to_all_tokens_is_divisible(
    open_engine: OpenEngine, tiny_recurrent: Path, tiny_sliding: Path
) -> None:
    for path in (tiny_recurrent, tiny_sliding):
        loaded, _ = ready(open_engine, path)
        assert not loaded.model.shape.divisible
