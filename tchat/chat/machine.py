"""This machine: its memory, whether a model fits into it, and its speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from tchat.engine.binding import (
    RATE_MEMORY,
    Device,
    build_name,
    devices,
    has_gpu,
    weights_rate,
)
from tchat.engine.context import SCRATCH, context_size
from tchat.engine.events import Finished, Timings
from tchat.engine.loading import INITIAL_CAPACITY
from tchat.engine.threads import default_threads
from tchat.models.files import label
from tchat.models.memory import (
    LoadPlan,
    Machine,
    Memory,
    does_not_fit,
    fits,
    main_memory,
)
from tchat.models.metadata import MetadataCache, ModelMetadata
from tchat.paths import Paths
from tchat.settings import Settings

LEAST_REPLY = 32  # tokens that tell how fast a model writes
AGAIN = 3600.0  # seconds after which the machine is measured again: it may have been busy


def this_machine() -> Machine:
    """The memory and devices of this machine, now."""
    return Machine(main_memory(), tuple(map(_memory_of, devices())))


def _memory_of(device: Device) -> Memory:
    return Memory(device.free, device.total, device.name, device.shared)


def memory_plan(settings: Settings, metadata: ModelMetadata) -> LoadPlan:
    """How the engine will load a model with these settings."""
    context = context_size(settings.ctx_size, metadata.context_length)
    on_gpu = settings.gpu_layers != 0 and (bool(settings.rpc) or has_gpu())
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


def require_memory(
    settings: Settings, metadata: ModelMetadata, workers: Iterable[Device] = ()
) -> None:
    """Raise DoesNotFit when the model would make this machine swap and may not.

    ``workers`` are the devices of other machines that the model is split over.

    Raises:
        DoesNotFit: With what it needs, what is free, and what would fit.
    """
    if settings.force:
        return
    machine, plan = with_workers(this_machine(), workers), memory_plan(settings, metadata)
    if not fits(metadata.dimensions, plan, machine):
        raise does_not_fit(label(metadata.path), metadata.dimensions, plan, machine)


def with_workers(machine: Machine, workers: Iterable[Device]) -> Machine:
    """``machine`` with the devices of other machines, after its own."""
    remote = (
        Memory(each.free, each.total, f"{each.name} at {each.description}") for each in workers
    )
    return replace(machine, gpus=(*machine.gpus, *remote))


def measured_machine(paths: Paths, clock: Callable[[], float] = time.time) -> Machine:
    """The memory of this machine, and its memory bandwidth.

    Measures for some tenths of a second where that was not done within an hour; the best of all
    measurements counts.

    Raises:
        ModelError: llama.cpp cannot be loaded.
    """
    machine, now = this_machine(), clock()
    name = machine_name()
    with MetadataCache(paths) as metadata_cache:
        rate, at = metadata_cache.machine_rate(name)
        can_measure = machine.memory is None or machine.memory.free > 2 * RATE_MEMORY
        if can_measure and not 0 <= now - at < AGAIN:
            rate = max(rate, weights_rate())
            metadata_cache.record_machine_rate(name, rate, now)
    return replace(machine, speed=rate)


def known_machine(metadata_cache: MetadataCache) -> Machine:
    """The memory of this machine, and its memory bandwidth where that was measured before."""
    rate, _ = metadata_cache.machine_rate(machine_name())
    return replace(this_machine(), speed=rate)


def estimated_speed(metadata: ModelMetadata, machine: Machine) -> float:
    """Expected decode speed in tokens per second with a short context; 0 when unknown."""
    from tchat.models.fit_report import default_plan, expected_speed

    plan = default_plan(metadata.dimensions, metadata.context_length, machine)
    return expected_speed(metadata.dimensions, plan, machine)


def machine_name() -> str:
    """The key of this machine's measurement: name, threads and build."""
    import platform

    return f"{platform.node()} {default_threads()} {build_name()}"


def record_throughput(paths: Paths, metadata: ModelMetadata, reply: Finished) -> None:
    """Record the throughput of a reply, if it is long enough, and of a model on this machine."""
    if metadata.size and reply.usage.completion >= LEAST_REPLY:
        rate = Timings.rate(reply.usage.completion, reply.timings.decode)
        with MetadataCache(paths) as metadata_cache:
            metadata_cache.record_speed(metadata, rate)
