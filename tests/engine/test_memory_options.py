"""KV cache types, flash attention, mapping, locking: the model answers, or says why not."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest

from tchat.engine.binding import Cancel, backend
from tchat.engine.context import BatchToken, Context
from tchat.engine.model import Model
from tchat.engine.prompt import ChatMessage
from tchat.errors import DoesNotFit, UsageError
from tchat.settings import Sampling
from tests.engine.conftest import OpenEngine, finished

HELLO = [ChatMessage("user", "Name three colours.")]
GREEDY = Sampling(temp=0, max_tokens=12)


def state_bytes(engine: Any) -> int:
    return int(backend().lib.llama_state_seq_get_size(engine.loaded.context.handle, 0))


def test_a_quantized_cache_is_smaller_and_still_grows(
    open_engine: OpenEngine, starter_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tchat.engine.loading.INITIAL_CAPACITY", 256)
    asked = [ChatMessage("user", "one two three four five " * 60)]
    sizes = {}
    for each in ("f16", "q8_0", "q4_0"):
        engine = open_engine(starter_model, kv_type=each, ctx_size=1024)
        ended = finished(engine.generate(asked, GREEDY))
        assert ended.usage.prompt > 256
        sizes[each] = state_bytes(engine)
    assert sizes["q8_0"] / sizes["f16"] == pytest.approx(34 / 64, rel=0.02)
    assert sizes["q4_0"] / sizes["f16"] == pytest.approx(18 / 64, rel=0.02)


@pytest.mark.parametrize("options", [{"flash_attn": "off"}, {"flash_attn": "on"}])
def test_flash_attention_can_be_chosen(
    open_engine: OpenEngine, starter_model: Path, options: dict[str, str]
) -> None:
    plain = finished(open_engine(starter_model).generate(HELLO, GREEDY))
    other = finished(open_engine(starter_model, **options).generate(HELLO, GREEDY))
    assert other.usage.completion == plain.usage.completion


@pytest.mark.parametrize(
    ("mmap", "mlock"), [(True, False), (False, False), (True, True), (False, True)]
)
def test_how_the_file_comes_into_memory_changes_nothing(
    open_engine: OpenEngine, tiny_model: Path, mmap: bool, mlock: bool
) -> None:
    plain = finished(open_engine(tiny_model).generate(HELLO, GREEDY))
    other = finished(open_engine(tiny_model, mmap=mmap, mlock=mlock).generate(HELLO, GREEDY))
    assert other.text == plain.text


def test_a_model_that_cannot_have_a_quantized_cache_says_so(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    with pytest.raises(UsageError, match="cannot have a KV cache of type q8_0") as refused:
        list(open_engine(tiny_model, kv_type="q8_0").load())
    assert "cache_type" in refused.value.hint


def test_more_shares_than_devices_are_refused(open_engine: OpenEngine, tiny_model: Path) -> None:
    devices = backend().lib.llama_max_devices()
    with pytest.raises(UsageError, match="tensor_split"):
        list(open_engine(tiny_model, tensor_split=(1.0,) * (devices + 1)).load())
    # One share is fine, with or without a GPU to take it.
    list(open_engine(tiny_model, tensor_split=(1.0,)).load())


def test_a_window_can_be_kept_alone(
    open_engine: OpenEngine, tiny_sliding: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tchat.engine.loading.INITIAL_CAPACITY", 256)
    asked = [ChatMessage("user", "words and " * 200)]
    whole, windowed = (open_engine(tiny_sliding, swa_full=each) for each in (True, False))
    texts = [finished(engine.generate(asked, GREEDY)).text for engine in (whole, windowed)]
    assert texts[0] == texts[1]
    # Going back to what left the cache reads again, as a fresh engine would.
    other = [ChatMessage("user", "words and " * 20)]
    assert finished(whole.generate(other, GREEDY)).usage.reused > 0
    again = finished(windowed.generate(other, GREEDY))
    fresh = finished(open_engine(tiny_sliding, swa_full=False).generate(other, GREEDY))
    assert again.usage.reused == 0
    assert again.text == fresh.text


def test_a_cache_that_cannot_grow_stays_as_it_is(tiny_model: Path) -> None:
    model = Model(tiny_model, cancel=Cancel())
    context = Context(model, size=1 << 20, capacity=256, batch=256, threads=1, cancel=Cancel())
    tokens = list(range(20, 200))
    context.decode([BatchToken(token, at, logits=at == 179) for at, token in enumerate(tokens)])
    before = context.save_state(None, held := bytearray())
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20), hard))
    try:
        with pytest.raises(DoesNotFit, match="no context of"):
            context.reserve(1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert context.save_state(None, again := bytearray()) == before
    assert again[:before] == held[:before]
    assert context.step(50, 180)
    assert context.reserve(1 << 18)
    context.close()
    model.close()
