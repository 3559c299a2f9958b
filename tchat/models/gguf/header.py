"""What a GGUF file says about itself, once it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

from tchat.models.gguf.tensor_types import FILE_TYPES

KEPT_ARRAY = 512  # elements; llama.cpp's largest count of layers


@dataclass(frozen=True, slots=True)
class Array:
    """An array in the metadata.

    Attributes:
        type: Of its elements, as GGUF numbers them.
        count: Elements.
        items: Empty when there are more than `KEPT_ARRAY`.
        offset: Of the first element, in bytes from the start of the file.
    """

    type: int
    count: int
    items: tuple[Scalar, ...] = ()
    offset: int = 0


Scalar: TypeAlias = int | float | bool | str
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
        """How many weights it has."""
        return element_count(self.shape)


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says about itself. Texts are raw: sanitize them before printing.

    Attributes:
        version: 2 or 3.
        metadata: Values by key; bytes that are no UTF-8 are replaced by U+FFFD.
        undecodable: Keys whose value was no UTF-8.
        tensors: In the order of the file.
        data_offset: Bytes from the start of the file to the tensors' data.
        file_size: Bytes.
    """

    version: int
    metadata: Mapping[str, Value]
    undecodable: frozenset[str]
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

    @property
    def architecture(self) -> str:
        """For example ``llama`` or ``qwen3``."""
        return self.text("general.architecture")

    @property
    def name(self) -> str:
        """The name that its maker gave it; empty when there is none."""
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
        """How many weights there are."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def context_length(self) -> int:
        """The length it was trained for, in tokens; 0 when it does not say."""
        return self.integer(f"{self.architecture}.context_length") or 0

    @property
    def chat_template(self) -> str:
        """Its Jinja template; empty when it has none. Read here since the binding loses some."""
        return self.text("tokenizer.chat_template")


def is_integer(value: Value | None) -> TypeGuard[int]:
    """Whether ``value`` is a whole number; a truth value is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def element_count(shape: tuple[int, ...]) -> int:
    """How many weights a tensor of this shape has."""
    product = 1
    for length in shape:
        product *= length
    return product
