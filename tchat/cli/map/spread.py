"""Rows over workers on other machines: who gets which, and what becomes of those that are lost."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from tchat.engine.batch import BatchResult, BatchTask
from tchat.engine.binding import Cancel
from tchat.engine.events import Notice
from tchat.engine.prompt import ChatMessage
from tchat.errors import NetworkError, TchatError
from tchat.translation import tr, trn

LOOK = 0.1  # seconds between two looks whether to stop
AHEAD = 2  # chunks that a worker has at a time, so that it never waits for the next
TRIES = 3  # of a row whose worker is lost
PATIENCE = 60.0  # seconds without any worker


@dataclass(frozen=True, slots=True)
class RemoteRow:
    """A row as it is sent."""

    index: int
    messages: Sequence[ChatMessage]


Chunk: TypeAlias = Sequence[RemoteRow]


class WorkerLost(Exception):
    """A worker ended before it had answered; the others go on."""


class Fleet(Protocol):
    """Workers that answer chunks of rows. A worker and a handle are whatever it likes."""

    def ready(self) -> Collection[Any]:
        """The workers that have their model; it starts others for those that are lost.

        Raises:
            TchatError: The model cannot be loaded there.
        """

    def submit(self, worker: Any, chunk: Chunk) -> Any:
        """Let ``worker`` answer ``chunk``; returns a handle."""

    def wait(self, handles: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Those of ``handles`` that have an outcome, after ``seconds`` at the latest."""

    def results(self, worker: Any, handle: Any) -> Sequence[BatchResult]:
        """The outcome of a handle.

        Raises:
            WorkerLost: There is none.
            TchatError: It cannot be answered, as no other chunk can.
        """


def spread(
    tasks: Sequence[BatchTask], fleet: Fleet, size: int, cancel: Cancel
) -> Iterator[BatchResult | Notice]:
    """Answer all ``tasks``, in chunks of ``size``; results come as chunks are done.

    The rows of a worker that is lost are asked again, one by one, in case that one of them is the
    reason. Unfinished tasks have no result when ``cancel`` is set.

    Raises:
        NetworkError: There is no worker, for `PATIENCE` seconds.
        TchatError: The model cannot be loaded there.
    """
    yield from _Spread(tasks, fleet, size, cancel).results()


class _Spread:
    def __init__(self, tasks: Sequence[BatchTask], fleet: Fleet, size: int, cancel: Cancel) -> None:
        self._tasks, self._fleet, self._size, self._cancel = deque(tasks), fleet, size, cancel
        self._again: deque[RemoteRow] = deque()
        self._failed: list[BatchResult] = []  # rows that cannot be made
        self._losses: Counter[int] = Counter()
        self._open: dict[Any, tuple[Any, Chunk]] = {}

    def results(self) -> Iterator[BatchResult | Notice]:
        alone = time.monotonic()  # since when there is no worker
        while (self._tasks or self._again or self._open) and not self._cancel.is_set():
            workers = self._fleet.ready()
            if workers or self._open:
                alone = time.monotonic()
            elif time.monotonic() - alone > PATIENCE:
                raise NetworkError(
                    tr("there is no worker for {seconds:.0f} seconds", seconds=PATIENCE),
                    tr("look at `ray status`; with -o, running it again resumes"),
                )
            self._submit(workers)
            yield from self._failed
            self._failed.clear()
            if self._open:
                for handle in self._fleet.wait(list(self._open), LOOK):
                    yield from self._outcome(handle)
            elif not workers:
                time.sleep(LOOK)

    def _submit(self, workers: Collection[Any]) -> None:
        """Give the workers what they can take."""
        loads = Counter(worker for worker, _ in self._open.values())
        for load in range(AHEAD):
            for worker in workers:
                if loads[worker] <= load and (chunk := self._chunk()):
                    self._open[self._fleet.submit(worker, chunk)] = worker, chunk
                    loads[worker] += 1

    def _chunk(self) -> Chunk:
        if self._again:
            return [self._again.popleft()]
        chunk: list[RemoteRow] = []
        while self._tasks and len(chunk) < self._size:
            task = self._tasks.popleft()
            try:
                chunk.append(RemoteRow(task.index, task.ask()))
            except TchatError as error:
                self._failed.append(BatchResult(task.index, error))
        return chunk

    def _outcome(self, handle: Any) -> Iterator[BatchResult | Notice]:
        worker, chunk = self._open.pop(handle)
        try:
            found = self._fleet.results(worker, handle)
        except WorkerLost as lost:
            reason = str(lost)
        else:
            yield from found
            return
        self._losses.update(row.index for row in chunk)
        rows = trn("{count:,} row is", "{count:,} rows are", len(chunk))
        text = tr("a worker is lost: {reason}; {rows} asked again", reason=reason, rows=rows)
        yield Notice("server", text)
        for row in chunk:
            if self._losses[row.index] < TRIES:
                self._again.append(row)
            else:
                error = NetworkError(tr("its worker was lost {count} times", count=TRIES))
                yield BatchResult(row.index, error)
