"""The bytes of one answer, read in a thread: a silent connection can be noticed and left."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Self, TypeAlias

from tchat.models.hub.api import HubApi
from tchat.models.hub.repo_files import RepoFile

TICK = 0.25  # seconds without a chunk after which the reader hears of it
AHEAD = 4  # chunks of up to 64 KiB that are in memory only: a kill loses them

# A chunk, where the body begins, or how it ended: None, or the failure.
Item: TypeAlias = bytes | int | BaseException | None


class ChunkStream:
    """The bytes of ``file`` from ``start`` on. Leaving the block ends it without waiting."""

    def __init__(self, hub: HubApi, file: RepoFile, start: int) -> None:
        self._items: queue.Queue[Item] = queue.Queue(AHEAD)
        self._left = threading.Event()
        self._thread = threading.Thread(
            target=self._read, args=(hub, file, start), name="pull", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()

    def __iter__(self) -> Iterator[bytes | int]:
        """Where the answer begins, then its chunks; an empty one when none came for `TICK`.

        Raises:
            TchatError: As `HubApi.open`.
        """
        while True:
            try:
                item = self._items.get(timeout=TICK)
            except queue.Empty:
                yield b""
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def _read(self, hub: HubApi, file: RepoFile, start: int) -> None:
        try:
            with hub.open(file, start) as body:
                self._put(body.start)
                for chunk in body.chunks:
                    if not self._put(chunk):
                        return
        except BaseException as error:  # noqa: BLE001 - raised again by the reader
            self._put(error)
        else:
            self._put(None)

    def _put(self, item: Item) -> bool:
        """Hand ``item`` on; False when nobody waits for it any more."""
        while not self._left.is_set():
            try:
                self._items.put(item, timeout=TICK)
            except queue.Full:
                continue
            return True
        return False
