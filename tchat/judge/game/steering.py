"""A control vector in the making: a direction for each of some layers, added to hidden states.

Source: Zou et al., "Representation engineering", arXiv 2310.01405; the file is the one of
llama.cpp's ``llama-cvector-generator``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from tchat.engine.adapters import ControlVector
from tchat.judge.logistic_regression import Vector
from tchat.judge.npz import whole
from tchat.paths import private_folder

ARCHITECTURE = "controlvector"


@dataclass(frozen=True, slots=True)
class Steering:
    """What is added to hidden states.

    Args:
        directions: Layer, from 1 on, to what is added behind it, shape (width,).
    """

    directions: Mapping[int, Vector]

    def moved(self, gradients: Mapping[int, Vector], step: Mapping[int, float]) -> Steering:
        """A step along ``gradients``, each as long as ``step`` says for its layer."""
        moved = dict(self.directions)
        for layer, gradient in gradients.items():
            length = float(numpy.linalg.norm(gradient))
            if length:
                here = moved.get(layer, numpy.zeros_like(gradient))
                moved[layer] = here + gradient * (step[layer] / length)
        return Steering(moved)

    def vectors(self) -> tuple[ControlVector, ...]:
        """For `Engine.steer`; nothing when nothing is added."""
        if not self.directions:
            return ()
        width = len(next(iter(self.directions.values())))
        rows = {layer: row.tolist() for layer, row in self.directions.items()}
        return (ControlVector(Path("steering"), width, rows),)


def write_control_vector(steering: Steering, path: Path, *, architecture: str) -> None:
    """Write a GGUF file that tchat and llama.cpp load with ``--control-vector``.

    The file is there whole or not at all.

    Args:
        steering: At least one direction.
        path: Where to.
        architecture: Of the model that it is for, for example ``llama``.

    Raises:
        StorageError: It cannot be written.
    """
    import gguf

    private_folder(path.parent)
    with whole(path) as partial:
        writer: Any = gguf.GGUFWriter(partial, ARCHITECTURE)
        writer.add_string(f"{ARCHITECTURE}.model_hint", architecture)
        writer.add_uint32(f"{ARCHITECTURE}.layer_count", max(steering.directions))
        for layer, direction in sorted(steering.directions.items()):
            writer.add_tensor(f"direction.{layer}", direction.astype(numpy.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
