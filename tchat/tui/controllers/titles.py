"""The title that the model gives a session while nothing else is to be done."""

from __future__ import annotations

import asyncio

from textual.timer import Timer

from tchat.chat.branch import title_for
from tchat.errors import TchatError
from tchat.sessions.records import Role, Session
from tchat.tui.background import background
from tchat.tui.controllers.candidates import CandidatesController
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.sessions import SessionsController
from tchat.tui.controllers.turn import TurnController

IDLE = 3.0  # seconds after a turn


class TitleController:
    """Lets the model write the title after the first reply; the user goes first at any time.

    A title that the user gave stays, and so does one that was written before.
    """

    def __init__(
        self,
        context: ChatContext,
        turn: TurnController,
        candidates: CandidatesController,
        sessions: SessionsController,
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._turn = turn
        self._candidates = candidates
        self._sessions = sessions
        self._timer: Timer | None = None
        self._asked: set[str] = set()  # sessions whose title was written, or not well

    def write_soon(self) -> None:
        """Write a title, once the user rests."""
        if self._timer is not None:
            self._timer.stop()
        if self._context.settings.write_titles:
            self._timer = self.screen.set_timer(IDLE, self._write)

    @background(group="auto-title", exclusive=True)
    async def _write(self) -> None:
        conversation = self._context.conversation
        session = conversation.session
        if session is None or session.id in self._asked or not self._may_write:
            return
        branch = await self._context.messages.branch()
        questions = [each.text for each in branch if each.role is Role.USER]
        if len(branch) < 2 or title_for(questions[0] if questions else "") != session.title:
            return
        if not self._may_write:
            return
        title, is_complete = await conversation.write_title()
        if is_complete:
            self._asked.add(session.id)
        if title and await self._has_title(session):
            await self._sessions.set_title(title)

    async def _has_title(self, session: Session) -> bool:
        """Whether ``session`` is open, and has no other title yet, from another window either."""
        store = self._context.conversation.store
        try:
            stored = await asyncio.to_thread(store.get, session.id)
        except TchatError:  # it was deleted, or left
            return False
        now = self._context.conversation.session
        is_open = now is not None and (now.id, now.title) == (session.id, session.title)
        return is_open and stored.title == session.title

    @property
    def _may_write(self) -> bool:
        """Whether the user neither types nor waits, and the session can be stored now."""
        is_free = not self._turn.is_busy and not self._candidates.is_open
        if self._context.is_locked or self._context.prompt.draft.text:
            return False
        return is_free and not self._context.private
