"""Read control vectors, which are GGUF files.

Their tensors are ``direction.N``, F32 of shape (n_embd,), for the layers N from 1 on; see
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
from tchat.models.gguf.header_parser import read_header
from tchat.translation import tr

DIRECTION = "direction."
MAX_DIRECTIONS = 4096


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
    tensors = [tensor for tensor in header.tensors if tensor.name.startswith(DIRECTION)]
    widths = {tensor.shape[0] for tensor in tensors if tensor.type == "F32" and tensor.shape}
    if len(widths) != 1 or any(not _is_direction(tensor) for tensor in tensors):
        raise ModelInvalid(
            tr("{path} holds no control vector", path=label(path)),
            tr("it needs F32 tensors direction.1, direction.2, … of one width"),
        )
    with path.open("rb") as file:
        directions = {}
        for tensor in tensors:
            file.seek(header.data_offset + tensor.offset)
            values = array("f")
            values.frombytes(file.read(tensor.size))
            directions[int(tensor.name.removeprefix(DIRECTION))] = values
    return Directions(widths.pop(), directions)


def _is_direction(tensor: Tensor) -> bool:
    number = tensor.name.removeprefix(DIRECTION)
    return (
        tensor.type == "F32"
        and len(tensor.shape) == 1
        and number.isdecimal()
        and 1 <= int(number[:9]) <= MAX_DIRECTIONS
    )
