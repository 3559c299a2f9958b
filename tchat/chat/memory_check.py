"""Whether a model fits into the memory of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tchat.engine.binding import backend, devices
from tchat.engine.context import SCRATCH, context_size
from tchat.engine.loading import INITIAL_CAPACITY
from tchat.errors import DoesNotFit
from tchat.models.files import label
from tchat.models.memory import (
    LoadPlan,
    Machine,
    Memory,
    fits,
    largest_context,
    main_memory,
    max_gpu_layers,
    split_by_device,
)
from tchat.models.metadata import ModelMetadata
from tchat.settings import Settings


def this_machine() -> Machine:
    """The memory and devices of this machine, now."""
    gpus = tuple(Memory(gpu.free, gpu.total, gpu.name, gpu.shared) for gpu in devices())
    return Machine(main_memory(), gpus)


def memory_plan(settings: Settings, metadata: ModelMetadata) -> LoadPlan:
    """How the engine will load a model with these settings."""
    context = context_size(settings.ctx_size, metadata.context_length)
    on_gpu = settings.gpu_layers != 0 and backend().lib.llama_supports_gpu_offload()
    return LoadPlan(
        context=context,
        kv_type=settings.cache_type,
        flash=settings.flash_attn != "off",
        swa_full=settings.swa_full,
        batch=min(settings.batch_size, context),
        sequences=SCRATCH + 1,
        gpu_layers=settings.gpu_layers if on_gpu else 0,
        initial_capacity=0 if on_gpu else INITIAL_CAPACITY,
    )


def require_memory(settings: Settings, metadata: ModelMetadata) -> None:
    """Raise DoesNotFit when the model would make this machine swap and may not.

    Raises:
        DoesNotFit: With what it needs, what is free, and what would fit.
    """
    if settings.force:
        return
    machine, plan = this_machine(), memory_plan(settings, metadata)
    if not fits(metadata.dimensions, plan, machine):
        raise _refusal(metadata, plan, machine)


def _refusal(metadata: ModelMetadata, plan: LoadPlan, machine: Machine) -> DoesNotFit:
    here, there = split_by_device(metadata.dimensions, plan, machine)
    parts = f"weights {_gb(here.weights)}, context {_gb(here.context)}, buffers {_gb(here.buffers)}"
    if here.growth:
        parts += f", and {_gb(here.growth)} while the context grows"
    free = _gb(machine.memory.free) if machine.memory else "an unknown amount"
    message = (
        f"{label(metadata.path)} with a context of {plan.context:,} tokens needs "
        f"{_gb(here.peak)} GB of memory ({parts}), and {free} GB are free"
    )
    if there.total:
        free_there = sum(gpu.free for gpu in machine.dedicated_gpus)
        message += f"; on the GPU it needs {_gb(there.total)} GB, and {_gb(free_there)} GB are free"
    return DoesNotFit(message, "; ".join(_ways_out(metadata, plan, machine)))


def _ways_out(metadata: ModelMetadata, plan: LoadPlan, machine: Machine) -> Iterator[str]:
    dimensions = metadata.dimensions
    if context := largest_context(dimensions, plan, machine, plan.context):
        yield f"--ctx-size {context} fits"
    for kv_type in ("q8_0", "q4_0"):
        smaller = replace(plan, kv_type=kv_type)
        if plan.kv_type == "f16" and plan.flash and fits(dimensions, smaller, machine):
            yield f"--cache-type {kv_type} fits"
            break
    if plan.gpu_layers and (layers := max_gpu_layers(dimensions, plan, machine)):
        yield f"--gpu-layers {layers} fits"
    yield "close other programs, or choose a smaller quantization"
    yield "--force loads it anyway"


def _gb(size: int) -> str:
    return f"{size / 10**9:.2f}"
