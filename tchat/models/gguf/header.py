"""A parsed GGUF header: metadata and tensors.

Sources: ``enum ggml_type`` in ggml.h, the blocks in ggml-common.h, ``enum llama_ftype`` in llama.h.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, TypeGuard

MAX_LAYERS = 512  # of llama.cpp
MAX_ARRAY_ITEMS = MAX_LAYERS  # elements
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


@dataclass(frozen=True, slots=True)
class Array:
    """An array in the metadata: ``count`` elements of GGUF's type number ``type``.

    ``items`` is empty when there are more than `MAX_ARRAY_ITEMS`. ``offset`` is that of the first
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
