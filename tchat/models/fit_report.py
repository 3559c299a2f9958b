"""Whether a model fits a machine, and rows that say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tchat.humanize import gigabytes, speed_text
from tchat.models.memory import (
    LoadPlan,
    Machine,
    MemoryNeed,
    ModelDimensions,
    estimate_memory,
    fits,
    largest_context,
    max_gpu_layers,
    split_by_device,
    tokens_per_second,
)
from tchat.translation import N_, joined, tr

USUAL_CONTEXT = 8192
LEAST_CONTEXT = 2048
SHOWN_CONTEXTS = (4096, 8192, 32768)
SHOWN_TYPES = ("f16", "q8_0", "q4_0")


@dataclass(frozen=True, slots=True)
class FitVerdict:
    """How well a model fits.

    Attributes:
        good: It fits with the default context and an f16 cache.
        usable: It fits at least with a small context.
        summary: To be read after the model's name.
    """

    good: bool
    usable: bool
    summary: str

    @property
    def short(self) -> str:
        """One word for a table: ``fits``, ``tight`` or ``too large``."""
        return tr("fits") if self.good else tr("tight") if self.usable else tr("too large")


@dataclass(frozen=True, slots=True)
class ContextFit:
    """Memory that one context length needs, and whether it fits."""

    context: int
    kv_type: str
    need: MemoryNeed
    fits: bool


@dataclass(frozen=True, slots=True)
class FitReport:
    """How a model fits a machine.

    Attributes:
        plan: How it would be loaded with the default context.
        largest: Largest context that fits, by the type of the KV cache.
        rows: Memory at several context lengths.
        speed: Decode speed in tokens per second with a short context; 0 when unknown.
        is_measured: Whether the speed was measured here, not estimated.
    """

    machine: Machine
    plan: LoadPlan
    fit: FitVerdict
    largest: dict[str, int]
    rows: tuple[ContextFit, ...]
    speed: float
    is_measured: bool = False


def report_fit(
    dimensions: ModelDimensions, trained: int, machine: Machine, measured_speed: float = 0.0
) -> FitReport:
    """Report how a model fits a machine.

    ``trained`` is the context length that it was trained for, in tokens, 0 when unknown;
    ``measured_speed`` the measured decode speed in tokens per second, 0 when it was not used yet.
    """
    most = trained or USUAL_CONTEXT
    plan = default_plan(dimensions, trained, machine)
    contexts = sorted({min(each, most) for each in (*SHOWN_CONTEXTS, most)})
    plans = [
        replace(plan, context=context, kv_type=kv_type)
        for context in contexts
        for kv_type in SHOWN_TYPES
    ]
    return FitReport(
        machine=machine,
        plan=plan,
        fit=assess_fit(dimensions, trained, machine),
        largest={
            kv_type: largest_context(dimensions, replace(plan, kv_type=kv_type), machine, most)
            for kv_type in SHOWN_TYPES
        },
        rows=tuple(
            ContextFit(
                each.context,
                each.kv_type,
                estimate_memory(dimensions, each),
                fits(dimensions, each, machine),
            )
            for each in plans
        ),
        speed=measured_speed or expected_speed(dimensions, plan, machine),
        is_measured=measured_speed > 0,
    )


def expected_speed(dimensions: ModelDimensions, plan: LoadPlan, machine: Machine) -> float:
    """Estimated decode speed with a short context in tokens per second; 0 when unknown."""
    return tokens_per_second(dimensions, replace(plan, context=LEAST_CONTEXT), machine)


def default_plan(dimensions: ModelDimensions, trained: int, machine: Machine) -> LoadPlan:
    """How a model is loaded by default: on the GPUs, as far as their memory allows."""
    plan = LoadPlan(context=min(USUAL_CONTEXT, trained or USUAL_CONTEXT))
    if not machine.dedicated_gpus:
        return plan
    on_gpu = replace(plan, gpu_layers=-1)
    if fits(dimensions, on_gpu, machine):
        return on_gpu
    return replace(plan, gpu_layers=max_gpu_layers(dimensions, plan, machine))


def assess_fit(dimensions: ModelDimensions, trained: int, machine: Machine) -> FitVerdict:
    """Whether a model fits: by default, with a smaller cache type, with a small context, or not."""
    plan = default_plan(dimensions, trained, machine)
    most, usual = trained or USUAL_CONTEXT, plan.context
    if machine.memory is None:
        return FitVerdict(True, True, tr("may fit: the free memory of this machine is not known"))
    largest = largest_context(dimensions, plan, machine, most)
    if largest >= usual:
        text = N_("fits, with a context of up to {tokens:,} tokens")
        if largest >= most:
            text = N_("fits, with its whole context of {tokens:,} tokens")
        words = tr(text, tokens=min(largest, most))
        return FitVerdict(True, True, _placed(words, dimensions, plan, machine))
    for kv_type in SHOWN_TYPES[1:]:
        if fits(dimensions, replace(plan, kv_type=kv_type), machine):
            words = tr(
                "fits with {usual:,} tokens when its cache is {kv_type}",
                usual=usual,
                kv_type=kv_type,
            )
            return FitVerdict(False, True, _placed(words, dimensions, plan, machine))
    if largest >= min(LEAST_CONTEXT, most):
        words = tr("is tight: fits with up to {largest:,} tokens", largest=largest)
        return FitVerdict(False, True, _placed(words, dimensions, plan, machine))
    return FitVerdict(False, False, _too_large(dimensions, plan, machine))


def _placed(fit: str, dimensions: ModelDimensions, plan: LoadPlan, machine: Machine) -> str:
    """``fit`` with what of the model is on the GPU, or on the workers."""
    if not plan.gpu_layers:
        return fit
    if plan.gpu_layers < 0:
        text = N_("{fit}, on the workers") if machine.has_workers else N_("{fit}, on the GPU")
        return tr(text, fit=fit)
    text = N_("{fit}, {count:,} of {layers:,} layers on the GPU")
    if machine.has_workers:
        text = N_("{fit}, {count:,} of {layers:,} layers on the workers")
    return tr(
        text,
        fit=fit,
        count=min(plan.gpu_layers, dimensions.layers),
        layers=dimensions.layers,
    )


def _too_large(dimensions: ModelDimensions, plan: LoadPlan, machine: Machine) -> str:
    small = replace(plan, context=min(LEAST_CONTEXT, plan.context))
    here, there = split_by_device(dimensions, small, machine)
    free = machine.memory.free if machine.memory else 0
    words = tr(
        "does not fit: {context:,} tokens need {needed}",
        context=small.context,
        needed=gigabytes(here.peak + there.total),
    )
    text = N_("{needs}, free are {free}")
    if machine.has_workers:
        text = N_("{needs}, free are {free}, on the workers {gpus}")
    elif machine.dedicated_gpus:
        text = N_("{needs}, free are {free}, on the GPU {gpus}")
    gpus = gigabytes(sum(gpu.free for gpu in machine.dedicated_gpus))
    return tr(text, needs=words, free=gigabytes(free), gpus=gpus)


NEEDS = (  # by whether it fits
    N_("{needed} with {kv_type} ({context} of it the context: too much)"),
    N_("{needed} with {kv_type} ({context} of it the context)"),
)


def fit_rows(report: FitReport) -> Iterator[tuple[str, str]]:
    """Rows about the fit: verdict, speed, memory by context length with an f16 and a q8_0 cache."""
    yield tr("fit"), tr("it {summary}", summary=report.fit.summary)
    if report.speed:
        speed = speed_text(report.speed)
        yield (
            tr("speed"),
            tr("{speed} tokens/s measured here", speed=speed)
            if report.is_measured
            else tr("{speed} tokens/s expected, with a short context", speed=speed),
        )
    if report.machine.memory is not None:
        yield tr("free memory"), gigabytes(report.machine.memory.free)
    for gpu in report.machine.gpus:
        yield tr("free on {name}", name=gpu.name), gigabytes(gpu.free)
    largest = [
        tr("{largest:,} tokens with {kv_type}", largest=report.largest[kv_type], kv_type=kv_type)
        for kv_type in SHOWN_TYPES[:2]
    ]
    yield tr("largest context"), joined(largest)
    yield tr("needs for weights"), gigabytes(report.rows[0].need.weights)
    for context in sorted({row.context for row in report.rows}):
        needs = [
            tr(
                NEEDS[row.fits],
                needed=gigabytes(row.need.total),
                kv_type=row.kv_type,
                context=gigabytes(row.need.context),
            )
            for row in report.rows
            if row.context == context and row.kv_type in SHOWN_TYPES[:2]
        ]
        yield tr("needs at {context:,}", context=context), joined(needs)
