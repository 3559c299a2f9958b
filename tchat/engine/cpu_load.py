"""What else runs on the cores that this process may use."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tchat.engine.threads import usable_cpus


@dataclass(frozen=True, slots=True)
class LoadSample:
    """Where the cores went over a stretch of time, in cores.

    Args:
        busy: Cores that ran anything, this process included; also what a hypervisor took.
        idle: Cores that ran nothing.
    """

    busy: float
    idle: float


class CpuLoad:
    """Reads the kernel's account of the cores that this process may use (Linux: ``/proc/stat``).

    Args:
        stat: The account's file.
    """

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self._stat = stat
        self._cpus = {f"cpu{cpu}" for cpu in usable_cpus()}
        self._there = sys.platform == "linux" and stat.exists()
        self._last = self._read()
        self.cost = 0.0

    def since_last(self) -> LoadSample | None:
        """The load since the last call; None where the system tells nothing of the kind.

        Sets ``cost``, the seconds that reading took: it grows with the machine's CPUs.
        """
        if not self._there:
            return None
        started = time.perf_counter()
        (busy, idle, at), before = self._read(), self._last
        self._last = busy, idle, at
        self.cost = time.perf_counter() - started
        seconds = max(at - before[2], 1e-3)
        return LoadSample((busy - before[0]) / seconds, (idle - before[1]) / seconds)

    def _read(self) -> tuple[float, float, float]:
        """Busy and idle seconds of the usable CPUs since the system started, and the time."""
        busy = idle = 0
        try:
            text = self._stat.read_text() if self._there else ""
        except OSError:
            self._there, text = False, ""
        for line in text.splitlines():
            name, *counts = line.split()
            if name in self._cpus:
                ticks = [int(count) for count in counts[:8]]  # guest time is in user time
                idle += ticks[3] + ticks[4]
                busy += sum(ticks) - ticks[3] - ticks[4]
            elif not name.startswith("cpu"):
                break
        tick = os.sysconf("SC_CLK_TCK") if self._there else 1
        return busy / tick, idle / tick, time.perf_counter()
