"""How many threads decode now: as many as there are free cores, found out by measuring.

llama.cpp's threads wait for each other by spinning. One thread more than there are free cores
costs most of the speed: 2 threads beside one busy core of two wrote 10-27 tokens a second, 1
thread 54, and 92 with both cores free (starter model). A fixed count is wrong in one of the
two. So the load of the cores proposes another count, a trial of some decodes measures it, and the
faster one stays. That also leaves a core to a screen that draws, where it pays.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from tchat.engine.cpu_load import CpuLoad

FEW = 16  # tokens; a decode of one waits for memory, one of more than these for arithmetic
WINDOW = 0.1  # seconds between two looks at the load; the kernel counts in hundredths
TAKEN = 0.25  # cores used by others that make fewer threads worth a trial
FREE = 0.6  # idle cores that make more threads worth one
SLOWER = 1.3  # times the best time, which also does where the system tells no load
GAIN = 0.95  # a trial must get below this share of the time
WASTE = 1.5  # mean decodes that a trial may lose; beside a busy core, one decode loses more
PAUSE = 0.5  # seconds between two decodes, after which the load is looked at anew
REST = (0.3, 10.0)  # seconds of decodes after a trial that failed: at first, and at most
BLIND = 5.0  # seconds of decodes after a trial, one of more threads is due whatever the load
TRIAL = 0.1  # seconds of decodes for a trial, at least one and at most 8

Clock = Callable[[], float]


class AdaptiveThreads:
    """Chooses the threads of each decode.

    Args:
        most: Threads to begin with and never to exceed.
        pinned: Always use ``most``.
        cores: Tells the load of the cores.
        clock: Seconds.
        thread_clock: Seconds of CPU that this thread used.
    """

    def __init__(
        self,
        most: int,
        *,
        pinned: bool = False,
        cores: CpuLoad | None = None,
        clock: Clock = time.perf_counter,
        thread_clock: Clock = time.thread_time,
    ) -> None:
        self.most = most
        self._cores = None if pinned or most == 1 else cores or CpuLoad()
        self._clock, self._thread_clock = clock, thread_clock
        self._writing, self._some, self._reading = (
            ThreadCount(most),
            ThreadCount(most),
            ThreadCount(most),
        )
        self._window: tuple[float, float] | None = None
        self._ended = 0.0  # the last decode
        self._spent = 0.0  # in decodes: what a trial may cost goes by that, not by the time of day

    def threads(self, tokens: int) -> int:
        """Threads for the next decode, of ``tokens`` tokens."""
        return self.most if self._cores is None else self._pace(tokens).threads

    def took(self, tokens: int, seconds: float) -> None:
        """Note that the last decode, with the threads of `threads`, took ``seconds``."""
        if self._cores is None:
            return
        pace, now = self._pace(tokens), self._clock()
        self._spent += seconds
        pace.note(tokens, seconds, self._spent)
        paused, self._ended = now - seconds - self._ended > PAUSE, now
        if self._window is None or paused:  # what ran meanwhile says nothing about the decodes
            self._cores.since_last()
            self._window = now, self._thread_clock()
        elif not pace.tries and now - self._window[0] >= max(WINDOW, 200 * self._cores.cost):
            self._look(pace, self._cores, now)

    def _look(self, pace: ThreadCount, cores: CpuLoad, now: float) -> None:
        """End a window: see what the load was, and what follows from it."""
        assert self._window is not None  # noqa: S101  `took` saw it
        (started, before), used = self._window, self._thread_clock()
        self._window = now, used
        load = cores.since_last()
        if load is None:
            pace.consider(0, 1, self._spent)
            return
        # The other threads of a decode spin while this one does, so they use what it uses.
        own = pace.threads * max(0.0, used - before) / (now - started)
        taken, usable = load.busy - own, load.busy + load.idle
        # Who shares cores with others gets less than it wants: by the threads on either side.
        wanted = pace.threads * taken / max(usable - taken, 1)
        fewer = max(1, round(pace.threads + wanted - usable)) if taken >= TAKEN else 0
        more = max(1, round(load.idle - 0.2)) if load.idle >= FREE else 0
        pace.consider(fewer, more, self._spent)

    def _pace(self, tokens: int) -> ThreadCount:
        if tokens == 1:
            return self._writing
        return self._some if tokens <= FEW else self._reading


class ThreadCount:
    """The count of one kind of decode, and what its decodes take.

    Attributes:
        threads: The count for the next decode.
    """

    def __init__(self, most: int) -> None:
        self.threads = self._kept = self._most = most
        self._window: list[tuple[int, float]] = []  # decodes: tokens, seconds
        self._best: dict[tuple[int, int], float] = {}  # (threads, tokens): best window's mean
        self._trial: _ThreadTrial | None = None
        self._rests = {-1: _Backoff(), 1: _Backoff()}
        self._blind = 0.0  # when more threads are tried without idle cores

    @property
    def tries(self) -> bool:
        """Whether a trial is on."""
        return self._trial is not None

    def note(self, tokens: int, seconds: float, now: float) -> None:
        """Note what a decode of ``tokens`` tokens took."""
        if self._trial is None:
            self._window.append((tokens, seconds))
            return
        self._trial.note(tokens, seconds)
        if self._trial.over:
            self._settle(self._trial, now)

    def consider(self, fewer: int, more: int, now: float) -> None:
        """End a window; begin a trial where there is reason for one.

        Args:
            fewer: Threads too many, by the load of the cores; 0 for none.
            more: Threads that would find a core.
            now: Seconds of decodes so far.
        """
        if not self._window:
            return
        means, slowness = self._means()
        # Idle cores are no condition: what runs at a low priority fills them, and gives way.
        if self._kept < self._most and (more or now >= self._blind):
            way, step = 1, max(more, 1)
        elif self._kept > 1 and (fewer or slowness > SLOWER):
            way, step = -1, max(fewer, 1)
        else:
            return
        rest = self._rests[way]
        if now < rest.until and slowness < SLOWER * rest.slowness:
            return
        step = 1 if rest.failures % 2 else step  # the load may mislead
        self.threads = min(max(self._kept + way * step, 1), self._most)
        self._trial = _ThreadTrial(self.threads, means, slowness)

    def _means(self) -> tuple[dict[int, float], float]:
        """Mean seconds by tokens of a decode in the window, and how many times the best it took."""
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

    def _settle(self, trial: _ThreadTrial, now: float) -> None:
        """End a trial and keep the faster count."""
        rest = self._rests[1 if trial.threads > self._kept else -1]
        if trial.share < GAIN:
            self._kept = trial.threads
            self._rests = {-1: _Backoff(), 1: _Backoff()}
        else:
            rest.fail(now, trial.slowness)
        self._trial, self.threads = None, self._kept
        self._blind = now + BLIND


class _ThreadTrial:
    """Decodes with another count, against the times that they took before.

    Args:
        threads: The other count.
        means: Mean seconds by tokens of a decode.
        slowness: How many times the best that was.
    """

    def __init__(self, threads: int, means: dict[int, float], slowness: float) -> None:
        self.threads = threads
        self.slowness = slowness
        self._means = means
        self._needed = min(max(round(TRIAL / max(means.values())), 1), 8)
        self._times: list[float] = []
        self._expected: list[float] = []
        self._strange = 0  # decodes of a size that the window had not

    def note(self, tokens: int, seconds: float) -> None:
        """Note what a decode of ``tokens`` tokens took."""
        if tokens in self._means:
            self._times.append(seconds)
            self._expected.append(self._means[tokens])
        else:
            self._strange += 1

    @property
    def over(self) -> bool:
        """Whether it has run long enough, or lost enough."""
        lost = sum(self._times) - sum(self._expected)
        if lost > WASTE * max(self._means.values()):
            return True
        return len(self._times) + self._strange >= self._needed

    @property
    def share(self) -> float:
        """The time that it took as a share of what was expected; infinite when nothing is known."""
        return sum(self._times) / sum(self._expected) if self._times else math.inf


@dataclass(slots=True)
class _Backoff:
    """The time without a trial after some that failed."""

    failures: int = 0
    until: float = 0.0
    slowness: float = 0.0

    def fail(self, now: float, slowness: float) -> None:
        self.until = now + min(REST[0] * 2**self.failures, REST[1])
        self.slowness = slowness
        self.failures += 1
