"""Throughput: measured once for the machine, recorded for each model in use."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import replace

from tchat.chat.memory import this_machine
from tchat.engine.binding import NEEDED, build_name, weights_rate
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
    with MetadataCache(paths) as store:
        rate, at = store.machine_rate(name)
        room = machine.memory is None or machine.memory.free > 2 * NEEDED
        if room and not 0 <= now - at < AGAIN:
            rate = max(rate, weights_rate())
            store.record_machine_rate(name, rate, now)
    return replace(machine, speed=rate)


def machine_name() -> str:
    """The key of this machine's measurement: name, threads and build."""
    return f"{platform.node()} {default_threads()} {build_name()}"


def record_throughput(paths: Paths, facts: ModelMetadata, reply: Finished) -> None:
    """Record the throughput of a reply, if it is long enough."""
    if reply.usage.completion >= LEAST_REPLY:
        rate = Timings.rate(reply.usage.completion, reply.timings.decode)
        with MetadataCache(paths) as store:
            store.record_speed(facts, rate)
