"""LoRA adapters and control vectors: loaded once, applied to each context."""

from __future__ import annotations

import ctypes
import os
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tchat.engine.binding import backend
from tchat.engine.model import Model
from tchat.errors import ModelInvalid
from tchat.sanitize import single_line


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA adapter file, already verified, and its scale."""

    path: Path
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class ControlVector:
    """A control vector: directions added to the hidden states after some layers.

    Args:
        path: The file.
        width: Length of a direction; the model's ``n_embd``.
        directions: Layer (from 1 on) to ``width`` floats.
        scale: Factor on every direction.
    """

    path: Path
    width: int
    directions: Mapping[int, Sequence[float]]
    scale: float = 1.0


class Adapters:
    """The adapters of one model, loaded once and applied to each of its contexts.

    Args:
        model: What they adapt.
        loras: LoRA adapters.
        vectors: Control vectors; an empty sequence removes those of a context, None keeps them.

    Raises:
        ModelInvalid: llama.cpp refuses one, for example because it was made for another model.
    """

    def __init__(
        self, model: Model, loras: Sequence[Lora], vectors: Sequence[ControlVector] | None
    ) -> None:
        self._lib = backend().lib
        self._model = model
        self._scales = [lora.scale for lora in loras]
        self._loras = [self._loaded(lora) for lora in loras]  # they live as long as the model
        self._control = None if vectors is None else _sum(model, vectors)

    def apply(self, context: Any) -> None:
        """Apply the adapters to a ``llama_context *``.

        Raises:
            ModelInvalid: llama.cpp refuses them.
        """
        if self._loras:
            count = len(self._loras)
            handles = (self._lib.llama_adapter_lora_p_ctypes * count)(*self._loras)
            scales = (ctypes.c_float * count)(*self._scales)
            if self._lib.llama_set_adapters_lora(context, handles, count, scales):
                raise ModelInvalid(
                    f"llama.cpp does not take the LoRA adapters: {backend().log.reason()}",
                    "use adapters that were made for this model",
                )
        if self._control is not None:
            self._set_control(context, self._control)

    def _loaded(self, lora: Lora) -> Any:
        backend().log.clear()
        handle = self._lib.llama_adapter_lora_init(self._model.handle, os.fsencode(lora.path))
        if not handle:
            raise ModelInvalid(
                f"the LoRA adapter {single_line(lora.path.name)} does not fit this model: "
                f"{backend().log.reason()}",
                "use an adapter that was made for it",
            )
        return handle

    def _set_control(self, context: Any, control: array[float]) -> None:
        facts = self._model.shape
        buffer = (ctypes.c_float * len(control)).from_buffer(control)
        status = self._lib.llama_set_adapter_cvec(
            context, buffer, len(control), facts.n_embd, 1, facts.n_layer
        )
        if status:
            raise ModelInvalid(
                f"llama.cpp does not take the control vector: {backend().log.reason()}",
                "use a vector that was made for this model",
            )


def _sum(model: Model, vectors: Sequence[ControlVector]) -> array[float]:
    """The vectors added up, ``width`` floats for each layer from 1 on."""
    width, layers = model.shape.n_embd, model.shape.n_layer
    total = array("f", bytes(4 * width * layers))
    for vector in vectors:
        if vector.width != width:
            raise ModelInvalid(
                f"the control vector {single_line(vector.path.name)} is {vector.width} wide, "
                f"this model's hidden states are {width}",
                "use a vector that was made for this model",
            )
        for layer, direction in vector.directions.items():
            if 1 <= layer <= layers:
                start = (layer - 1) * width
                for index, value in enumerate(direction):
                    total[start + index] += vector.scale * value
    return total
