"""One session that outlives a full disk: what cannot be written goes on in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from tchat.errors import StorageError
from tchat.sessions import tree, trees
from tchat.sessions.database import Database
from tchat.sessions.records import Session
from tchat.sessions.schema import migrate
from tchat.sessions.store import SessionStore

P = ParamSpec("P")
T = TypeVar("T")


def _sheltered(
    write: Callable[Concatenate[SessionStore, P], T],
) -> Callable[Concatenate[ShelteredStore, P], T]:
    """A method that writes, done again in memory where the disk refuses it."""

    def written(self: ShelteredStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        database = self._database
        try:
            return write(self, *args, **kwargs)
        except StorageError as error:
            self._take_shelter(error, database)
            return write(self, *args, **kwargs)

    return written


class ShelteredStore(SessionStore):
    """A store as one conversation uses it.

    A write that fails copies the session into memory, with the ids of its messages, and is done
    there, as is all that follows: a reply that is being written loses nothing. `write_back` stores
    it when the disk can be written again.

    Args:
        lasting: Stays open when this is closed.
        session_id: The session; empty for one that `create` will begin.

    Attributes:
        failure: Why the session is in memory only; None while it is stored.
    """

    def __init__(self, lasting: SessionStore, session_id: str = "") -> None:
        self.notices = []
        self.recovered = ()
        self.failure: StorageError | None = None
        self._lasting = lasting
        self._session_id = session_id
        self._known: frozenset[int] = frozenset()  # messages that the lasting store has
        self._database, self._writers = lasting._database, lasting._writers
        self._moving = threading.Lock()

    add = _sheltered(SessionStore.add)
    journal = _sheltered(SessionStore.journal)
    finish = _sheltered(SessionStore.finish)
    resume = _sheltered(SessionStore.resume)
    activate = _sheltered(SessionStore.activate)
    pin = _sheltered(SessionStore.pin)
    rate = _sheltered(SessionStore.rate)
    pick = _sheltered(SessionStore.pick)
    note_scores = _sheltered(SessionStore.note_scores)
    delete_message = _sheltered(SessionStore.delete_message)
    restore = _sheltered(SessionStore.restore)
    rename = _sheltered(SessionStore.rename)
    update = _sheltered(SessionStore.update)
    _create = _sheltered(SessionStore.create)

    def create(self, **values: Any) -> Session:
        """Start the session."""
        session = self._create(**values)
        self._session_id = session.id
        return session

    def close(self) -> None:
        """Forget what is in memory."""
        with self._moving:
            if self.failure is not None:
                self._database.close()

    def write_back(self) -> bool:
        """Store what was written in memory; whether there was anything.

        Messages that came since have other ids then. Call it while none is being written.

        Raises:
            StorageError: It still cannot be done; all stays in memory.
        """
        with self._moving:
            if self.failure is None:
                return False
            if self._session_id:
                self._lasting.merge_tree(self.tree(self._session_id), self._known)
            self._database.close()
            self._database, self.failure = self._lasting._database, None
            return True

    def _take_shelter(self, error: StorageError, failed: Database) -> None:
        """Go on in memory; raises ``error`` where that does not help."""
        with self._moving:
            if failed.path is None:
                raise error
            if failed is not self._database:  # another thread was faster
                return
            memory = Database(None)
            migrate(memory)
            try:
                self._copy_to(memory)
            except StorageError:
                memory.close()
                raise error from None
            self._database, self.failure = memory, error

    def _copy_to(self, memory: Database) -> None:
        if not self._session_id:
            return
        source = self._lasting.tree(self._session_id)
        self._known = frozenset(message.id for message in source.messages)
        with self._lasting._database.reading() as connection:
            last_id = tree.last_id(connection)
        with memory.writing() as connection:
            trees.copy(connection, source, last_id)
