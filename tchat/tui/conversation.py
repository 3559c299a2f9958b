"""The chat as the screen uses it: the engine on its thread, the disk off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from tchat.chat.chat import Chat, Measure
from tchat.engine.async_runner import EngineThread
from tchat.engine.cancel import Cancel
from tchat.engine.events import Event
from tchat.errors import UsageError
from tchat.models.facts import ModelFacts
from tchat.paths import Paths
from tchat.sessions.records import Deleted, Hit, Message, Session
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tchat.tui.entries import entries_of
from tchat.tui.widgets.transcript.entry import Entry

T = TypeVar("T")
Act = Callable[[Chat], Iterator[Event]]


class Conversation:
    """One session joined to one model, for an event loop: every method that may wait is awaited.

    The engine's calls run on one thread. The store's run on others, since it is safe to share and
    the engine may be busy for minutes.
    """

    def __init__(self, settings: Settings, paths: Paths, store: SessionStore) -> None:
        self.settings = settings
        self.paths = paths
        self.cancel = Cancel()
        self.private = store.path is None
        self._store = self._lasting = store
        self._engine = EngineThread(self.cancel)
        self._chat = Chat(settings, paths, store, cancel=self.cancel)

    @property
    def session(self) -> Session | None:
        """The session; None before the first prompt of a new one."""
        return self._chat.session

    @property
    def facts(self) -> ModelFacts | None:
        """What is known of the model's file; None before it was needed."""
        return self._chat.facts

    @property
    def device(self) -> str:
        """Where the model runs."""
        from tchat.engine.llama import backend

        if self.facts is None:
            return ""
        gpu = self.settings.gpu_layers and backend().lib.llama_supports_gpu_offload()
        return "GPU" if gpu else "CPU"

    async def close(self) -> None:
        """Stop what is running and free the model."""
        self.cancel.set()
        await self._engine.run(self._chat.close)
        self._engine.close()

    # The engine

    def stream(self, act: Act) -> AsyncIterator[list[Event]]:
        """Do something with the chat; yields its events in batches."""
        self.cancel.clear()
        chat = self._chat
        return self._engine.stream(lambda: act(chat))

    async def measure(self, draft: str) -> Measure | None:
        """Exact tokens of a draft; None while the model is not loaded."""
        return await asyncio.to_thread(self._chat.measure, draft)

    async def use(self, settings: Settings) -> bool:
        """Take other settings; returns whether the model must be loaded anew for them."""
        before = self.settings
        alike = replace(
            settings,
            sampling=before.sampling,
            think=before.think,
            theme=before.theme,
            markdown=before.markdown,
            show_reasoning=before.show_reasoning,
            log_chats=before.log_chats,
            system=before.system,
            keys=before.keys,
        )
        self.settings = settings
        if alike == before:
            self._chat.settings = settings
            return False
        await self._rejoin(self.session, keep_model=False)
        return True

    # The session

    async def open(self, session: Session | None) -> None:
        """Go on in ``session``, or in a new one; the model stays."""
        await self._rejoin(session, keep_model=True)

    async def set_private(self, private: bool) -> None:
        """Begin a session that is not stored, or one that is."""
        if private == self.private:
            return
        if self._lasting.path is None:
            raise UsageError("this chat was opened to store nothing", "open another without -n")
        self.private = private
        self._store = SessionStore.in_memory() if private else self._lasting
        await self._rejoin(None, keep_model=True)

    async def _rejoin(self, session: Session | None, *, keep_model: bool) -> None:
        """Wait until the engine is free, then join the session to the model, or to another."""
        old = self._chat

        def rejoin() -> Chat:
            model = old.release() if keep_model else None
            old.close()
            return Chat(
                self.settings,
                self.paths,
                self._store,
                session=session,
                cancel=self.cancel,
                model=model,
            )

        self.cancel.set()
        self._chat = await self._engine.run(rejoin)

    async def entries(self) -> list[Entry]:
        """The active path of the session, for the transcript."""
        return await self._read(self._entries, [])

    async def branch(self) -> list[Message]:
        """The active path of the session."""
        return await self._read(lambda session: self._store.branch(session.id), [])

    async def positions(self) -> dict[int, tuple[int, int]]:
        """Which of how many siblings messages are, for those that have any."""
        return await self._read(lambda session: self._store.positions(session.id), {})

    async def tree(self) -> list[Message]:
        """All messages of the session."""
        return await self._read(lambda session: list(self._store.tree(session.id).messages), [])

    async def flip(self, message_id: int, step: int) -> bool:
        """Go ``step`` siblings on from a message; False where there is none."""

        def flip() -> bool:
            siblings = [each.id for each in self._store.siblings(message_id)]
            place = siblings.index(message_id) + step
            if not 0 <= place < len(siblings):
                return False
            self._store.activate(siblings[place])
            return True

        return await asyncio.to_thread(flip)

    async def activate(self, message_id: int) -> None:
        """Put a message on the active path."""
        await asyncio.to_thread(self._store.activate, message_id)

    async def delete_message(self, message_id: int) -> Deleted:
        """Delete a message with all below it."""
        return await asyncio.to_thread(self._store.delete_message, message_id)

    # All sessions

    async def sessions(self) -> list[Session]:
        """The stored sessions, the one used last first."""
        return await asyncio.to_thread(self._lasting.sessions)

    async def find(self, piece: str) -> Session:
        """The stored session whose id begins or ends with ``piece``."""
        return await asyncio.to_thread(self._lasting.get, piece)

    async def search(self, words: str) -> list[Hit]:
        """Messages of stored sessions that contain ``words``."""
        return await asyncio.to_thread(self._lasting.search, words)

    async def rename(self, session_id: str, title: str) -> None:
        """Give a session another title."""
        await asyncio.to_thread(self._lasting.rename, session_id, title)

    async def delete(self, session_id: str) -> Deleted:
        """Delete a session; the one that is open is left first."""
        if self.session is not None and self.session.id == session_id:
            await self.open(None)
        return await asyncio.to_thread(self._lasting.delete, session_id)

    async def restore(self, deleted: Deleted) -> Session:
        """Undo a deletion."""
        return await asyncio.to_thread(self._lasting.restore, deleted)

    async def set_system(self, text: str) -> None:
        """Set the system prompt, of this session when there is one."""
        self.settings = self._chat.settings = replace(self.settings, system=text)
        if self.session is not None:
            session = await asyncio.to_thread(self._store.update, self.session.id, system=text)
            await self.open(session)

    async def export(self, session_id: str) -> str:
        """A session as Markdown."""
        from tchat.sessions.export import to_markdown

        def export() -> str:
            session = self._store.get(session_id)
            return to_markdown(session, self._store.branch(session_id))

        return await asyncio.to_thread(export)

    def _entries(self, session: Session) -> list[Entry]:
        return entries_of(self._store.branch(session.id), self._store.positions(session.id))

    async def _read(self, read: Callable[[Session], T], nothing: T) -> T:
        session = self.session
        return nothing if session is None else await asyncio.to_thread(read, session)
