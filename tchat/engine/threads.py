"""How many threads a decode uses: physical cores at most, fewer while others use the cores.

llama.cpp's threads wait for each other by spinning. One thread more than there are idle cores costs
most of the speed: 2 threads beside one busy core of two decoded 10-27 tokens a second, 1 thread 54,
and 2 threads 92 with both cores idle (starter model). A fixed number is wrong in one of the two. So
the CPU load proposes another number, a trial of some decodes measures it, and the faster one stays.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def default_threads() -> int:
    """Physical cores within this process's affinity mask and cgroup quota, at least 1."""
    usable = usable_cpus()
    cores = _count_cores(usable)
    quota = _cgroup_quota()
    return max(1, min(cores, quota) if quota else cores)


def usable_cpus() -> frozenset[int]:
    """Logical CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _count_cores(cpus: frozenset[int]) -> int:
    if sys.platform == "darwin":
        return _darwin_performance_cores() or len(cpus)
    siblings = {_core_of(cpu) for cpu in cpus}
    return len(siblings)


def _core_of(cpu: int) -> str:
    """Name of the physical core of a logical CPU; where it is unknown, the CPU counts as a core."""
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    try:
        return (topology / "thread_siblings_list").read_text().strip()
    except OSError:
        return f"cpu{cpu}"


def _darwin_performance_cores() -> int:
    """Efficiency cores would slow down all threads, so they are left out."""
    import subprocess  # 9 ms, which only macOS needs

    command = ["/usr/sbin/sysctl", "-n", "hw.perflevel0.physicalcpu"]
    try:
        return int(subprocess.run(command, capture_output=True, check=True, timeout=2).stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def _cgroup_quota(
    root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc/self/cgroup")
) -> int:
    """CPUs of the cgroup's quota, rounded up; 0 without a quota (cgroup v2, then v1)."""
    shares = [_quota_v2(folder / "cpu.max") for folder in _own_groups(root, proc)]
    shares.append(_quota_v1(root / "cpu"))
    granted = [share for share in shares if share > 0]
    return max(1, -int(-min(granted) // 1)) if granted else 0


def _own_groups(root: Path, proc: Path) -> list[Path]:
    """The cgroup v2 folder of this process and its ancestors; any of them may have a quota."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return [root]
    names = [line.removeprefix("0::/") for line in lines if line.startswith("0::/")]
    group = root / (names[0] if names else "")
    return [group, *(parent for parent in group.parents if parent.is_relative_to(root))]


def _quota_v2(path: Path) -> float:
    try:
        quota, period = path.read_text().split()
        return 0.0 if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return 0.0


def _quota_v1(folder: Path) -> float:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return max(0.0, quota / int((folder / "cpu.cfs_period_us").read_text()))
    except (OSError, ValueError, ZeroDivisionError):
        return 0.0


@dataclass(frozen=True, slots=True)
class LoadSample:
    """Cores that ran anything over a period, and idle ones; what a hypervisor took is busy."""

    busy: float
    idle: float


class CpuLoad:
    """The load of the CPUs that this process may use (Linux: ``/proc/stat``).

    ``cost`` is the seconds that reading took, which grows with the machine's CPUs.
    """

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self._stat = stat
        self._cpus = {f"cpu{cpu}" for cpu in usable_cpus()}
        self._available = sys.platform == "linux" and stat.exists()
        self._last = self._read()
        self.cost = 0.0

    def since_last(self) -> LoadSample | None:
        """The load since the last call; None on systems without these counters."""
        if not self._available:
            return None
        started = time.perf_counter()
        (busy, idle, at), before = self._read(), self._last
        self._last = busy, idle, at
        self.cost = time.perf_counter() - started
        seconds = max(at - before[2], 1e-3)
        return LoadSample((busy - before[0]) / seconds, (idle - before[1]) / seconds)

    def _read(self) -> tuple[float, float, float]:
        """Busy and idle seconds of the usable CPUs since boot, and the time."""
        busy = idle = 0
        try:
            text = self._stat.read_text() if self._available else ""
        except OSError:
            self._available, text = False, ""
        for line in text.splitlines():
            name, *counts = line.split()
            if name in self._cpus:
                ticks = [int(count) for count in counts[:8]]  # guest time is in user time
                idle += ticks[3] + ticks[4]
                busy += sum(ticks) - ticks[3] - ticks[4]
            elif not name.startswith("cpu"):
                break
        tick = os.sysconf("SC_CLK_TCK") if self._available else 1
        return busy / tick, idle / tick, time.perf_counter()


FEW_TOKENS = 16  # tokens; a decode of one is bound by memory, one of more than these by arithmetic
WINDOW_SECONDS = 0.1  # seconds between two looks at the load; the kernel counts in hundredths
MIN_OTHERS = 0.25  # cores used by others from which fewer threads are worth a trial
MIN_IDLE = 0.6  # idle cores from which more threads are
SLOWDOWN = 1.3  # times the best time, from which fewer are, where the load is unknown too
TRIAL_GAIN = 0.95  # a trial must get below this share of the time
TRIAL_LOSS = 1.5  # mean decodes that a trial may lose; beside a busy core, one decode loses more
PAUSE_SECONDS = 0.5  # seconds between two decodes after which the load is measured anew
BACKOFF_SECONDS = (0.3, 10.0)  # seconds of decodes after a trial that failed: at first, and at most
RETRY_SECONDS = 5.0  # of decodes after a trial; then more threads are tried whatever the load
TRIAL_SECONDS = 0.1  # seconds of decodes of a trial: at least one decode, at most 8

Clock = Callable[[], float]


class AdaptiveThreads:
    """Chooses the number of threads of each decode: ``maximum`` at first and at most.

    ``pinned`` keeps it there. ``thread_clock`` counts the CPU time of this thread.
    """

    def __init__(
        self,
        maximum: int,
        *,
        pinned: bool = False,
        load: CpuLoad | None = None,
        clock: Clock = time.perf_counter,
        thread_clock: Clock = time.thread_time,
    ) -> None:
        self.maximum = maximum
        self._load = None if pinned or maximum == 1 else load or CpuLoad()
        self._clock, self._thread_clock = clock, thread_clock
        self._decode, self._few, self._prefill = (ThreadCount(maximum) for _ in range(3))
        self._window: tuple[float, float] | None = None
        self._ended = 0.0  # when the last decode ended
        self._spent = 0.0  # seconds in decodes: the clock of trials

    def threads(self, tokens: int) -> int:
        """Threads for the next decode, of ``tokens`` tokens."""
        return self.maximum if self._load is None else self._count(tokens).threads

    def record(self, tokens: int, seconds: float) -> None:
        """Record the seconds of the last decode, with the threads of `threads`."""
        if self._load is None:
            return
        count, now = self._count(tokens), self._clock()
        self._spent += seconds
        count.record(tokens, seconds, self._spent)
        paused, self._ended = now - seconds - self._ended > PAUSE_SECONDS, now
        if self._window is None or paused:  # what ran meanwhile says nothing about the decodes
            self._load.since_last()
            self._window = now, self._thread_clock()
            return
        length = max(WINDOW_SECONDS, 200 * self._load.cost)
        if not count.in_trial and now - self._window[0] >= length:
            self._end_window(count, self._load, now)

    def _end_window(self, count: ThreadCount, cpus: CpuLoad, now: float) -> None:
        """Measure the load of a window, and let ``count`` start a trial by it."""
        assert self._window is not None  # noqa: S101  `record` saw it
        (started, before), used = self._window, self._thread_clock()
        self._window = now, used
        load = cpus.since_last()
        if load is None:
            count.consider(0, 1, self._spent)
            return
        # All threads of a decode spin alike, so each uses as much CPU time as this one.
        own = count.threads * max(0.0, used - before) / (now - started)
        others, usable = load.busy - own, load.busy + load.idle
        # What shares cores gets less than it wants, in proportion to the threads on either side.
        demand = count.threads * others / max(usable - others, 1)
        fewer = max(1, round(count.threads + demand - usable)) if others >= MIN_OTHERS else 0
        more = max(1, round(load.idle - 0.2)) if load.idle >= MIN_IDLE else 0
        count.consider(fewer, more, self._spent)

    def _count(self, tokens: int) -> ThreadCount:
        if tokens == 1:
            return self._decode
        return self._few if tokens <= FEW_TOKENS else self._prefill


class ThreadCount:
    """The number of ``threads`` for the next decode of one kind, and the times of its decodes."""

    def __init__(self, maximum: int) -> None:
        self.threads = self._kept = self._maximum = maximum
        self._window: list[tuple[int, float]] = []  # decodes: tokens, seconds
        self._best: dict[tuple[int, int], float] = {}  # (threads, tokens): best window's mean
        self._trial: _ThreadTrial | None = None
        self._backoffs = {-1: _Backoff(), 1: _Backoff()}
        self._retry_at = 0.0  # when more threads are tried even without idle cores

    @property
    def in_trial(self) -> bool:
        """Whether a trial is on."""
        return self._trial is not None

    def record(self, tokens: int, seconds: float, now: float) -> None:
        """Record the seconds of a decode of ``tokens`` tokens."""
        if self._trial is None:
            self._window.append((tokens, seconds))
            return
        self._trial.record(tokens, seconds)
        if self._trial.over:
            self._end_trial(self._trial, now)

    def consider(self, fewer: int, more: int, now: float) -> None:
        """End a window; start a trial where there is a reason for one.

        By the CPU load, there are ``fewer`` threads too many, and idle cores for ``more``.
        """
        if not self._window:
            return
        means, slowness = self._means()
        # No idle cores are needed: programs of low priority fill them, and give way.
        if self._kept < self._maximum and (more or now >= self._retry_at):
            way, step = 1, max(more, 1)
        elif self._kept > 1 and (fewer or slowness > SLOWDOWN):
            way, step = -1, max(fewer, 1)
        else:
            return
        backoff = self._backoffs[way]
        if now < backoff.until and slowness < SLOWDOWN * backoff.slowness:
            return
        step = 1 if backoff.failures % 2 else step  # the load may mislead
        self.threads = min(max(self._kept + way * step, 1), self._maximum)
        self._trial = _ThreadTrial(self.threads, means, slowness)

    def _means(self) -> tuple[dict[int, float], float]:
        """Mean seconds by tokens of a decode in the window, and their ratio to the best ones."""
        times: dict[int, list[float]] = {}
        for tokens, seconds in self._window:
            times.setdefault(tokens, []).append(seconds)
        self._window.clear()
        means = {tokens: sum(each) / len(each) for tokens, each in times.items()}
        best = 0.0
        for tokens, mean in means.items():
            key = self._kept, tokens
            self._best[key] = min(mean, self._best.get(key, mean))
            best += self._best[key] * len(times[tokens])
        return means, sum(map(sum, times.values())) / best

    def _end_trial(self, trial: _ThreadTrial, now: float) -> None:
        """End a trial and keep the faster number."""
        backoff = self._backoffs[1 if trial.threads > self._kept else -1]
        if trial.share < TRIAL_GAIN:
            self._kept = trial.threads
            self._backoffs = {-1: _Backoff(), 1: _Backoff()}
        else:
            backoff.fail(now, trial.slowness)
        self._trial, self.threads = None, self._kept
        self._retry_at = now + RETRY_SECONDS


class _ThreadTrial:
    """Decodes with another number of threads, compared with the mean times by tokens before."""

    def __init__(self, threads: int, means: dict[int, float], slowness: float) -> None:
        self.threads = threads
        self.slowness = slowness
        self._means = means
        self._needed = min(max(round(TRIAL_SECONDS / max(means.values())), 1), 8)
        self._times: list[float] = []
        self._expected: list[float] = []
        self._other_sizes = 0  # decodes of a size that the window did not have

    def record(self, tokens: int, seconds: float) -> None:
        """Record the seconds of a decode of ``tokens`` tokens."""
        if tokens in self._means:
            self._times.append(seconds)
            self._expected.append(self._means[tokens])
        else:
            self._other_sizes += 1

    @property
    def over(self) -> bool:
        """Whether it has run long enough, or lost enough."""
        lost = sum(self._times) - sum(self._expected)
        if lost > TRIAL_LOSS * max(self._means.values()):
            return True
        return len(self._times) + self._other_sizes >= self._needed

    @property
    def share(self) -> float:
        """The time that it took as a share of the expected time; infinite when unknown."""
        return sum(self._times) / sum(self._expected) if self._times else math.inf


@dataclass(slots=True)
class _Backoff:
    """How long no trial is made after some that failed."""

    failures: int = 0
    until: float = 0.0
    slowness: float = 0.0

    def fail(self, now: float, slowness: float) -> None:
        self.until = now + min(BACKOFF_SECONDS[0] * 2**self.failures, BACKOFF_SECONDS[1])
        self.slowness = slowness
        self.failures += 1
