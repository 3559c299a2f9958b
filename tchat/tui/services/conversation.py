"""The chat as the screen uses it: the engine on its thread, the disk off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import WeakSet

from tchat.chat.chat import Chat
from tchat.chat.destinations import Destinations
from tchat.chat.mcp_servers import ChatServers
from tchat.chat.session import SessionState
from tchat.engine.binding import Cancel
from tchat.engine.engine_thread import EngineWorker, Request
from tchat.engine.events import Event, Notice, PromptProgress
from tchat.errors import StorageError, TchatError
from tchat.paths import Paths
from tchat.settings import Settings, Value, with_values
from tchat.tui.services.mcp_host import ScreenMcpHost
from tchat.tui.services.questions import QuestionService
from tchat.tui.services.tools import ToolService

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.chat.prefill_cost import PrefillCost
    from tchat.chat.prompt_builder import TokenCount
    from tchat.models.metadata import ModelMetadata
    from tchat.sessions.fallback_store import FallbackStore
    from tchat.sessions.records import Session
    from tchat.sessions.store import SessionStore

T = TypeVar("T")
ChatCall = Callable[[Chat], Iterator[Event]]
DraftCall = Callable[[Chat, str], Iterator[Event]]  # with the full text of a draft


class Conversation:
    """One session joined to one model, for an event loop: every method that may wait is awaited.

    The engine's calls run on one thread. The store's run on others, since it is safe to share and
    the engine may be busy for minutes.

    Attributes:
        paths: The user's folders.
        session_state: The settings and the store of the open session.
        chat: The open session joined to the model.
        tools: What the model may call.
        servers: The MCP servers.
        questions: What the user is asked while a turn runs.
        mcp_host: What servers ask.

    Args:
        base: What new sessions begin with; the settings when not given.
        model: The model of the settings, where it is being loaded already.
        cancel: What stops that.
    """

    def __init__(
        self,
        settings: Settings,
        paths: Paths,
        store: SessionStore,
        *,
        base: Settings | None = None,
        model: ChatModel | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        self.paths = paths
        self.session_state = SessionState(settings, store, base)
        self._requests: WeakSet[Request] = WeakSet()  # asked of the engine, and still waited for
        self._counting: asyncio.Future[TokenCount | None] | None = None
        self._draft_generation = 0  # how often a prefill was begun, or idle work stopped
        self._closed = False
        self._engine = EngineWorker()
        self._cancel = cancel or Cancel()
        self.questions = QuestionService(self._cancel)
        self.mcp_host = ScreenMcpHost(self.questions, lambda: self.chat, self._cancel)
        self.servers = ChatServers(paths, self.mcp_host)
        self.tools = ToolService(paths, self._cancel, self.servers, self.questions)
        self.chat = Chat(settings, paths, self.store, cancel=self._cancel, model=model)

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.session_state.settings

    def destinations(self) -> Destinations:
        """Where replies and calls go, as the settings are now."""
        return Destinations(self.settings.servers, self.paths)

    @property
    def private(self) -> bool:
        """Whether nothing is stored."""
        return self.session_state.is_private

    @property
    def persistent(self) -> SessionStore:
        """The store of all sessions."""
        return self.session_state.persistent

    @property
    def store(self) -> FallbackStore:
        """Where the open session is stored."""
        return self.session_state.store

    @property
    def session(self) -> Session | None:
        """The session; None before the first prompt of a new one."""
        return self.chat.session

    @property
    def metadata(self) -> ModelMetadata | None:
        """What is known of the model's file; None before it was needed."""
        return self.chat.metadata

    @property
    def workers(self) -> tuple[str, ...]:
        """Addresses of the workers that the open model is split over."""
        model = self.chat.model
        engine = model.engine.local_engine if model is not None else None
        return engine.options.rpc if engine is not None else ()

    @property
    def is_lost_when_left(self) -> bool:
        """Whether the open session is private and has begun: it ends when another is opened."""
        return self.session_state.is_lost_when_left(self.session)

    @property
    def is_lost_at_quit(self) -> bool:
        """Whether something is lost when tchat ends: a private session, or what is not stored."""
        return self.is_lost_when_left or self.failure is not None

    async def close(self) -> None:
        """Stop what is running, store what is only in memory, and free the model."""
        self._closed = True
        self.stop()
        try:
            await self._engine.run(self.chat.close)
        finally:
            self._engine.close()
            try:
                await asyncio.to_thread(self.servers.close)
                await self._try_to_store()
            finally:
                self.session_state.close()

    # The engine

    def request(self) -> Request:
        """Ask for a turn: what runs is stopped, and the turn can be stopped from now on."""
        self.stop()
        return self._ask()

    def stream(self, call: ChatCall, request: Request) -> AsyncGenerator[list[Event], None]:
        """Do something with the chat for ``request``; yields its events in batches."""
        return self._engine.stream(lambda: call(self.chat), request)

    def turn(self, call: ChatCall, request: Request) -> AsyncGenerator[list[Event], None]:
        """As `stream`, with the tools that are on.

        Raises:
            UsageError: A tool that is on is not there, or what is set for tools is wrong.
        """

        def begin() -> Iterator[Event]:
            problems = self.tools.prepare(
                self.chat, self.persistent, is_private=self.session_state.is_private
            )
            return chain((Notice("tool", each) for each in problems), call(self.chat))

        return self._engine.stream(begin, request)

    async def work(
        self, begin: Callable[[Chat], Iterator[Any]], on_event: Callable[[Any], object]
    ) -> None:
        """Do something long with the model; ``on_event`` gets each event, on the event loop.

        Raises:
            InterruptedError: It was stopped, or something else was asked for.
        """
        request, loop = self.request(), asyncio.get_running_loop()

        def work() -> None:
            if request.is_stopped:
                raise InterruptedError
            for event in begin(self.chat):
                loop.call_soon_threadsafe(on_event, event)

        await self._carry_out(request, work)

    async def save(self) -> None:
        """Save on disk what the model has read of the session; stops when there is other work."""
        if not self._closed:
            self.stop_prefill_draft()
            chat, request = self.chat, self._ask()
            await self._carry_out(
                request, lambda: chat.save_snapshot(lambda: not request.is_stopped)
            )

    async def prefill_draft(self, draft: str, on_event: Callable[[PromptProgress], object]) -> None:
        """Prefill a draft while nothing else is to be done; the next draft stops it.

        ``draft`` is the full text of what would be sent; ``on_event`` is called on the event loop.
        """
        self.stop_prefill_draft()
        generation, request = self._draft_generation, self._ask()
        loop = asyncio.get_running_loop()

        def should_continue() -> bool:
            is_current = self._draft_generation == generation
            return is_current and not request.is_stopped and not self._closed

        def tell(event: PromptProgress) -> None:
            if should_continue():
                on_event(event)

        def read() -> None:
            if should_continue():
                for event in self.chat.prefill_draft(draft, should_continue):
                    loop.call_soon_threadsafe(tell, event)

        await self._carry_out(request, read)

    async def write_title(self) -> tuple[str, bool]:
        """Let the model title the session, see `Chat.write_title`; and whether it came to an end.

        A draft, a prompt and everything else that the engine is asked for stops it.
        """
        generation, request = self._draft_generation, self._ask()

        def should_continue() -> bool:
            is_current = self._draft_generation == generation
            return is_current and not request.is_stopped and not self._closed

        def write() -> str:
            return self.chat.write_title(should_continue) if should_continue() else ""

        title = await self._carry_out(request, write)
        return title, should_continue()

    def stop_prefill_draft(self) -> None:
        """Stop prefilling a draft, soon; what was read is kept for as long as it may be of use."""
        self._draft_generation += 1

    def stop(self) -> None:
        """Stop what the engine does and all that it was asked for, at once."""
        for request in self._requests:
            request.stop()

    def _ask(self) -> Request:
        request = Request(self._cancel)
        self._requests.add(request)
        return request

    async def _carry_out(self, request: Request, work: Callable[[], T]) -> T:
        return await self._engine.run(lambda: request.run(work))

    async def count_draft(self, draft: str) -> TokenCount | None:
        """Exact tokens of a draft; None while the model is not loaded.

        One draft is counted at a time. A thread cannot be cancelled, and counting behind a long
        session takes longer than typing the next word.
        """
        while self._counting is not None and not self._counting.done():
            await asyncio.wait([self._counting])
        counting = asyncio.to_thread(self.chat.count_draft, draft)
        self._counting = asyncio.ensure_future(counting)
        return await asyncio.shield(self._counting)

    async def prefill_cost(self, draft: str, after: int | None = None) -> PrefillCost | None:
        """The prefill cost of the next prompt, see `Chat.prefill_cost`.

        It runs on the engine's thread. None too where it was stopped, or something else was asked
        for.
        """
        self.stop_prefill_draft()
        request = self._ask()

        def measured() -> PrefillCost | None:
            return None if request.is_stopped else self.chat.prefill_cost(draft, after)

        return await self._carry_out(request, measured)

    async def find_model(self, name: str) -> None:
        """Look for the file of a model; one on a server is asked for when it is loaded.

        Raises:
            ModelError: It is not there.
        """
        if replace(self.settings, model=name).server:
            return
        import importlib

        from tchat.models.resolve import resolve

        importlib.invalidate_caches()  # the starter model may have been installed a moment ago
        await asyncio.to_thread(resolve, name, self.paths)

    # Settings

    async def change(self, values: Mapping[str, Value]) -> bool:
        """Take other settings for this chat; returns whether the model must be loaded anew.

        Sampling, reasoning and the system prompt are the session's own and kept with it.
        """
        loads = self.session_state.change(values)
        if self.session is not None:
            self.show_stored(
                await asyncio.to_thread(self.session_state.save_settings, self.session, values)
            )
        if loads:
            await self._rejoin(self.session, keep_model=False)
        else:
            self.chat.settings, self.chat.session_overrides = (
                self.settings,
                self.session_state.session_overrides,
            )
        return loads

    async def read_servers(self) -> None:
        """Know the model servers that were added, changed or removed meanwhile.

        Where they cannot be read, those that are known stay.
        """
        from tchat.servers.config import server_tables

        with suppress(TchatError):
            found = await asyncio.to_thread(server_tables, self.paths)
            self.session_state.use_servers(found)
            self.chat.settings = replace(self.chat.settings, servers=self.settings.servers)

    def show_stored(self, session: Session) -> None:
        """Hold the open session as it is stored now; nothing if another was opened meanwhile."""
        if self.session is not None and self.session.id == session.id:
            self.chat.session = session

    def keep(self, values: Mapping[str, Value]) -> None:
        """Begin new sessions with these settings too."""
        self.session_state.base = with_values(self.session_state.base, values)

    # The session

    async def open(
        self, session: Session | None, flags: Collection[str] = (), *, private: bool | None = None
    ) -> bool:
        """Go on in a stored ``session``, which ends private mode, or in a new one.

        A stored session goes on with the model in use, a new one begins with the default model.
        Returns whether that has to be loaded. What cannot be saved of the session before is raised
        once this one is open.

        Args:
            session: The stored session; None for a new one.
            flags: Names of settings that are not taken from the session.
            private: Whether a new session is private; None for as before.
        """
        await self._leave()
        self.tools.forget()
        state, before = self.session_state, self.settings.model
        model = state.base.model if session is None else before
        with state.switch(session, model=model, typed=flags, private=private):
            await self._rejoin(session, keep_model=model == before)
        return model != before

    async def set_private(self, private: bool) -> None:
        """Begin a session that is not stored, or one that is."""
        if private != self.private:
            self.session_state.require_stored_sessions()
            await self.open(None, private=private)

    def discard(self, session_id: str) -> None:
        """Forget what is only in memory of a session that is deleted."""
        self.session_state.fallbacks.discard(session_id)

    async def _leave(self) -> None:
        """Stop what runs; try once more to store what could not be stored."""
        self.stop()
        await self._engine.run(lambda: None)
        await self._try_to_store()

    async def _rejoin(self, session: Session | None, *, keep_model: bool) -> None:
        """Wait until the engine is free, then join the session to the model, or to another."""
        old = self.chat

        def rejoin() -> None:
            model = None
            try:
                if keep_model:
                    try:
                        old.save_snapshot()
                    finally:
                        model = old.release_model()
                old.close()
            finally:  # whatever could not be saved, the chat goes on in the session
                # Here, so that what was asked for meanwhile finds it.
                self.chat = Chat(
                    self.settings,
                    self.paths,
                    self.store,
                    session=session,
                    cancel=self._cancel,
                    model=model,
                )
                self.chat.session_overrides = self.session_state.session_overrides

        self.stop()
        await self._carry_out(self._ask(), rejoin)

    # A disk that cannot be written

    @property
    def failure(self) -> StorageError | None:
        """Why something is in memory only; None when all is stored."""
        return self.session_state.fallbacks.failure

    async def store_again(self) -> None:
        """Store what is only in memory.

        Raises:
            StorageError: It still cannot be done; what could not be stored stays in memory.
        """
        await asyncio.to_thread(self.session_state.fallbacks.write_back)

    # The lock

    async def lock(self) -> None:
        """Save what the engine read, close the files of the store, and forget the key.

        Raises:
            StorageError: Something is in memory only, and still cannot be stored; nothing is
                closed, and the key is kept for it.
        """
        encryption = self.paths.encryption
        assert encryption is not None  # noqa: S101 - without one there is no lock
        await self.save()
        if self.failure is not None:
            await self.store_again()
        await self._engine.run(self._close_snapshots)
        await asyncio.to_thread(self.persistent.suspend)
        encryption.forget()

    def _close_snapshots(self) -> None:
        if self.chat.model is not None:
            self.chat.model.close_snapshots()

    async def unlock(self) -> None:
        """Open the files of the store again, which the key is there for."""
        await asyncio.to_thread(self.persistent.resume)

    async def _try_to_store(self) -> None:
        if self.failure is None:
            return
        try:
            await self.store_again()
        except StorageError:
            return  # `failure` tells


class StartupState(NamedTuple):
    """The store, and what the screen begins with.

    Attributes:
        settings: In force: those of the session where one is gone on with.
        store: The sessions.
        session: The one to go on with; None for a new one.
        problem: Why ``store`` is in memory, against the user's wish; None when it is not.
        base: What a new session begins with; None: ``settings``.
        flags: Names of the settings given on the command line, which override the session's.
        notices: Lines for the user about the settings and the store.
    """

    settings: Settings
    store: SessionStore
    session: Session | None = None
    problem: StorageError | None = None
    base: Settings | None = None
    flags: Collection[str] = ()
    notices: tuple[str, ...] = ()


OpenSessions = Callable[[], StartupState]
