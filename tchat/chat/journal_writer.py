"""Growing replies are written on a thread of their own, so that a slow disk delays no token."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from tchat.errors import StorageError, UsageError

if TYPE_CHECKING:
    from tchat.sessions.store import SessionStore


class JournalWriter:
    """Writes the latest text of each reply to the store; use it as a context manager.

    While one write is under way, newer texts replace those that wait: a disk that is slower than
    the model never makes a queue. The thread is started by the first text.

    Args:
        store: Where the rows are.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._changed = threading.Condition()
        self._waiting: dict[int, tuple[str, str]] = {}
        self._writing: int | None = None
        self._failures: dict[int, StorageError | UsageError] = {}
        self._broken: Exception | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, message_id: int, text: str, reasoning: str) -> None:
        """Let the row of a reply be written soon; returns at once."""
        with self._changed:
            self._waiting[message_id] = (text, reasoning)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
                self._thread.start()

    def failure(self, message_id: int) -> StorageError | UsageError | None:
        """Why the row of a reply could not be written; None while it can."""
        return self._failures.get(message_id)

    def drain(self, message_id: int) -> None:
        """Drop what waits of a reply, and wait until nothing of it is being written.

        Raises:
            Exception: What nobody foresaw in a write.
        """
        with self._changed:
            self._waiting.pop(message_id, None)
            self._changed.wait_for(lambda: self._writing != message_id)
            if self._broken is not None:
                raise self._broken

    def close(self) -> None:
        """End the thread, once what waits is written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = None
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting or self._broken is not None:
                    return
                message_id = next(iter(self._waiting))
                text, reasoning = self._waiting.pop(message_id)
                self._writing = message_id
            try:
                self._store.journal(message_id, text, reasoning)
            except (StorageError, UsageError) as error:  # full disk; deleted by another process
                self._failures[message_id] = error
            except Exception as error:  # noqa: BLE001  `drain` raises it on the caller's thread
                self._broken = error
