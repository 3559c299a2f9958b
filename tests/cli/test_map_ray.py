"""`tchat map --ray`: rows over a cluster of two nodes on this machine.

``pytest -m "ray and long"`` removes 100 nodes at random points.
"""

from __future__ import annotations

import importlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tchat.cli.map.ray_rows import RayFleet
from tchat.cli.map.spread import AHEAD, TRIES, Chunk, WorkerLost
from tests.cli.test_map import FLAGS, WORDS, records, tchat_map

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(240),
    # Of Ray's own processes and sockets.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(autouse=True)
def model(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCHAT_MODEL", str(tiny_model))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.txt"
    path.write_text("".join(f"say {word} {n}\n" for n in range(24) for word in WORDS))
    return path


@pytest.fixture
def cluster(home: Path) -> Iterator[Any]:
    """A cluster with a node of one CPU beside its head, which has one too."""
    module = importlib.import_module("ray.cluster_utils")
    found = module.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        yield found
    finally:
        found.shutdown()


def cut_power(cluster: Any, node: Any) -> None:
    """Remove ``node`` with all its workers, which alone would end a little later."""
    raylet = node.all_processes["raylet"][0].process.pid
    workers = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            if int(path.read_text().rpartition(")")[2].split()[1]) == raylet:
                workers.append(int(path.parent.name))
    cluster.remove_node(node, allow_graceful=False)
    for worker in workers:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


def test_rows_over_two_nodes_are_those_of_one_process(
    cluster: Any, rows: Path, tmp_path: Path
) -> None:
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    call = ("why {}", str(rows), "--temp", "0", "--parallel", "4", *FLAGS)
    output = tmp_path / "out.jsonl"
    ran = tchat_map(*call, "--ray", cluster.address, "-o", str(output))
    assert ran.code == 0, ran.err
    assert "2 workers on 2 nodes" in ran.err
    whole = tmp_path / "whole.jsonl"
    assert tchat_map(*call, "-o", str(whole)).code == 0
    assert output.read_bytes() == whole.read_bytes()
    again = tchat_map(*call, "--ray", cluster.address, "-o", str(output))
    assert "120 of 120 rows are there already" in again.err


def test_a_node_that_is_removed_costs_only_its_rows_in_flight(
    cluster: Any, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    output = tmp_path / "out.jsonl"
    ready, submit = RayFleet.ready, RayFleet.submit
    asked: list[int] = []

    def both_at_first(fleet: RayFleet) -> Collection[Any]:
        found = ready(fleet)
        return found if asked or len(found) == 2 else []

    def removing(fleet: RayFleet, worker: Any, chunk: Chunk) -> Any:
        before = len(asked)
        asked.extend(row.index for row in chunk)
        handle = submit(fleet, worker, chunk)
        if before < 40 <= len(asked):
            cut_power(cluster, node)
        return handle

    monkeypatch.setattr(RayFleet, "ready", both_at_first)
    monkeypatch.setattr(RayFleet, "submit", removing)
    call = ("why {}", str(rows), "--temp", "0", "--parallel", "4", *FLAGS)
    ran = tchat_map(*call, "--ray", cluster.address, "-o", str(output))
    assert ran.code == 0, ran.err
    assert "a worker is lost: " in ran.err
    assert 120 < len(asked) <= 120 + AHEAD * 4
    assert [record["index"] for record in records(output.read_text())] == list(range(120))
    assert all(record["output"] for record in records(output.read_text()))


class PowerCuts:
    """Cuts the power of one of two nodes at random points of a map, and adds another for it.

    Attributes:
        cuts: How many so far.
        asked: How many times each row was submitted.
        lost: How many times each row was in flight on a node that died.
    """

    def __init__(self, cluster: Any, most: int, seed: int) -> None:
        self.cuts = 0
        self.asked: Counter[int] = Counter()
        self.lost: Counter[int] = Counter()
        self._cluster, self._most, self._drawn = cluster, most, random.Random(seed)
        self._nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        self._left = 0  # chunks to submit until the next one; 0 while a worker is missing
        self._rows: dict[Any, Chunk] = {}

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Watch the fleets of this process."""
        ready, submit, results = RayFleet.ready, RayFleet.submit, RayFleet.results

        def both(fleet: RayFleet) -> Collection[Any]:
            found = ready(fleet)
            if len(found) == 2 and not self._left and self.cuts < self._most:
                self._left = self._drawn.randint(1, 24)
            return found if self._left or self.cuts == self._most else []

        def submitting(fleet: RayFleet, worker: Any, chunk: Chunk) -> Any:
            handle = submit(fleet, worker, chunk)
            self._rows[handle] = chunk
            self.asked.update(row.index for row in chunk)
            if self._left:
                self._left -= 1
                if not self._left:
                    self._cut()
            return handle

        def reading(fleet: RayFleet, worker: Any, handle: Any) -> Any:
            chunk = self._rows.pop(handle)
            try:
                return results(fleet, worker, handle)
            except WorkerLost:
                self.lost.update(row.index for row in chunk)
                raise

        monkeypatch.setattr(RayFleet, "ready", both)
        monkeypatch.setattr(RayFleet, "submit", submitting)
        monkeypatch.setattr(RayFleet, "results", reading)

    def _cut(self) -> None:
        time.sleep(self._drawn.uniform(0, 0.1))
        cut_power(self._cluster, self._nodes.pop(self._drawn.randrange(2)))
        self._nodes.append(self._cluster.add_node(num_cpus=1))
        self.cuts += 1


@pytest.mark.parametrize(
    "cuts", [2, pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)
def test_nodes_that_die_at_random_points_lose_nothing(
    cuts: int,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record: Callable[[str, int], None],
) -> None:
    count = 60 * cuts
    rows = tmp_path / "rows.txt"
    rows.write_text("".join(f"say {n}\n" for n in range(count)))
    call = ("why {}", str(rows), "--temp", "0", "--parallel", "4", *FLAGS)
    whole = tmp_path / "whole.jsonl"
    assert tchat_map(*call, "-o", str(whole)).code == 0
    module = importlib.import_module("ray.cluster_utils")
    cluster = module.Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0},
        shutdown_at_exit=False,  # nodes are added on another thread, where no signal can be handled
    )
    try:
        power = PowerCuts(cluster, cuts, seed=1)
        power.install(monkeypatch)
        cluster.wait_for_nodes()
        output = tmp_path / "out.jsonl"
        ran = tchat_map(*call, "--ray", cluster.address, "-o", str(output))
    finally:
        cluster.shutdown()
    assert power.cuts == cuts, ran.err
    # A row that three workers were lost with is given up, as it may be the reason.
    given_up = {index for index, times in power.lost.items() if times == TRIES}
    failed = {each["index"] for each in records(output.read_text()) if "error" in each}
    assert failed == given_up
    assert power.asked + Counter(given_up) == Counter(range(count)) + power.lost
    assert sum(power.lost.values()) <= cuts * AHEAD * 4
    assert tchat_map(*call, "-o", str(output)).code == 0
    found, expected = (records(path.read_text()) for path in (output, whole))
    assert [each["index"] for each in found] == list(range(count))
    # In a batch of another size the sums round otherwise, and greedy tokens may differ.
    changed = {each["index"] for each, other in zip(found, expected, strict=True) if each != other}
    assert changed <= set(power.lost)
    record("nodes removed", cuts)
    record("rows asked again", sum(power.lost.values()))


def test_no_cluster_is_one_line(home: Path, rows: Path) -> None:
    ran = tchat_map("why {}", str(rows), "--ray", "127.0.0.1:9", *FLAGS)
    assert ran.code == 5
    assert len(ran.err.splitlines()) == 1
    assert "cannot join the Ray cluster 127.0.0.1:9" in ran.err


def test_a_local_cluster_starts_and_ends_by_itself(home: Path, rows: Path) -> None:
    ran = tchat_map("why {}", str(rows), "--ray", "local", "--workers", "1", *FLAGS)
    assert len(records(ran.out)) == 120
    assert os.environ.get("RAY_ADDRESS") is None
