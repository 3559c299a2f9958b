"""Keep a session in memory while the disk cannot be written, and write it back later."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from tchat.errors import StorageError, UsageError
from tchat.sessions import message_tree, session_queries
from tchat.sessions.database import Database, DatabaseDamaged, DatabaseReplaced
from tchat.sessions.records import Message, Session
from tchat.sessions.schema import migrate
from tchat.sessions.store import SessionStore, Store

P = ParamSpec("P")
T = TypeVar("T")

# Messages that are made in memory get ids this far above those of the file, at random, so that
# another process does not give out the same ones and they keep them when they are stored.
_FIRST_GAP, _GAPS = 1 << 20, 1 << 32


def _falls_back(
    write: Callable[Concatenate[Store, P], T],
) -> Callable[Concatenate[FallbackStore, P], T]:
    """Wrap a method that writes: retry it in memory when the disk fails."""

    def written(self: FallbackStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._moving:  # nothing is written while the session moves between memory and disk
            try:
                return write(self, *args, **kwargs)
            except StorageError as error:
                self._fall_back(error)
                return write(self, *args, **kwargs)

    return written


class FallbackStore(Store):
    """The store of one conversation, with a fallback to memory.

    A write that fails copies the session into memory, with the ids of its messages, and is done
    there, as is all that follows: a reply that is being written loses nothing. `write_back` stores
    it when the disk can be written again. ``failure`` tells why the session is in memory only.

    Args:
        persistent: Stays open when this is closed.
        session_id: The session; empty for one that `begin` will make.
    """

    def __init__(self, persistent: SessionStore, session_id: str = "") -> None:
        self.notices = []
        self.recovered = ()
        self.failure: StorageError | None = None
        self.session_id = session_id
        self._persistent = persistent
        self._known: frozenset[int] = frozenset()  # messages that the persistent store has
        self._database = persistent._database
        self._left: list[Database] = []  # in memory, and perhaps still being read
        self._moving = threading.RLock()

    add = _falls_back(Store.add)
    journal = _falls_back(Store.journal)
    finish = _falls_back(Store.finish)
    activate = _falls_back(Store.activate)
    pin = _falls_back(Store.pin)
    rate = _falls_back(Store.rate)
    pick = _falls_back(Store.pick)
    record_scores = _falls_back(Store.record_scores)
    delete_message = _falls_back(Store.delete_message)
    restore = _falls_back(Store.restore)
    rename = _falls_back(Store.rename)
    update = _falls_back(Store.update)
    rewrite = _falls_back(Store.rewrite)
    keep_placeholders = _falls_back(Store.keep_placeholders)
    _begin = _falls_back(Store.begin)

    def begin(self, prompt: str, **values: Any) -> tuple[Session, Message]:
        """Start the session with its first message."""
        with self._moving:
            self.session_id = ""
            session, message = self._begin(prompt, **values)
            self.session_id = session.id
            return session, message

    def close(self) -> None:
        """Discard what is in memory."""
        with self._moving:
            if self.failure is not None:
                self._left.append(self._database)
            while self._left:
                self._left.pop().close()

    @property
    def _token(self) -> str:
        return self._persistent._token

    def write_back(self) -> bool:
        """Write what is in memory to the disk; return whether there was anything.

        A reply that is being written goes on in the file. Where the file was deleted, replaced or
        damaged, it is made anew or salvaged.

        Raises:
            StorageError: It still cannot be done; all stays in memory.
        """
        with self._moving:
            if self.failure is None:
                return False
            try:
                self._merge()
            except (DatabaseReplaced, DatabaseDamaged):
                self._persistent.reopen()
                self._merge()
            self._left.append(self._database)
            self._database, self.failure = self._persistent._database, None
            return True

    def _merge(self) -> None:
        if self.session_id:
            self._persistent.merge_tree(self.tree(self.session_id), self._known)

    def _fall_back(self, error: StorageError) -> None:
        """Continue in memory; raise ``error`` if that is not possible."""
        if self._database.path is None:
            raise error
        memory = Database(None)
        migrate(memory)
        try:
            self._copy_to(memory)
        except (StorageError, UsageError):
            memory.close()
            raise error from None
        self._database, self.failure = memory, error

    def _copy_to(self, memory: Database) -> None:
        self._known = frozenset()
        if not self.session_id:
            return
        source = self._persistent.tree(self.session_id)
        with self._persistent._database.reading() as connection:
            last_id = message_tree.last_id(connection)
        with memory.writing() as connection:
            session_queries.copy(
                connection, source, last_id + _FIRST_GAP + secrets.randbelow(_GAPS)
            )
        self._known = frozenset(message.id for message in source.messages)


class FallbackStores:
    """Open the store of each session, and keep what could not be written of closed ones.

    Threads may share it. Only `write_back` may take long.
    """

    def __init__(self) -> None:
        self._stores: list[FallbackStore] = []
        self._lock = threading.Lock()

    @property
    def failure(self) -> StorageError | None:
        """Why something is only in memory; None if all is stored."""
        return next((store.failure for store in self._waiting()), None)

    def open(self, persistent: SessionStore, session_id: str = "") -> FallbackStore:
        """Open the store of a session, with what is only in memory of it; a new one has no id."""
        for store in self._waiting():
            if session_id and store.session_id == session_id:
                return store
        store = FallbackStore(persistent, session_id)
        with self._lock:
            self._stores.append(store)
        return store

    def discard(self, session_id: str) -> None:
        """Discard what is only in memory of a deleted session."""
        with self._lock:
            self._stores = [each for each in self._stores if each.session_id != session_id]

    def write_back(self) -> None:
        """Write every session that is only in memory to the disk.

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
        """Discard everything in memory."""
        for store in self._stores:
            store.close()

    def _waiting(self) -> list[FallbackStore]:
        with self._lock:
            return [store for store in self._stores if store.failure is not None]
