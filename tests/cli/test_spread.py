"""Rows over workers on other machines, with workers that are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest

from tchat.cli.map import spread as module
from tchat.cli.map.spread import Chunk, WorkerLost, spread
from tchat.engine.batch import BatchResult, BatchTask
from tchat.engine.binding import Cancel
from tchat.engine.events import Finished, Notice, Reason, Timings, TokenUsage
from tchat.engine.prompt import ChatMessage
from tchat.errors import ModelInvalid, NetworkError, TchatError, UsageError


def finished(text: str) -> Finished:
    return Finished(Reason.STOP, text, "", 0, TokenUsage(0, 0, 0, 0), Timings(0.0, 0.0, 0.0))


class FakeFleet:
    """Workers by name; ``dies`` says whether one is lost with a chunk."""

    def __init__(self, *names: str, dies: Callable[[str, Chunk], bool] = lambda *_: False) -> None:
        self.names = list(names)
        self.asked: Counter[int] = Counter()
        self.most: Counter[str] = Counter()
        self.sizes: list[int] = []
        self._dies = dies
        self._open: dict[int, tuple[str, Chunk]] = {}

    def ready(self) -> Collection[Any]:
        return self.names

    def submit(self, worker: Any, chunk: Chunk) -> Any:
        self.asked.update(row.index for row in chunk)
        self.sizes.append(len(chunk))
        handle = len(self.sizes)
        self._open[handle] = worker, chunk
        now = sum(each == worker for each, _ in self._open.values())
        self.most[worker] = max(self.most[worker], now)
        return handle

    def wait(self, handles: Sequence[Any], seconds: float) -> Sequence[Any]:
        return handles[-1:]  # the newest first: out of order

    def results(self, worker: Any, handle: Any) -> Sequence[BatchResult]:
        _, chunk = self._open.pop(handle)
        if self._dies(worker, chunk):
            raise WorkerLost(f"{worker} died")
        return [BatchResult(row.index, finished(row.messages[0].content)) for row in chunk]


def tasks(count: int, broken: Collection[int] = ()) -> list[BatchTask]:
    def asking(index: int) -> Callable[[], list[ChatMessage]]:
        def ask() -> list[ChatMessage]:
            if index in broken:
                raise UsageError(f"row {index} is broken")
            return [ChatMessage("user", f"row {index}")]

        return ask

    return [BatchTask(index, asking(index)) for index in range(count)]


def outcomes(items: Sequence[BatchResult | Notice]) -> dict[int, str]:
    found: dict[int, str] = {}
    for item in items:
        if isinstance(item, BatchResult):
            assert item.index not in found
            result = item.result
            found[item.index] = result.text if isinstance(result, Finished) else str(result)
    return found


def whole(count: int) -> dict[int, str]:
    return {index: f"row {index}" for index in range(count)}


def test_each_row_is_answered_once_with_few_chunks_ahead() -> None:
    fleet = FakeFleet("a", "b")
    assert outcomes([*spread(tasks(50), fleet, 4, Cancel())]) == whole(50)
    assert set(fleet.asked.values()) == {1}
    assert fleet.most == {"a": module.AHEAD, "b": module.AHEAD}
    assert max(fleet.sizes) == 4


def test_a_lost_worker_costs_only_its_rows_in_flight() -> None:
    def dies(worker: str, _: Chunk) -> bool:
        if worker == "a" and "a" in fleet.names and fleet.asked.total() > 20:
            fleet.names.remove("a")
        return worker not in fleet.names

    fleet = FakeFleet("a", "b", dies=dies)
    items = [*spread(tasks(60), fleet, 4, Cancel())]
    assert outcomes(items) == whole(60)
    repeated = [index for index, count in fleet.asked.items() if count > 1]
    assert 0 < len(repeated) <= module.AHEAD * 4
    told = [item.text for item in items if isinstance(item, Notice)]
    assert told[0] == "a worker is lost: a died; 4 rows are asked again"


def test_a_row_that_ends_its_worker_fails_alone() -> None:
    fleet = FakeFleet("a", "b", dies=lambda _, chunk: any(row.index == 7 for row in chunk))
    found = outcomes([*spread(tasks(20), fleet, 4, Cancel())])
    assert found.pop(7) == "its worker was lost 3 times"
    assert found == {index: text for index, text in whole(20).items() if index != 7}


def test_rows_that_cannot_be_made_fail_and_go_nowhere() -> None:
    fleet = FakeFleet("a")
    found = outcomes([*spread(tasks(10, broken=[0, 9]), fleet, 4, Cancel())])
    assert found[0] == "row 0 is broken"
    assert found[9] == "row 9 is broken"
    assert len(found) == 10
    assert 0 not in fleet.asked
    assert outcomes([*spread(tasks(2, broken=[0, 1]), fleet, 4, Cancel())]).keys() == {0, 1}


def test_a_worker_that_is_lost_at_the_end_is_not_waited_for() -> None:
    class Last(FakeFleet):
        def results(self, worker: Any, handle: Any) -> Sequence[BatchResult]:
            self.names.clear()
            return FakeFleet.results(self, worker, handle)

    assert outcomes([*spread(tasks(4), Last("a"), 4, Cancel())]) == whole(4)


def test_without_workers_it_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with pytest.raises(NetworkError, match="there is no worker") as caught:
        list(spread(tasks(3), FakeFleet(), 4, Cancel()))
    assert "running it again resumes" in str(caught.value)


def test_an_error_of_the_model_ends_it() -> None:
    class Broken(FakeFleet):
        def results(self, worker: Any, handle: Any) -> Sequence[BatchResult]:
            raise ModelInvalid("the model is broken")

    with pytest.raises(TchatError, match="the model is broken"):
        list(spread(tasks(3), Broken("a"), 4, Cancel()))


def test_it_stops_when_it_is_cancelled() -> None:
    cancel = Cancel()
    found = spread(tasks(50), FakeFleet("a"), 4, cancel)
    next(found)
    cancel.set()
    assert len([*found]) < 8
