"""Which quantization of a model to take on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from tchat.models.fit_report import USUAL_CONTEXT, default_plan
from tchat.models.gguf.dimensions import ModelDimensions
from tchat.models.memory_estimate import Machine, fits

UNQUANTIZED = frozenset({"F32", "FP32", "F16", "FP16", "BF16"})
FALLBACK = "Q4_K_M"
WEIGHTS = ("input", "lookup", "output", "blocks", "experts")  # sizes of a shape, in bytes


class QuantizationChoice(Protocol):
    """One of several files of the same model."""

    @property
    def quantization(self) -> str:
        """For example ``Q4_K_M``; may be empty."""

    @property
    def size(self) -> int:
        """Bytes."""


Q = TypeVar("Q", bound=QuantizationChoice)


def choose_quantization(
    models: Sequence[Q], shape: ModelDimensions, measured: Q, trained: int, machine: Machine
) -> tuple[Q, str]:
    """The largest quantization that fits with a usual context, else Q4_K_M; and why.

    Unquantized weights are twice as large and half as fast as Q8_0, and no better to read: they
    are taken only where there is nothing else.

    Args:
        models: The same model in different quantizations; at least one.
        shape: Of one of them.
        measured: That one.
        trained: Tokens that it was trained for.
        machine: That it shall fit.
    """
    quantized = [model for model in models if model.quantization not in UNQUANTIZED]
    by_size = sorted(quantized or models, key=lambda model: -model.size)
    context = min(USUAL_CONTEXT, trained or USUAL_CONTEXT)
    for model in by_size:
        scaled = resized(shape, model.size / max(measured.size, 1))
        if fits(scaled, default_plan(scaled, trained, machine), machine):
            return model, f"it is the largest that fits with {context:,} tokens of context"
    fallback = next((each for each in by_size if each.quantization == FALLBACK), by_size[-1])
    what = "the usual one" if fallback.quantization == FALLBACK else "the smallest"
    return fallback, f"none fits with {context:,} tokens of context, and it is {what}"


def resized(shape: ModelDimensions, factor: float) -> ModelDimensions:
    """The shape of the same model in another quantization, ``factor`` times as large."""
    sizes = {name: int(getattr(shape, name) * factor) for name in WEIGHTS}
    return replace(shape, **sizes)
