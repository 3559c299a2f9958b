"""The sessions of a process that may be in memory only, until the disk takes them."""

from __future__ import annotations

import threading

from tchat.errors import StorageError
from tchat.sessions.fallback_store import FallbackStore
from tchat.sessions.store import SessionStore


class FallbackStores:
    """Hands out the store of each session, and keeps what could not be stored of those left.

    Threads may share it. Only `write_back` may take long.
    """

    def __init__(self) -> None:
        self._stores: list[FallbackStore] = []
        self._lock = threading.Lock()

    @property
    def failure(self) -> StorageError | None:
        """Why something is in memory only; None when all is stored."""
        return next((store.failure for store in self._waiting()), None)

    def open(self, persistent: SessionStore, session_id: str = "") -> FallbackStore:
        """The store of a session: with what is only in memory of it, where there is something.

        Args:
            persistent: Where it belongs.
            session_id: The session; empty for a new one.
        """
        for store in self._waiting():
            if session_id and store.session_id == session_id:
                return store
        store = FallbackStore(persistent, session_id)
        with self._lock:
            self._stores.append(store)
        return store

    def discard(self, session_id: str) -> None:
        """Forget what is only in memory of a session that was deleted."""
        with self._lock:
            self._stores = [each for each in self._stores if each.session_id != session_id]

    def write_back(self) -> None:
        """Store every session that is only in memory.

        Raises:
            StorageError: One of them cannot be stored; it stays in memory, the others are stored.
        """
        failure: StorageError | None = None
        for store in self._waiting():
            try:
                store.write_back()
            except StorageError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Forget all that is in memory."""
        for store in self._stores:
            store.close()

    def _waiting(self) -> list[FallbackStore]:
        with self._lock:
            return [store for store in self._stores if store.failure is not None]
