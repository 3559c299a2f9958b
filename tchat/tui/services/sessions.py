"""All stored sessions, off the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from tchat.chat.session_export import write_session
from tchat.sessions.records import Deletion, SearchHit, Session
from tchat.tui.services.conversation import Conversation


class SessionService:
    """The stored sessions as `SessionsScreen` uses them; what was deleted can be brought back.

    Every method raises `StorageError` and `UsageError` as the store does.
    """

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._deleted: dict[str, Deletion] = {}

    async def sessions(self) -> list[Session]:
        """The stored sessions, the one used last first."""
        return await asyncio.to_thread(self._conversation.persistent.sessions)

    async def find(self, piece: str) -> Session:
        """The stored session whose id begins or ends with ``piece``."""
        return await asyncio.to_thread(self._conversation.persistent.get, piece)

    async def search(self, query: str) -> Sequence[SearchHit]:
        """The messages that contain the words of ``query``; ends when it is cancelled."""
        stopped = threading.Event()
        try:
            return await asyncio.to_thread(
                self._conversation.persistent.search, query, stopped=stopped.is_set
            )
        finally:
            stopped.set()

    async def rename(self, session_id: str, title: str) -> None:
        """Give a session another title."""
        await self._conversation.messages.rename(session_id, title)

    async def delete(self, session_id: str) -> None:
        """Delete a session, so that `restore` can bring it back; an open one is left first."""
        session = self._conversation.session
        if session is not None and session.id == session_id:
            await self._conversation.open(None)
        self._conversation.discard(session_id)
        persistent = self._conversation.persistent
        self._deleted[session_id] = await asyncio.to_thread(persistent.delete, session_id)
        await self._conversation.messages.forget(session_id)

    async def restore(self, session_id: str) -> None:
        """Bring back a session that `delete` took."""
        deleted = self._deleted.pop(session_id)
        await asyncio.to_thread(self._conversation.persistent.restore, deleted)

    async def export(self, session_id: str, name: str = "") -> str:
        """Write a session into a new file, see `write_session`; returns its path.

        Raises:
            UsageError: The file is there already.
            StorageError: It cannot be written.
        """
        conversation = self._conversation
        if conversation.session is not None and conversation.session.id == session_id:
            path = await conversation.messages.with_store(
                lambda store: write_session(store, session_id, name)
            )
        else:
            path = await asyncio.to_thread(write_session, conversation.persistent, session_id, name)
        return str(path)
