"""The sizes that decide memory and speed, against llama.cpp's own and against published shapes."""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tchat.engine.binding import Cancel, LlamaLibrary, backend
from tchat.engine.context import SCRATCH, Context
from tchat.engine.model import Model
from tchat.log_file import LogFile
from tchat.models.gguf.dimensions import read_dimensions
from tchat.models.gguf.header import Array, Header, Tensor
from tchat.models.metadata import MetadataCache, read_metadata
from tchat.paths import Paths

MIB = 1 << 20
BUFFER = re.compile(r"(?:KV|RS) buffer size =\s+([\d.]+) MiB")


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_recurrent", "tiny_sliding", "tiny_spm"])
def test_the_cache_is_as_large_as_llama_makes_it(
    request: pytest.FixtureRequest, fixture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path: Path = request.getfixturevalue(fixture)
    dimensions = read_metadata(path).dimensions
    # With llama.cpp's log on, which tells the sizes.
    monkeypatch.setattr(LlamaLibrary, "make_quietly", lambda self, make, cancel: make())
    backend().log.write_to(lambda: LogFile(tmp_path / "log"))
    model = Model(path, cancel=Cancel())
    Context(model, size=4096, batch=256, threads=1, cancel=Cancel()).close()
    model.close()
    made = sum(map(float, BUFFER.findall((tmp_path / "log").read_text()))) * MIB
    expected = 2 * 4096 * (dimensions.kv_width + dimensions.window_width) + dimensions.state * (
        SCRATCH + 1
    )
    assert expected == pytest.approx(made, abs=0.02 * MIB)
    assert expected > 0


def test_the_weights_are_the_tensors(tiny_model: Path) -> None:
    metadata = read_metadata(tiny_model)
    assert metadata.dimensions.weights == pytest.approx(metadata.size, rel=0.1)
    assert metadata.dimensions.vocabulary == 731


def header(arch: str, names: list[str], **keys: Any) -> Header:
    """A header with layers that hold tensors of these names, ``{}`` standing for the layer."""
    layers = keys["block_count"]
    tensors = [
        Tensor(name.format(layer), (2, 2), "F32", 0, 16)
        for name in names
        for layer in (range(layers) if "{}" in name else (0,))
    ]
    values = {f"{arch}.{key.replace('__', '.')}": value for key, value in keys.items()}
    return Header(
        version=3,
        metadata=MappingProxyType({"general.architecture": arch, **values}),
        tensors=tuple(tensors),
        data_offset=0,
        file_size=0,
    )


def numbers(*items: int | bool) -> Array:
    return Array(5, len(items), items)


def test_grouped_queries() -> None:
    qwen3_8b = header(
        "qwen3",
        ["blk.{}.attn_k.weight"],
        block_count=36,
        embedding_length=4096,
        feed_forward_length=12288,
        attention__head_count=32,
        attention__head_count_kv=8,
        attention__key_length=128,
        attention__value_length=128,
    )
    assert read_dimensions(qwen3_8b).kv_width * 2 == 144 * 1024  # bytes of a token in f16


def test_heads_without_a_length_share_the_width() -> None:
    llama_2_7b = header(
        "llama",
        ["blk.{}.attn_k.weight"],
        block_count=32,
        embedding_length=4096,
        attention__head_count=32,
    )
    assert read_dimensions(llama_2_7b).kv_width == 32 * 2 * 4096


def test_latent_attention_keeps_one_vector() -> None:
    deepseek_v2_lite = header(
        "deepseek2",
        ["blk.{}.attn_kv_a_mqa.weight"],
        block_count=27,
        embedding_length=2048,
        attention__head_count=16,
        attention__head_count_kv=1,
        attention__key_length=576,
        attention__value_length=512,
        attention__key_length_mla=192,
        attention__value_length_mla=128,
    )
    assert read_dimensions(deepseek_v2_lite).kv_width == 27 * 576


def test_layers_with_a_window_are_counted_apart() -> None:
    gemma_3_4b = header(
        "gemma3",
        ["blk.{}.attn_k.weight"],
        block_count=34,
        embedding_length=2560,
        attention__head_count=8,
        attention__head_count_kv=4,
        attention__key_length=256,
        attention__value_length=256,
        attention__sliding_window=1024,
    )
    dimensions = read_dimensions(gemma_3_4b)
    assert (dimensions.kv_width, dimensions.window_width) == (5 * 2048, 29 * 2048)
    assert dimensions.window == 1024


def test_a_pattern_in_the_file_wins_and_phi_has_no_window() -> None:
    keys = {"block_count": 4, "attention__head_count": 1, "embedding_length": 8}
    told = header(
        "gemma4",
        ["blk.{}.attn_k.weight"],
        **keys,
        attention__sliding_window=16,
        attention__sliding_window_pattern=numbers(True, True, True, False),
        attention__key_length_swa=2,
        attention__value_length_swa=2,
    )
    assert (read_dimensions(told).kv_width, read_dimensions(told).window_width) == (16, 3 * 4)
    phi = header("phi3", ["blk.{}.attn_qkv.weight"], **keys, attention__sliding_window=16)
    assert (read_dimensions(phi).kv_width, read_dimensions(phi).window_width) == (64, 0)


def test_shared_layers_keep_nothing() -> None:
    gemma_3n = header(
        "gemma3n",
        ["blk.{}.attn_k.weight", "per_layer_token_embd.weight", "token_embd.weight"],
        block_count=30,
        embedding_length=2048,
        attention__head_count=8,
        attention__head_count_kv=2,
        attention__key_length=256,
        attention__value_length=256,
        attention__shared_kv_layers=10,
        attention__sliding_window=512,
    )
    dimensions = read_dimensions(gemma_3n)
    assert dimensions.kv_width + dimensions.window_width == 20 * 1024
    assert dimensions.read_per_token == dimensions.weights - dimensions.lookup


def test_hybrids_have_layers_of_both_kinds() -> None:
    lfm2 = header(
        "lfm2",
        [],
        block_count=4,
        embedding_length=2048,
        attention__head_count=32,
        attention__head_count_kv=numbers(0, 8, 0, 8),
        shortconv__l_cache=3,
    )
    names = ["shortconv.conv", "attn_k", "shortconv.conv", "attn_k"]
    tensors = tuple(
        Tensor(f"blk.{n}.{name}.weight", (2,), "F32", 0, 8) for n, name in enumerate(names)
    )
    dimensions = read_dimensions(Header(3, lfm2.metadata, tensors, 0, 0))
    assert dimensions.kv_width == 2 * 2 * 8 * 64
    assert dimensions.state == 2 * 4 * 2048 * 2


def test_every_layer_of_a_falcon_is_both() -> None:
    falcon = header(
        "falcon-h1",
        ["blk.{}.attn_k.weight", "blk.{}.ssm_in.weight"],
        block_count=2,
        embedding_length=64,
        attention__head_count=4,
        ssm__conv_kernel=4,
        ssm__inner_size=128,
        ssm__state_size=16,
        ssm__group_count=1,
    )
    dimensions = read_dimensions(falcon)
    assert dimensions.kv_width == 2 * 2 * 64
    assert dimensions.state == 2 * 4 * (3 * (128 + 32) + 16 * 128)


def test_a_token_goes_through_some_of_the_experts() -> None:
    mixture = header(
        "qwen3moe",
        ["blk.{}.ffn_up_exps.weight", "blk.{}.attn_k.weight", "output.weight", "token_embd.weight"],
        block_count=2,
        embedding_length=64,
        expert_count=8,
        expert_used_count=2,
        expert_feed_forward_length=96,
    )
    dimensions = read_dimensions(mixture)
    assert (dimensions.experts, dimensions.expert_share, dimensions.feed_forward) == (32, 0.25, 192)
    assert dimensions.read_per_token == dimensions.weights - 16 - 24


def test_odd_values_are_no_sizes() -> None:
    odd = header(
        "llama",
        ["blk.{}.attn_k.weight"],
        block_count=2,
        embedding_length="wide",
        attention__head_count=numbers(True, 3),
        attention__head_count_kv=-1,
        attention__key_length=64,
    )
    assert read_dimensions(odd).kv_width == 0


def test_the_store_remembers_the_shape(tiny_sliding: Path, home: Path) -> None:
    paths = Paths(config=home, cache=home / "cache")
    with MetadataCache(paths) as store:
        first = store.metadata(tiny_sliding)
    with MetadataCache(paths) as store:
        assert (
            store.metadata(tiny_sliding).dimensions
            == first.dimensions
            == read_metadata(tiny_sliding).dimensions
        )
