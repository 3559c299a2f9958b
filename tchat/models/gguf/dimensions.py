"""The dimensions that decide a model's memory and speed, by its GGUF header.

Sources: ``llama_hparams`` (``n_embd_k_gqa``, ``n_embd_r``, ``n_embd_s``, ``has_kv``) and
``llama_model::create_memory`` in llama.cpp.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from tchat.models.gguf.header import MAX_LAYERS, Array, Header, Tensor, Value, is_integer
from tchat.models.memory import ModelDimensions

BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
ATTENTION = ("attn_k.", "attn_qkv.", "attn_kv_a_mqa.", "attn_kv.")
RECURRENCE = ("ssm_", "time_mix_", "shortconv.")
BOTH_IN_EACH_LAYER = "falcon-h1"
WEIGHT_KINDS = MappingProxyType(
    {
        "token_embd.weight": "input",
        "per_layer_token_embd.weight": "lookup",
        "output.weight": "output",
    }
)
FLOAT = 4  # bytes; llama.cpp keeps the recurrent state in F32
# Every n-th layer has full attention, for architectures whose header does not say which.
FULL_ATTENTION_EVERY = MappingProxyType(
    {
        "afmoe": 4,
        "cohere2": 4,
        "exaone-moe": 4,
        "exaone4": 4,
        "gemma2": 2,
        "gemma3": 6,
        "gemma3n": 5,
        "gpt-oss": 2,
        "llama4": 4,
        "olmo2": 4,
        "plamo3": 8,
        "smallthinker": 4,
    }
)


def read_dimensions(header: Header) -> ModelDimensions:
    """The dimensions by a header; for a split model, pass one with the tensors of all parts."""
    keys = _Keys(header)
    sizes = _sizes(header.tensors)
    inside = _blocks(header.tensors)
    # A hostile count must not be looped over; `compatibility.refusal` refuses the file.
    layers = min(keys.number("block_count"), MAX_LAYERS)
    trunk = max(layers - keys.number("nextn_predict_layers"), 0)
    recurrent = [layer for layer in range(trunk) if _has(inside[layer], RECURRENCE)]
    attends = {layer for layer in range(trunk) if _has(inside[layer], ATTENTION)}
    if header.architecture != BOTH_IN_EACH_LAYER:
        attends -= set(recurrent)
    attends -= set(range(_first_without_kv(keys, trunk), trunk))
    windowed = _windowed(keys, trunk)
    experts = keys.number("expert_count")
    return ModelDimensions(
        layers=trunk,
        width=keys.number("embedding_length"),
        feed_forward=_feed_forward(keys),
        heads=max(keys.each("attention.head_count", trunk), default=0),
        kv_width=sum(_kv_width(keys, layer, trunk, windowed=False) for layer in attends - windowed),
        window_width=sum(
            _kv_width(keys, layer, trunk, windowed=True) for layer in attends & windowed
        ),
        window=keys.number("attention.sliding_window"),
        state=len(recurrent) * FLOAT * _state_width(keys),
        vocabulary=header.count("tokenizer.ggml.tokens"),
        merges=header.count("tokenizer.ggml.merges"),
        **sizes,
        expert_share=keys.number("expert_used_count") / experts if experts else 0.0,
    )


class _Keys:
    """The numbers under ``<architecture>.``; 0 for what is absent or not a number."""

    def __init__(self, header: Header) -> None:
        self._metadata: Mapping[str, Value] = header.metadata
        self.family = header.architecture

    def value(self, key: str) -> Value | None:
        return self._metadata.get(f"{self.family}.{key}")

    def number(self, key: str) -> int:
        """A number; the largest of a list."""
        value = self.value(key)
        if isinstance(value, Array):
            return max(filter(is_integer, (0, *value.items)))
        return max(value, 0) if is_integer(value) else 0

    def each(self, key: str, count: int) -> Sequence[int]:
        """A number for each of ``count`` layers, from a list or from one for all."""
        value = self.value(key)
        if isinstance(value, Array):
            items = [max(item, 0) if is_integer(item) else 0 for item in value.items]
            return [*items[:count], *[0] * (count - len(items))]
        return [self.number(key)] * count


def _sizes(tensors: Iterable[Tensor]) -> dict[str, int]:
    sizes = dict.fromkeys((*WEIGHT_KINDS.values(), "blocks", "experts"), 0)
    for tensor in tensors:
        sizes[WEIGHT_KINDS.get(tensor.name, "blocks")] += tensor.size
        if "_exps." in tensor.name:
            sizes["experts"] += tensor.size
    return sizes


def _blocks(tensors: Iterable[Tensor]) -> Mapping[int, set[str]]:
    """Names of the tensors of each layer."""
    inside: defaultdict[int, set[str]] = defaultdict(set)
    for tensor in tensors:
        if match := BLOCK.fullmatch(tensor.name):
            inside[int(match[1])].add(match[2])
    return inside


def _has(names: Iterable[str], prefixes: tuple[str, ...]) -> bool:
    return any(name.startswith(prefixes) for name in names)


def _first_without_kv(keys: _Keys, trunk: int) -> int:
    """The first layer that uses the KV cache of an earlier one (Gemma 3n, Gemma 4)."""
    return max(trunk - keys.number("attention.shared_kv_layers"), 0)


def _windowed(keys: _Keys, trunk: int) -> set[int]:
    """The layers with a sliding window."""
    if not keys.number("attention.sliding_window"):
        return set()
    pattern = keys.value("attention.sliding_window_pattern")
    if isinstance(pattern, Array):
        return {layer for layer, windowed in enumerate(pattern.items[:trunk]) if windowed}
    every = keys.number("attention.sliding_window_pattern") or FULL_ATTENTION_EVERY.get(
        keys.family, 0
    )
    return {layer for layer in range(trunk) if every and layer % every < every - 1}


def _kv_width(keys: _Keys, layer: int, trunk: int, *, windowed: bool) -> int:
    """Values per token that a layer caches: keys and values, or the latent of both (MLA)."""
    heads = keys.each("attention.head_count", trunk)[layer]
    kv_heads = heads
    if keys.value("attention.head_count_kv") is not None:
        kv_heads = keys.each("attention.head_count_kv", trunk)[layer]
    plain = keys.number("embedding_length") // heads if heads else 0
    suffixes = ("_swa", "") if windowed else ("",)
    key, value = (
        next((n for s in suffixes if (n := keys.number(f"attention.{what}_length{s}"))), plain)
        for what in ("key", "value")
    )
    latent = keys.number("attention.key_length_mla") and keys.number("attention.value_length_mla")
    return kv_heads * (key if latent else key + value)


def _state_width(keys: _Keys) -> int:
    """Values of the recurrent state of one layer: ``n_embd_r + n_embd_s``."""
    width = keys.number("embedding_length")
    kernel = keys.number("ssm.conv_kernel")
    if wkv := keys.number("wkv.head_size"):
        return width * (wkv + (keys.number("token_shift_count") or 2))
    if shortconv := keys.number("shortconv.l_cache"):
        return width * (shortconv - 1)
    if kda := keys.number("kda.head_dim"):
        heads = keys.number("attention.head_count")
        return heads * kda * (kda + 3 * ((kernel or 4) - 1))
    inner, state = keys.number("ssm.inner_size"), keys.number("ssm.state_size")
    groups = keys.number("ssm.group_count")
    return max(kernel - 1, 0) * (inner + 2 * groups * state) + state * inner


def _feed_forward(keys: _Keys) -> int:
    """Size of the widest feed-forward layer."""
    dense = keys.number("feed_forward_length")
    used = keys.number("expert_used_count")
    mixed = used * (keys.number("expert_feed_forward_length") or dense)
    mixed += keys.number("expert_shared_feed_forward_length")
    # A Mamba layer holds four and a half times its inner size, a feed-forward three times its own.
    inner = 3 * keys.number("ssm.inner_size") // 2
    return max(mixed if used else dense, inner)
