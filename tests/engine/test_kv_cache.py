"""After any walk of edits, stops and choices, the KV cache holds what a fresh one would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tchat.engine.engine import Engine
from tchat.engine.events import Event, Notice
from tchat.engine.kv_cache import KVCache
from tchat.engine.loading import LoadedModel
from tchat.engine.prompt import ChatMessage
from tchat.settings import Sampling
from tests.engine.conftest import OpenEngine, cached_tokens, finished

WORDS = st.lists(
    st.sampled_from(["the", " word", "🙂", "中", "<|im_end|>", "\n", "    ", "é"]), max_size=30
)
ACTS = ["next", "again", "edit", "cut", "stop", "leave", "choose"]
STEPS = st.lists(
    st.tuples(st.sampled_from(ACTS), WORDS.map("".join), st.integers(1, 60)),
    min_size=3,
    max_size=8,
)


@dataclass
class Walk:
    """A chat that is changed at random."""

    engine: Engine
    history: list[ChatMessage] = field(default_factory=lambda: [ChatMessage("user", "Hello")])

    def step(self, act: str, text: str, number: int) -> None:
        """Change the chat, then reply to it."""
        place = 2 * (number % ((len(self.history) + 1) // 2))
        if act == "edit":
            self.history[place] = ChatMessage("user", text)
        elif act == "cut":
            self.history = self.history[: place + 1]
        elif act == "stop":
            self._stop_after(number)
        elif act == "leave":
            events = self._reply(40)
            list(islice(events, number))
            events.close()  # type: ignore[attr-defined]
        elif act == "choose":
            list(self.engine.score_labels(self.history, ["the", "the word", "other"]))
        end = finished(self._reply(number))
        assert end.usage.prompt == end.usage.reused + end.usage.prefilled
        if act != "again":
            self.history += [ChatMessage("assistant", end.text), ChatMessage("user", text)]

    def _reply(self, most: int) -> Iterator[Event]:
        return self.engine.generate(self.history, Sampling(temp=1.5, seed=most, max_tokens=most))

    def _stop_after(self, number: int) -> None:
        for count, _ in enumerate(self._reply(40)):
            if count == number:
                self.engine.cancel.set()
        self.engine.cancel.clear()


def ready(engine: Engine) -> LoadedModel:
    list(engine.load())
    loaded = engine.loaded
    assert loaded is not None
    return loaded


def logits(loaded: LoadedModel) -> Any:
    return loaded.context.logits_array().copy()


@pytest.mark.parametrize("name", ["tiny_model", "tiny_recurrent", "tiny_sliding", "tiny_spm"])
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS, batch=st.sampled_from([32, 100, 512]))
def test_after_any_walk_the_logits_are_those_of_a_fresh_cache(
    open_engine: OpenEngine,
    request: pytest.FixtureRequest,
    name: str,
    steps: list[tuple[str, str, int]],
    batch: int,
) -> None:
    path: Path = request.getfixturevalue(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tchat.engine.loading.INITIAL_CAPACITY", 256)  # so that it has to grow
        # The last output of a decode with a draft may be that of one that was cut off.
        engine = open_engine(path, batch_size=batch, prompt_lookup=False)
        fresh = ready(open_engine(path))
        walked = ready(engine)
    walk = Walk(engine)
    for act, text, number in steps:
        walk.step(act, text, number)
        cold = KVCache(fresh.context, fresh.model)
        cold.clear()
        assert cold.reserve(len(walked.kv.tokens))
        assert all(cold.prefill(walked.kv.tokens))
        expected = logits(fresh)
        assume(numpy.isfinite(expected).all())  # random weights may overflow
        # Batches of other sizes add up in another order.
        assert abs(logits(walked) - expected).max() < 0.1 * expected.std()
    engine.close()


def test_a_sliding_window_that_moved_to_a_larger_cache_is_read_again(
    open_engine: OpenEngine, tiny_sliding: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp copies only the tokens inside the window, so there is nothing to cut back to."""
    monkeypatch.setattr("tchat.engine.loading.INITIAL_CAPACITY", 256)
    engine = open_engine(tiny_sliding)
    one = Sampling(temp=0, max_tokens=1)
    grows = Sampling(temp=0, max_tokens=200, logit_bias=("<|im_end|>=-inf", "<|endoftext|>=-inf"))
    finished(engine.generate([ChatMessage("user", "one two " * 60)], grows))
    assert cached_tokens(engine) > 256
    edited = [ChatMessage("user", "one two " * 20 + "three")]
    events = list(engine.generate(edited, one))
    assert finished(events).usage.reused == 0
    assert any(isinstance(event, Notice) and event.kind == "reread" for event in events)
    fresh = open_engine(tiny_sliding)
    finished(fresh.generate(edited, one))
    expected = logits(ready(fresh))
    assert abs(logits(ready(engine)) - expected).max() < 0.1 * expected.std()


def test_a_state_that_overflowed_is_forgotten(
    open_engine: OpenEngine, tiny_recurrent: Path
) -> None:
    loaded = ready(open_engine(tiny_recurrent))
    assert loaded.kv.step(5)
    expected, state = logits(loaded), bytearray()
    size = loaded.context.save_state(None, state)
    state[size - 4 : size] = numpy.float32("nan").tobytes()
    assert loaded.context.load_state(None, state, size)
    assert loaded.context.step(5, 1)
    assert numpy.isnan(logits(loaded)).all()
    loaded.kv.clear()
    assert loaded.kv.step(5)
    assert (logits(loaded) == expected).all()
