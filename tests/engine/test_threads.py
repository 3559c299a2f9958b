"""Threads: the default number, and adaptive threads on machines with a simulated clock."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tchat.engine import threads
from tchat.engine.threads import AdaptiveThreads, CpuLoad, LoadSample
from tests.engine.conftest import OpenEngine


def test_at_least_one_and_no_more_than_usable() -> None:
    assert 1 <= threads.default_threads() <= (os.cpu_count() or 1)


def test_affinity_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert threads.default_threads() == 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, 0),
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 0),
        ({"cpu.max": "nonsense"}, 0),
        ({}, 0),
    ],
)
def test_cgroup_quota(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    own = tmp_path / "self"
    own.write_text("0::/a/b\n")
    assert threads._cgroup_quota(tmp_path, own) == expected


TOKEN = 0.02  # seconds of one thread for a token


@dataclass
class Machine:
    """Cores of which others keep some busy; threads without a core of their own cost dear.

    ``tells`` is whether the system tells its load.
    """

    cores: int
    taken: float = 0.0
    tells: bool = True
    now: float = 0.0
    used: float = 0.0  # by one thread of the decodes
    cost: float = 0.0
    running: float = 0.0

    def seconds(self, threads: int, tokens: int = 1) -> float:
        crowded = threads + self.taken > self.cores
        return TOKEN * tokens / threads * (4 if crowded else 1)

    def since_last(self) -> LoadSample | None:
        busy = min(self.cores, self.running + self.taken)
        return LoadSample(busy, self.cores - busy) if self.tells else None

    def run(self, adaptive: AdaptiveThreads, seconds: float, tokens: int = 1) -> list[int]:
        """Decode for a time; the counts used."""
        counts, end = [], self.now + seconds
        while self.now < end:
            counts.append(adaptive.threads(tokens))
            self.running = counts[-1]
            took = self.seconds(counts[-1], tokens)
            self.now += took
            # A core is shared with whoever wants it too.
            self.used += took * self.cores / max(self.cores, self.running + self.taken)
            adaptive.record(tokens, took)
        return counts


def adaptive_threads(
    machine: Machine, most: int | None = None, *, pinned: bool = False
) -> AdaptiveThreads:
    return AdaptiveThreads(
        most or machine.cores,
        pinned=pinned,
        load=machine,  # type: ignore[arg-type]  # has the one method that is called
        clock=lambda: machine.now,
        thread_clock=lambda: machine.used,
    )


@pytest.mark.parametrize("cores", [2, 4, 16])
def test_a_quiet_machine_is_never_tried_out(cores: int) -> None:
    machine = Machine(cores)
    assert set(machine.run(adaptive_threads(machine), 20)) == {cores}


@pytest.mark.parametrize(("cores", "taken", "best"), [(2, 1, 1), (4, 1, 3), (16, 5, 11)])
def test_taken_cores_are_left_and_free_ones_taken_again(cores: int, taken: int, best: int) -> None:
    machine = Machine(cores)
    adaptive = adaptive_threads(machine)
    machine.run(adaptive, 1)
    machine.taken = taken
    machine.run(adaptive, 3)
    counts = machine.run(adaptive, 10)
    assert counts.count(best) > 0.9 * len(counts)
    machine.taken = 0
    machine.run(adaptive, 3)
    counts = machine.run(adaptive, 10)
    assert counts.count(cores) > 0.9 * len(counts)


def test_it_works_where_the_system_tells_no_load() -> None:
    machine = Machine(2, tells=False)
    adaptive = adaptive_threads(machine)
    machine.run(adaptive, 1)
    machine.taken = 1
    machine.run(adaptive, 3)
    counts = machine.run(adaptive, 20)
    assert counts.count(1) > 0.9 * len(counts)
    machine.taken = 0
    machine.run(adaptive, 12)
    assert set(machine.run(adaptive, 10)) == {2}


def test_cores_that_only_work_of_low_priority_fills_are_taken_again() -> None:
    class Nice(Machine):
        def since_last(self) -> LoadSample | None:
            return LoadSample(self.cores, 0.0)

    machine = Nice(2, taken=1)
    adaptive = adaptive_threads(machine)
    machine.run(adaptive, 3)
    assert adaptive.threads(1) == 1
    machine.taken = 0
    machine.run(adaptive, 7)
    counts = machine.run(adaptive, 10)
    assert counts.count(2) > 0.9 * len(counts)


def test_what_does_not_pay_is_seldom_tried() -> None:
    class Patient(Machine):
        def seconds(self, threads: int, tokens: int = 1) -> float:
            return TOKEN / threads

    machine = Patient(2, taken=0.5)
    adaptive = adaptive_threads(machine)
    machine.run(adaptive, 30)
    counts = machine.run(adaptive, 30)
    assert counts.count(2) > 0.97 * len(counts)


def test_trials_of_threads_that_find_no_core_cost_little() -> None:
    class Crowded(Machine):
        def seconds(self, threads: int, tokens: int = 1) -> float:
            return 3 * TOKEN if threads > 1 else TOKEN

    machine = Crowded(2, taken=1)
    adaptive = adaptive_threads(machine)
    machine.run(adaptive, 3)
    counts = machine.run(adaptive, 60)
    assert 0 < counts.count(2) <= 60 / 5  # one decode a trial, and none in the first five seconds


def test_a_pause_between_replies_is_no_reason_for_a_trial() -> None:
    class Resting(Machine):
        """While nothing is decoded here, what is busy beside it rests too."""

        looked = 0.0

        def since_last(self) -> LoadSample | None:
            paused, self.looked = self.now - self.looked > 1, self.now
            return LoadSample(0.1, self.cores - 0.1) if paused else super().since_last()

    machine = Resting(2, taken=1)
    adaptive = adaptive_threads(machine)
    machine.run(adaptive, 3)
    counts: list[int] = []
    for _ in range(5):
        machine.now += 20
        counts += machine.run(adaptive, 0.3)
    assert set(counts) == {1}


def test_prefill_and_decode_have_thread_counts_of_their_own() -> None:
    class Reader(Machine):
        def seconds(self, threads: int, tokens: int = 1) -> float:
            return 1.0 / threads if tokens > 1 else super().seconds(threads)

    machine = Reader(2, taken=1)
    adaptive = adaptive_threads(machine)
    for _ in range(5):
        machine.run(adaptive, 3, tokens=512)
        machine.run(adaptive, 3)
    assert (adaptive.threads(512), adaptive.threads(1)) == (2, 1)


def test_sizes_that_come_and_go_end_no_trial_for_ever() -> None:
    machine = Machine(2, taken=1)
    adaptive = adaptive_threads(machine)
    machine.run(adaptive, 0.5, tokens=4)
    machine.run(adaptive, 5, tokens=3)
    counts = machine.run(adaptive, 5, tokens=2)
    assert counts.count(1) > 0.9 * len(counts)


def test_a_pinned_count_stays() -> None:
    machine = Machine(4, taken=3)
    assert set(machine.run(adaptive_threads(machine, 3, pinned=True), 5)) == {3}


def test_the_kernel_account_is_read_for_the_cpus_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tchat.engine.threads.usable_cpus", lambda: frozenset({0, 3}))
    monkeypatch.setattr("tchat.engine.threads.time.perf_counter", iter((0, 1, 2, 3)).__next__)
    stat = tmp_path / "stat"

    def write(line: Callable[[int], str]) -> None:
        lines = [f"cpu{cpu} {line(cpu)}" for cpu in range(4)]
        stat.write_text("\n".join(["cpu  9 9 9 9 9 9 9 9 0 0", *lines, "intr 1"]))

    write(lambda cpu: "100 0 0 1000 0 0 0 0 0 0")
    cores = CpuLoad(stat)
    # Two seconds later: CPU 0 ran for 1.5 s, one of them for its hypervisor; CPU 3 stood still.
    write(lambda cpu: "150 0 0 1030 20 0 0 100 0 0" if cpu == 0 else "100 0 0 1200 0 0 0 0 0 0")
    assert cores.since_last() == LoadSample(busy=0.75, idle=1.25)


def test_threads_of_an_engine_are_pinned_or_adaptive(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    for asked, most, free in ((1, 1, False), (3, 3, False), (0, None, True)):
        engine = open_engine(tiny_model, threads=asked)
        list(engine.load())
        adaptive = engine._ready.context._adaptive
        assert most is None or adaptive.maximum == most
        assert (adaptive._load is not None) == (free and adaptive.maximum > 1)
