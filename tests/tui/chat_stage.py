"""The whole app under a pilot, with a tiny model, and short words for what tests ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from tchat.errors import StorageError
from tchat.paths import Paths
from tchat.sessions.records import Message, Session
from tchat.sessions.store import SessionStore
from tchat.settings import Sampling, Settings
from tchat.tui.app import TchatApp
from tchat.tui.chat_screen import ChatScreen
from tchat.tui.services.conversation import StartupState
from tchat.tui.widgets.transcript.entry import Entry
from tests.tui.stage import PATIENCE

ENDLESS = Sampling(temp=0, logit_bias=("<|im_end|>=-100", "<|endoftext|>=-100"), loop_guard=False)


class Shown:
    """The app under a pilot, and short words for what tests ask of it."""

    def __init__(self, pilot: Pilot[None], store: SessionStore) -> None:
        self.pilot = pilot
        self.store = store

    @property
    def screen(self) -> ChatScreen:
        app = self.pilot.app
        assert isinstance(app, TchatApp)
        return app.chat

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait until something is the case."""
        end = asyncio.get_running_loop().time() + PATIENCE
        while not met():
            assert asyncio.get_running_loop().time() < end, "it did not happen"
            await self.pilot.pause(0.02)

    async def idle(self) -> None:
        """Wait until the engine has nothing to do and the screen has settled."""
        await self.until(lambda: not self.screen.controllers.turn.is_busy)
        workers = [w for w in self.pilot.app.workers if w.group in ("turn", "send", "begin")]
        await self.until(lambda: all(worker.is_finished for worker in workers))  # or cancelled
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Type a prompt and send it."""
        self.screen.prompt.load(text)
        await self.pilot.press("enter")
        await self.pilot.pause()

    async def ask(self, text: str) -> None:
        """Send a prompt and wait for the reply."""
        before = len(self.branch)
        await self.type(text)
        await self.until(lambda: len(self.branch) > before)
        await self.idle()

    @property
    def branch(self) -> list[tuple[str, str]]:
        """Role and text of each stored message on the active path."""
        return [(message.role.value, message.text) for message in self.messages]

    @property
    def entries(self) -> list[tuple[str, str]]:
        """Role and text of what the transcript shows, apart from notices."""
        return [(each.role, each.text) for each in self.all_entries if each.role != "notice"]

    @property
    def all_entries(self) -> list[Entry]:
        """All that the transcript shows."""
        column = self.screen.controllers.transcript.view.column
        return [column.entry(place) for place in range(len(column))]

    @property
    def last(self) -> Entry:
        """The last message that the transcript shows."""
        return next(each for each in reversed(self.all_entries) if isinstance(each.key, int))

    @property
    def notices(self) -> str:
        """What tchat says in the transcript."""
        return "\n".join(each.text for each in self.all_entries if each.role == "notice")

    @property
    def errors(self) -> list[Entry]:
        """The blocks of errors in the transcript."""
        return [each for each in self.all_entries if each.role == "error"]

    @property
    def toasts(self) -> str:
        """What the toasts say."""
        return "\n".join(each.message for each in self.pilot.app._notifications)

    @property
    def messages(self) -> list[Message]:
        """The stored messages on the active path."""
        session = self.screen.conversation.session if self.screen.context.is_ready else None
        return self.screen.conversation.store.branch(session.id) if session else []

    @property
    def cursor(self) -> Entry:
        """The entry that the message cursor is on."""
        key = self.screen.controllers.transcript.view.cursor
        assert key is not None
        return self.screen.controllers.transcript.view.entry(key)

    async def point_at(self, place: int) -> None:
        """Put the message cursor on the message at ``place`` of the active path."""
        self.screen.controllers.transcript.view.focus()
        self.screen.controllers.transcript.view.point_at(self.messages[place].id)
        await self.pilot.pause()


@asynccontextmanager
async def opened(
    settings: Settings,
    paths: Paths,
    size: tuple[int, int] = (100, 30),
    *,
    ready: bool = True,
    problem: StorageError | None = None,
    session: Session | None = None,
    base: Settings | None = None,
    flags: Collection[str] = (),
    encrypted: bool = False,
    **given: Any,
) -> AsyncIterator[Shown]:
    """The app as it is started; with the model loaded when it is to be ``ready``."""
    with SessionStore(paths.sessions_db, paths.encryption if encrypted else None) as store:
        notices = tuple(store.notices)
        found = StartupState(settings, store, session, problem, base, flags, notices)
        app = TchatApp(settings, paths, lambda: found, **given)
        async with app.run_test(size=size, notifications=True) as pilot:
            shown = Shown(pilot, store)
            try:
                await shown.until(lambda: shown.screen.context.is_ready)
                if ready:
                    await shown.idle()
                yield shown
            finally:  # what goes on would be waited for, and hide why a test failed
                if app.is_running:
                    await app.action_quit()
