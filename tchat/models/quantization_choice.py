"""Which quantization of a model is taken where none is named, by memory and by speed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from tchat.models.fit_report import USUAL_CONTEXT, default_plan, expected_speed
from tchat.models.memory import Machine, ModelDimensions, fits
from tchat.translation import N_, tr

COMFORTABLE = 8.0  # tokens per second: about as fast as people read
UNQUANTIZED = frozenset({"F32", "FP32", "F16", "FP16", "BF16"})
DEFAULT = "Q4_K_M"  # llama.cpp's
LEAST_BITS = 4  # of a weight; replies are clearly worse with fewer
WEIGHTS = ("input", "lookup", "output", "blocks", "experts")  # sizes in bytes
_BITS = re.compile(r"\d+")


class QuantizationChoice(Protocol):
    """One quantization of a model."""

    @property
    def quantization(self) -> str:
        """For example ``Q4_K_M``; may be empty."""

    @property
    def size(self) -> int:
        """Bytes."""


Q = TypeVar("Q", bound=QuantizationChoice)


def choose_quantization(
    models: Sequence[Q], dimensions: ModelDimensions, measured: Q, trained: int, machine: Machine
) -> tuple[Q, str]:
    """Choose one of ``models``, whose dimensions are ``dimensions`` for ``measured``; and say why.

    It is the largest that fits with the default context and is expected to write as fast as people
    read. Where none is so fast, it is Q4_K_M, else the smallest that is not rough: what is slow
    anyway is not made slower. Only want of memory leads to a rough one. Unquantized weights are
    twice as large and half as fast as Q8_0 without better replies, so they are chosen only when
    there is nothing else.
    """
    quantized = [model for model in models if model.quantization not in UNQUANTIZED]
    by_size = sorted(quantized or models, key=lambda model: -model.size)
    speeds = {}  # of those that fit, by their places
    for place, model in enumerate(by_size):
        scaled = resized(dimensions, model.size / max(measured.size, 1))
        plan = default_plan(scaled, trained, machine)
        if fits(scaled, plan, machine):
            speeds[place] = expected_speed(scaled, plan, machine)
    context = min(USUAL_CONTEXT, trained or USUAL_CONTEXT)
    if not speeds:
        chosen = _default_of(by_size) or by_size[-1]
        text = N_("none fits with {context:,} tokens of context, and it is {what}")
        return chosen, tr(text, context=context, what=_called(chosen))
    fitting = {place: by_size[place] for place in speeds}
    smooth = {place: each for place, each in fitting.items() if not is_rough(each.quantization)}
    fast = [each for place, each in smooth.items() if _is_fast(speeds[place])]
    largest = next(iter(smooth.values()), next(iter(fitting.values())))
    if not smooth or fast[:1] == [largest]:
        return largest, tr(
            "it is the largest that fits with {context:,} tokens of context", context=context
        )
    if fast:
        return fast[0], tr("it is the largest that fits and writes as fast as people read")
    usable = list(smooth.values())
    if len(usable) == 1:
        return usable[0], tr(
            "it is the only one that fits with {context:,} tokens of context", context=context
        )
    chosen = _default_of(usable) or usable[-1]
    text = N_("none writes as fast as people read here, and it is {what}")
    return chosen, tr(text, what=_called(chosen))


def is_rough(quantization: str) -> bool:
    """Whether replies are clearly worse than with the weights as they were trained."""
    return 0 < bits_of(quantization) < LEAST_BITS


def bits_of(quantization: str) -> int:
    """The bits of a weight, by the name of the quantization; 0 when it has no number."""
    found = _BITS.search(quantization)
    return int(found[0]) if found else 0


def resized(dimensions: ModelDimensions, factor: float) -> ModelDimensions:
    """The dimensions of the same model in a quantization ``factor`` times as large."""
    sizes = {name: int(getattr(dimensions, name) * factor) for name in WEIGHTS}
    return replace(dimensions, **sizes)


def _is_fast(speed: float) -> bool:
    """Whether it can be read along; an unknown speed, 0, decides nothing."""
    return not speed or speed >= COMFORTABLE


def _default_of(models: Sequence[Q]) -> Q | None:
    return next((each for each in models if _is_default(each)), None)


def _is_default(model: QuantizationChoice) -> bool:
    return model.quantization.removeprefix("UD-") == DEFAULT


def _called(model: QuantizationChoice) -> str:
    if _is_default(model):
        return tr("the usual one")
    if bits_of(model.quantization) < LEAST_BITS:
        return tr("the smallest")
    return tr("the smallest with at least 4 bits")
