"""Several blocking generators side by side, as one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
Maker: TypeAlias = Callable[[Callable[[], bool]], Iterator[T]]

WAITING = 256  # items that may wait to be read
LOOK = 0.05  # seconds between two looks whether the reader is gone


def merged(makers: Sequence[Maker[T]], most: int) -> Generator[tuple[int, T], None, None]:
    """The items of all generators as they come, each with the index of its generator. Close it.

    Args:
        makers: Each makes a generator, which runs on another thread; the argument tells whether
            the reader is gone.
        most: How many run at a time.

    Raises:
        Exception: What a generator raised; the others are ended.
    """
    return _Merger(makers).items(min(most, len(makers)))


class _Merger(Generic[T]):
    def __init__(self, makers: Sequence[Maker[T]]) -> None:
        self._waiting: queue.SimpleQueue[tuple[int, Maker[T]]] = queue.SimpleQueue()
        for pair in enumerate(makers):
            self._waiting.put(pair)
        self._items: queue.Queue[tuple[int, T] | Exception | None] = queue.Queue(WAITING)
        self._is_gone = threading.Event()

    def items(self, workers: int) -> Generator[tuple[int, T], None, None]:
        for _ in range(workers):
            threading.Thread(target=self._work, name="server-candidate", daemon=True).start()
        try:
            while workers:
                item = self._items.get()
                if isinstance(item, Exception):
                    raise item
                if item is None:
                    workers -= 1
                else:
                    yield item
        finally:
            self._is_gone.set()

    def _work(self) -> None:
        try:
            while not self._is_gone.is_set():
                index, make = self._waiting.get_nowait()
                for item in make(self._is_gone.is_set):
                    self._put((index, item))
        except queue.Empty:
            pass
        except Exception as error:  # noqa: BLE001 - raised again by the reader
            self._put(error)
        self._put(None)

    def _put(self, item: tuple[int, T] | Exception | None) -> None:
        while not self._is_gone.is_set():
            try:
                self._items.put(item, timeout=LOOK)
            except queue.Full:
                continue
            return
