"""Model files of real sizes with random weights, written in seconds, for measurements of memory.

The weights are random blocks with small scales, so that no value overflows; the vocabulary is the
tiny models' own, padded with unused words to a real size.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.tiny import CHATML, add_value, bpe_vocabulary

NORMS = ("norm.weight", "norm_1.weight")
Tensors = Iterator[tuple[str, tuple[int, ...], str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A shape as its maker gives it; widths are numbers of values.

    Attributes:
        arch: llama.cpp's architecture.
        vocabulary: Tokens.
        layers: Blocks.
        width: Of a hidden state.
        feed_forward: Of a feed-forward layer, or of one expert.
        heads: For queries.
        kv_heads: For keys and values.
        head: Width of a head.
        experts: Of a mixture; 0 for a dense model.
        used: Experts that a token goes through.
        quantization: Type of the matrices.
        tied: Whether the output is the embedding.
        extra: More keys, without the architecture in front.
    """

    arch: str
    vocabulary: int
    layers: int
    width: int
    feed_forward: int = 0
    heads: int = 0
    kv_heads: int = 0
    head: int = 0
    experts: int = 0
    used: int = 0
    quantization: str = "Q4_0"
    tied: bool = True
    extra: tuple[tuple[str, Any], ...] = ()


RECIPES = {
    "dense 135M": Recipe(
        arch="llama",
        vocabulary=49152,
        layers=30,
        width=576,
        feed_forward=1536,
        heads=9,
        kv_heads=3,
        head=64,
        quantization="Q8_0",
    ),
    "dense 1.1B": Recipe(
        arch="llama",
        vocabulary=32000,
        layers=22,
        width=2048,
        feed_forward=5632,
        heads=32,
        kv_heads=4,
        head=64,
        tied=False,
    ),
    "mixture 1.3B": Recipe(
        arch="qwen3moe",
        vocabulary=50304,
        layers=16,
        width=1024,
        feed_forward=768,
        heads=16,
        kv_heads=4,
        head=128,
        experts=32,
        used=4,
    ),
    "recurrent 370M": Recipe(
        arch="mamba", vocabulary=50280, layers=48, width=1024, quantization="Q8_0"
    ),
    "windowed 1B": Recipe(
        arch="gemma3",
        vocabulary=262144,
        layers=26,
        width=1152,
        feed_forward=6912,
        heads=4,
        kv_heads=1,
        head=256,
        extra=(("attention.sliding_window", 512),),
    ),
}


def write_shape(path: Path, recipe: Recipe, *, context: int = 32768, seed: int = 0) -> Path:
    """Write a model of this shape to ``path`` and return it."""
    writer = gguf.GGUFWriter(path, recipe.arch)
    for key, value in _metadata(recipe, context).items():
        add_value(writer, key, value)
    random = np.random.default_rng(seed)
    for name, shape, kind in _tensors(recipe):
        writer.add_tensor(name, *_random(random, shape, kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _random(
    random: np.random.Generator, shape: Sequence[int], kind: str
) -> tuple[np.ndarray, Any, Any]:
    """Data of a tensor of ``shape`` (rows last), its shape in bytes and its type."""
    quantization = gguf.GGMLQuantizationType[kind]
    if kind == "F32":
        return np.full(shape, 0.5, np.float32), None, quantization
    if kind == "F16":
        return random.normal(0, 0.02, shape).astype(np.float16), None, quantization
    block, size = gguf.GGML_QUANT_SIZES[quantization]
    blocks = int(np.prod(shape)) // block
    data = random.integers(0, 256, (blocks, size), np.uint8)
    data[:, :2] = np.frombuffer(np.float16(0.003).tobytes(), np.uint8)  # the scale of each block
    rows = (*shape[:-1], shape[-1] // block * size)
    return data.reshape(rows), None, quantization


def _metadata(recipe: Recipe, context: int) -> dict[str, Any]:
    words = bpe_vocabulary()
    count = len(words.tokens)
    tokens = (*words.tokens, *(f"word{number}" for number in range(count, recipe.vocabulary)))
    types = [*words.metadata["tokenizer.ggml.token_type"], *[1] * (recipe.vocabulary - count)]
    shape: dict[str, Any] = {
        "block_count": recipe.layers,
        "context_length": context,
        "embedding_length": recipe.width,
        "feed_forward_length": recipe.feed_forward,
        "attention.head_count": recipe.heads,
        "attention.head_count_kv": recipe.kv_heads,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "vocab_size": recipe.vocabulary,
        **dict(recipe.extra),
    }
    if recipe.head:
        shape |= {"attention.key_length": recipe.head, "attention.value_length": recipe.head}
        shape |= {"rope.dimension_count": recipe.head}
    if recipe.experts:
        shape |= {"expert_count": recipe.experts, "expert_used_count": recipe.used}
        shape |= {"expert_feed_forward_length": recipe.feed_forward}
    if recipe.arch == "mamba":
        shape |= {"ssm.conv_kernel": 4, "ssm.inner_size": 2 * recipe.width}
        shape |= {"ssm.state_size": 16, "ssm.time_step_rank": recipe.width // 16}
    return {
        "general.name": "Random weights",
        **{f"{recipe.arch}.{key}": value for key, value in shape.items()},
        **words.metadata,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.chat_template": CHATML,
    }


def _tensors(recipe: Recipe) -> Tensors:
    kind, width = recipe.quantization, recipe.width
    yield "token_embd.weight", (recipe.vocabulary, width), kind
    yield "output_norm.weight", (width,), "F32"
    if not recipe.tied:
        yield "output.weight", (recipe.vocabulary, width), kind
    block = _mamba if recipe.arch == "mamba" else _transformer
    for layer in range(recipe.layers):
        for name, shape, own in block(recipe):
            yield f"blk.{layer}.{name}", shape, own


def _transformer(recipe: Recipe) -> Tensors:
    kind, width, head = recipe.quantization, recipe.width, recipe.head
    yield "attn_norm.weight", (width,), "F32"
    yield "attn_q.weight", (recipe.heads * head, width), kind
    yield "attn_k.weight", (recipe.kv_heads * head, width), kind
    yield "attn_v.weight", (recipe.kv_heads * head, width), kind
    yield "attn_output.weight", (width, recipe.heads * head), kind
    yield "ffn_norm.weight", (width,), "F32"
    if recipe.arch != "llama":
        yield "attn_q_norm.weight", (head,), "F32"
        yield "attn_k_norm.weight", (head,), "F32"
    if recipe.arch == "gemma3":
        yield "post_attention_norm.weight", (width,), "F32"
        yield "post_ffw_norm.weight", (width,), "F32"
    many = (recipe.experts,) if recipe.experts else ()
    suffix = "_exps" if recipe.experts else ""
    if recipe.experts:
        yield "ffn_gate_inp.weight", (recipe.experts, width), "F32"
    yield f"ffn_gate{suffix}.weight", (*many, recipe.feed_forward, width), kind
    yield f"ffn_up{suffix}.weight", (*many, recipe.feed_forward, width), kind
    yield f"ffn_down{suffix}.weight", (*many, width, recipe.feed_forward), kind


def _mamba(recipe: Recipe) -> Tensors:
    kind, width, inner, state = recipe.quantization, recipe.width, 2 * recipe.width, 16
    rank = width // 16
    yield "attn_norm.weight", (width,), "F32"
    yield "ssm_in.weight", (2 * inner, width), kind
    yield "ssm_conv1d.weight", (inner, 4), "F32"
    yield "ssm_conv1d.bias", (inner,), "F32"
    yield "ssm_x.weight", (rank + 2 * state, inner), kind
    yield "ssm_dt.weight", (inner, rank), kind
    yield "ssm_dt.bias", (inner,), "F32"
    yield "ssm_a", (inner, state), "F32"
    yield "ssm_d", (inner,), "F32"
    yield "ssm_out.weight", (width, inner), kind


if __name__ == "__main__":
    print(json.dumps({"path": str(write_shape(Path(sys.argv[2]), RECIPES[sys.argv[1]]))}))
