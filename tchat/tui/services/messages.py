"""The messages of the open session, read and changed off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar

from tchat.chat.chat import Chat
from tchat.errors import StorageError, UsageError
from tchat.sessions.fallback_store import FallbackStore
from tchat.sessions.records import Deletion, Message, Session
from tchat.sessions.store import SessionStore, Store
from tchat.tui.entries import entries_of, entry_of
from tchat.tui.widgets.transcript.entry import Entry

T = TypeVar("T")


class OpenSession(Protocol):
    """What is open now: a session joined to a model, and where it is stored."""

    @property
    def session(self) -> Session | None:
        """The session; None before the first prompt of a new one."""

    @property
    def chat(self) -> Chat:
        """The session joined to the model."""

    @property
    def store(self) -> FallbackStore:
        """Where the session is stored."""

    @property
    def persistent(self) -> SessionStore:
        """The store of all sessions."""


class MessageService:
    """The messages of the session that is open now, and what is stored of others."""

    def __init__(self, opened: OpenSession) -> None:
        self._opened = opened

    async def entries(self, last: int | None = None) -> list[Entry]:
        """The active path of the session, or the ``last`` so many of it, for the transcript."""
        return await self._read(lambda session: self._entries(session, last), [])

    async def find_entry(self, message_id: int) -> Entry | None:
        """The entry of one message; None when it is not there any more."""

        def read() -> Entry | None:
            try:
                message = self._opened.store.message(message_id)
            except UsageError:
                return None
            places = self._opened.store.positions(message.session_id)
            return entry_of(message, places.get(message.id, (1, 1)))

        return await asyncio.to_thread(read)

    async def message(self, message_id: int) -> Message:
        """One message."""
        return await asyncio.to_thread(self._opened.store.message, message_id)

    async def branch(self, last: int | None = None) -> list[Message]:
        """The active path of the session, or the ``last`` so many of it."""
        return await self._read(lambda session: self._opened.store.branch(session.id, last), [])

    async def tree(self) -> list[Message]:
        """All messages of the session."""
        return await self._read(
            lambda session: list(self._opened.store.tree(session.id).messages), []
        )

    async def flip(self, message_id: int, step: int) -> int | None:
        """Go ``step`` siblings on from a message, to the one returned; None where there is none."""

        def flip() -> int | None:
            siblings = [each.id for each in self._opened.store.siblings(message_id)]
            place = siblings.index(message_id) + step
            if not 0 <= place < len(siblings):
                return None
            self._opened.store.activate(siblings[place])
            return siblings[place]

        return await asyncio.to_thread(flip)

    async def activate(self, message_id: int) -> None:
        """Put a message on the active path."""
        await asyncio.to_thread(self._opened.store.activate, message_id)

    async def pick(self, message_id: int) -> None:
        """Go on with one of several replies; the judge learns from that."""
        await asyncio.to_thread(self._opened.store.pick, message_id)

    async def pin(self, message_id: int, pinned: bool) -> None:
        """Keep a message in the context window, or let it leave like others."""
        await asyncio.to_thread(self._opened.store.pin, message_id, pinned)

    async def rate(self, message_id: int, rating: int) -> None:
        """Call a reply good (1) or bad (-1), or take that back (0)."""
        await asyncio.to_thread(self._opened.store.rate, message_id, rating)

    async def delete_message(self, message_id: int) -> Deletion:
        """Delete a message with all below it, and what is saved of the session."""
        deleted = await asyncio.to_thread(self._opened.store.delete_message, message_id)
        await self.forget(deleted.session.id)
        return deleted

    async def forget(self, session_id: str) -> None:
        """Remove from disk what the model has read of a session, and what was deleted of it."""
        await asyncio.to_thread(self._opened.chat.forget_snapshots, session_id)
        with suppress(StorageError):  # no room, or another process: then the next deletion does it
            await asyncio.to_thread(self._opened.persistent.erase)

    async def restore_message(self, deleted: Deletion) -> None:
        """Undo the deletion of a message."""
        await asyncio.to_thread(self._opened.store.restore, deleted)

    async def rename(self, session_id: str, title: str) -> None:
        """Give a session, this one or another, another title."""
        is_open = self._opened.session is not None and self._opened.session.id == session_id
        store = self._opened.store if is_open else self._opened.persistent
        session = await asyncio.to_thread(store.rename, session_id, title)
        if is_open:
            self._opened.chat.session = session

    def _entries(self, session: Session, last: int | None) -> list[Entry]:
        return entries_of(
            self._opened.store.branch(session.id, last), self._opened.store.positions(session.id)
        )

    async def with_store(self, work: Callable[[Store], T]) -> T:
        """The result of ``work`` with the store of the open session."""
        return await asyncio.to_thread(work, self._opened.store)

    async def _read(self, read: Callable[[Session], T], nothing: T) -> T:
        session = self._opened.session
        return nothing if session is None else await asyncio.to_thread(read, session)
