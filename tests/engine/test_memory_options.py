"""KV cache types, flash attention, mapping, locking: the model answers, or says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tchat.engine.llama import backend
from tchat.engine.turns import ChatMessage
from tchat.errors import UsageError
from tchat.settings import Sampling
from tests.engine.conftest import OpenEngine, finished

HELLO = [ChatMessage("user", "Name three colours.")]
GREEDY = Sampling(temp=0, max_tokens=12)


def state_bytes(engine: Any) -> int:
    return int(backend().lib.llama_state_seq_get_size(engine._loaded.context.handle, 0))


@pytest.mark.parametrize(("kv_type", "share"), [("q8_0", 34 / 64), ("q4_0", 18 / 64)])
def test_a_quantized_cache_is_smaller_and_still_grows(
    open_engine: OpenEngine,
    starter_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    kv_type: str,
    share: float,
) -> None:
    monkeypatch.setattr("tchat.engine.opening.FIRST_ROOM", 256)
    asked = [ChatMessage("user", "one two three four five " * 60)]
    sizes = {}
    for each in ("f16", kv_type):
        engine = open_engine(starter_model, kv_type=each, ctx_size=1024)
        ended = finished(engine.generate(asked, GREEDY))
        assert ended.usage.prompt > 256
        sizes[each] = state_bytes(engine)
    assert sizes[kv_type] / sizes["f16"] == pytest.approx(share, rel=0.02)


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
    assert "kv_type" in refused.value.hint


def test_more_shares_than_devices_are_refused(open_engine: OpenEngine, tiny_model: Path) -> None:
    devices = backend().lib.llama_max_devices()
    with pytest.raises(UsageError, match="tensor_split"):
        list(open_engine(tiny_model, tensor_split=(1.0,) * (devices + 1)).load())
    # One share is fine, with or without a GPU to take it.
    list(open_engine(tiny_model, tensor_split=(1.0,)).load())
