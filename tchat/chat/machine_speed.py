"""How fast this machine is: its memory bandwidth, and the throughput of replies."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from tchat.chat.memory_check import this_machine
from tchat.engine.binding import RATE_MEMORY, build_name, weights_rate
from tchat.engine.events import Finished, Timings
from tchat.engine.threads import default_threads
from tchat.models.memory import Machine
from tchat.models.metadata import MetadataCache, ModelMetadata
from tchat.paths import Paths

LEAST_REPLY = 32  # tokens that tell how fast a model writes
AGAIN = 3600.0  # seconds after which the machine is measured again: it may have been busy


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
        room = machine.memory is None or machine.memory.free > 2 * RATE_MEMORY
        if room and not 0 <= now - at < AGAIN:
            rate = max(rate, weights_rate())
            metadata_cache.record_machine_rate(name, rate, now)
    return replace(machine, speed=rate)


def machine_name() -> str:
    """The key of this machine's measurement: name, threads and build."""
    import platform

    return f"{platform.node()} {default_threads()} {build_name()}"


def record_throughput(paths: Paths, metadata: ModelMetadata, reply: Finished) -> None:
    """Record the throughput of a reply, if it is long enough."""
    if reply.usage.completion >= LEAST_REPLY:
        rate = Timings.rate(reply.usage.completion, reply.timings.decode)
        with MetadataCache(paths) as metadata_cache:
            metadata_cache.record_speed(metadata, rate)
