"""Candidates that are a request each, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import closing

from tchat.engine.events import CandidateEvent, Event
from tchat.servers.connection import Stopped
from tchat.servers.parallel import Maker, merged
from tchat.servers.turn import END, ServerTurn, TurnChunk


class SeveralTurns:
    """The turns of candidates, side by side.

    Threads wait for the servers; what comes is read here. So what waits to be read of a candidate
    that is stopped is dropped, and it ends where the user saw it.

    Args:
        turns: One for each candidate.
        seeds: Theirs.
        stopped: The candidates that the user stopped; others may be added at any time.
        is_cancelled: Whether all are stopped.
    """

    def __init__(
        self,
        turns: Sequence[ServerTurn],
        seeds: Sequence[int],
        stopped: Container[int],
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._turns, self._seeds = turns, seeds
        self._stopped, self._is_cancelled = stopped, is_cancelled
        self._ended: set[int] = set()

    def events(self, most: int) -> Iterator[Event]:
        """The events of all, of which ``most`` are asked for at a time; errors as of a turn."""
        makers = [self._maker(index) for index in range(len(self._turns))]
        with closing(merged(makers, most)) as chunks:
            for index, chunk in chunks:
                if index not in self._ended:
                    yield from self._read(index, chunk)

    def _is_stopped(self, index: int) -> bool:
        return index in self._ended or index in self._stopped or self._is_cancelled()

    def _maker(self, index: int) -> Maker[TurnChunk]:
        def run(is_gone: Callable[[], bool]) -> Iterator[TurnChunk]:
            try:
                if not self._is_stopped(index):
                    yield from self._turns[index].chunks(
                        lambda: is_gone() or self._is_stopped(index)
                    )
                    return
            except Stopped:
                pass
            yield END

        return run

    def _read(self, index: int, chunk: TurnChunk) -> Iterator[Event]:
        turn = self._turns[index]
        if self._is_stopped(index):
            turn.stop(0)
            yield from self._end(index)
            return
        for item in turn.feed(chunk):
            if isinstance(item, tuple):
                yield CandidateEvent(index, item[1])
            elif index == 0:  # the same is told of the others
                yield item
        if chunk is END:
            yield from self._end(index)

    def _end(self, index: int) -> Iterator[Event]:
        self._ended.add(index)
        turn = self._turns[index]
        for event in turn.close(0):
            yield CandidateEvent(index, event)
        yield CandidateEvent(index, turn.finished(0, self._seeds[index]))
