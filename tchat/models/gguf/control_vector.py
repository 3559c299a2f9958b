"""Control vector files: one direction per layer, as ``llama-cvector-generator`` writes them.

Format: a GGUF file with tensors ``direction.N`` (F32, shape (n_embd,)), N from 1 on; see
``common_control_vector_load`` in llama.cpp.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tchat.errors import ModelInvalid
from tchat.models.files import label
from tchat.models.gguf.header import Tensor
from tchat.models.gguf.parser import read_header

PREFIX = "direction."
MAX_LAYERS = 4096


class Directions(NamedTuple):
    """``width`` floats per layer."""

    width: int
    by_layer: Mapping[int, array[float]]


def read_control_vector(path: Path) -> Directions:
    """Read the directions of a control vector file.

    Raises:
        ModelNotFound: The file is not there.
        ModelInvalid: It is not a GGUF file, or holds no control vector.
    """
    header = read_header(path)
    tensors = [tensor for tensor in header.tensors if tensor.name.startswith(PREFIX)]
    widths = {tensor.shape[0] for tensor in tensors if tensor.type == "F32" and tensor.shape}
    if len(widths) != 1 or any(not _is_direction(tensor) for tensor in tensors):
        raise ModelInvalid(
            f"{label(path)} holds no control vector",
            "it needs F32 tensors direction.1, direction.2, … of one width",
        )
    with path.open("rb") as file:
        directions = {}
        for tensor in tensors:
            file.seek(header.data_offset + tensor.offset)
            values = array("f")
            values.frombytes(file.read(tensor.size))
            directions[int(tensor.name.removeprefix(PREFIX))] = values
    return Directions(widths.pop(), directions)


def _is_direction(tensor: Tensor) -> bool:
    number = tensor.name.removeprefix(PREFIX)
    return (
        tensor.type == "F32"
        and len(tensor.shape) == 1
        and number.isdecimal()
        and 1 <= int(number[:9]) <= MAX_LAYERS
    )
