"""A parsed GGUF header: metadata and tensors, and the dimensions of the model by them.

Sources: ``enum ggml_type`` in ggml.h, the blocks in ggml-common.h, ``enum llama_ftype`` in llama.h;
``llama_hparams`` (``n_embd_k_gqa``, ``n_embd_r``, ``n_embd_s``, ``has_kv``) and
``llama_model::create_memory`` in llama.cpp.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, TypeGuard

from tchat.models.memory import ModelDimensions

MAX_LAYERS = 512  # of llama.cpp
KEPT_ARRAY = MAX_LAYERS  # elements
Scalar: TypeAlias = int | float | bool | str
REMOVED_TENSOR_TYPES = frozenset({4, 5, 31, 32, 33, 36, 37, 38})
FILE_TYPES = MappingProxyType(
    {
        0: "F32",
        1: "F16",
        2: "Q4_0",
        3: "Q4_1",
        7: "Q8_0",
        8: "Q5_0",
        9: "Q5_1",
        10: "Q2_K",
        11: "Q3_K_S",
        12: "Q3_K_M",
        13: "Q3_K_L",
        14: "Q4_K_S",
        15: "Q4_K_M",
        16: "Q5_K_S",
        17: "Q5_K_M",
        18: "Q6_K",
        19: "IQ2_XXS",
        20: "IQ2_XS",
        21: "Q2_K_S",
        22: "IQ3_XS",
        23: "IQ3_XXS",
        24: "IQ1_S",
        25: "IQ4_NL",
        26: "IQ3_S",
        27: "IQ3_M",
        28: "IQ2_S",
        29: "IQ2_M",
        30: "IQ4_XS",
        31: "IQ1_M",
        32: "BF16",
        36: "TQ1_0",
        37: "TQ2_0",
        38: "MXFP4",
        39: "NVFP4",
        40: "Q1_0",
        41: "Q2_0",
    }
)


BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
ATTENTION = ("attn_k.", "attn_qkv.", "attn_kv_a_mqa.", "attn_kv.")
RECURRENCE = ("ssm_", "time_mix_", "shortconv.")
BOTH_IN_EACH_LAYER = "falcon-h1"
PLACES = MappingProxyType(
    {
        "token_embd.weight": "input",
        "per_layer_token_embd.weight": "lookup",
        "output.weight": "output",
    }
)
FLOAT = 4  # bytes; llama.cpp keeps the recurrent state in F32
# Every n-th layer has full attention, for architectures whose header does not say which.
WHOLE_EVERY = MappingProxyType(
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


@dataclass(frozen=True, slots=True)
class Array:
    """An array in the metadata: ``count`` elements of GGUF's type number ``type``.

    ``items`` is empty when there are more than `KEPT_ARRAY`. ``offset`` is that of the first
    element, in bytes from the start of the file.
    """

    type: int
    count: int
    items: tuple[Scalar, ...] = ()
    offset: int = 0


Value: TypeAlias = Scalar | Array


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: ``size`` bytes at ``offset`` bytes from the start of the data."""

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    size: int

    @property
    def elements(self) -> int:
        """Number of weights."""
        return element_count(self.shape)


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed GGUF header. Texts are raw: sanitize them before printing.

    Attributes:
        metadata: Values by key; invalid UTF-8 is replaced by U+FFFD.
        tensors: In the order of the file.
        data_offset: Bytes from the start of the file to the tensors' data.
    """

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    data_offset: int
    file_size: int

    def text(self, key: str) -> str:
        """The string under ``key``; empty when there is none."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def integer(self, key: str) -> int | None:
        """The integer under ``key``; None when there is none."""
        value = self.metadata.get(key)
        return value if is_integer(value) else None

    def count(self, key: str) -> int:
        """The number of elements of the array under ``key``; 0 when there is none."""
        value = self.metadata.get(key)
        return value.count if isinstance(value, Array) else 0

    @property
    def architecture(self) -> str:
        """For example ``llama`` or ``qwen3``."""
        return self.text("general.architecture")

    @property
    def name(self) -> str:
        """``general.name``; empty when there is none."""
        return self.text("general.name")

    @property
    def quantization(self) -> str:
        """For example ``Q4_K_M``: by ``general.file_type``, else the type of most bytes."""
        number = self.integer("general.file_type")
        if number is not None and number in FILE_TYPES:
            return FILE_TYPES[number]
        sizes: Counter[str] = Counter()
        for tensor in self.tensors:
            sizes[tensor.type] += tensor.size
        return sizes.most_common(1)[0][0] if sizes else ""

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def context_length(self) -> int:
        """Context length it was trained for, in tokens; 0 when there is none."""
        return self.integer(f"{self.architecture}.context_length") or 0

    @property
    def chat_template(self) -> str:
        """Its Jinja template; empty when it has none. llama-cpp-python's own reading loses some."""
        return self.text("tokenizer.chat_template")


def is_integer(value: Value | None) -> TypeGuard[int]:
    """Whether ``value`` is an integer and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def element_count(shape: tuple[int, ...]) -> int:
    """Number of weights of a tensor of this shape."""
    product = 1
    for length in shape:
        product *= length
    return product


class TensorType(NamedTuple):
    """A storage format: ``block`` weights are stored together in ``size`` bytes."""

    name: str
    block: int
    size: int


TENSOR_TYPES = MappingProxyType(
    {
        0: TensorType("F32", 1, 4),
        1: TensorType("F16", 1, 2),
        2: TensorType("Q4_0", 32, 18),
        3: TensorType("Q4_1", 32, 20),
        6: TensorType("Q5_0", 32, 22),
        7: TensorType("Q5_1", 32, 24),
        8: TensorType("Q8_0", 32, 34),
        9: TensorType("Q8_1", 32, 36),
        10: TensorType("Q2_K", 256, 84),
        11: TensorType("Q3_K", 256, 110),
        12: TensorType("Q4_K", 256, 144),
        13: TensorType("Q5_K", 256, 176),
        14: TensorType("Q6_K", 256, 210),
        15: TensorType("Q8_K", 256, 292),
        16: TensorType("IQ2_XXS", 256, 66),
        17: TensorType("IQ2_XS", 256, 74),
        18: TensorType("IQ3_XXS", 256, 98),
        19: TensorType("IQ1_S", 256, 50),
        20: TensorType("IQ4_NL", 32, 18),
        21: TensorType("IQ3_S", 256, 110),
        22: TensorType("IQ2_S", 256, 82),
        23: TensorType("IQ4_XS", 256, 136),
        24: TensorType("I8", 1, 1),
        25: TensorType("I16", 1, 2),
        26: TensorType("I32", 1, 4),
        27: TensorType("I64", 1, 8),
        28: TensorType("F64", 1, 8),
        29: TensorType("IQ1_M", 256, 56),
        30: TensorType("BF16", 1, 2),
        34: TensorType("TQ1_0", 256, 54),
        35: TensorType("TQ2_0", 256, 66),
        39: TensorType("MXFP4", 32, 17),
        40: TensorType("NVFP4", 64, 36),
        41: TensorType("Q1_0", 128, 18),
        42: TensorType("Q2_0", 64, 18),
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
    sizes = dict.fromkeys((*PLACES.values(), "blocks", "experts"), 0)
    for tensor in tensors:
        sizes[PLACES.get(tensor.name, "blocks")] += tensor.size
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
    told = keys.value("attention.sliding_window_pattern")
    if isinstance(told, Array):
        return {layer for layer, windowed in enumerate(told.items[:trunk]) if windowed}
    every = keys.number("attention.sliding_window_pattern") or WHOLE_EVERY.get(keys.family, 0)
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
