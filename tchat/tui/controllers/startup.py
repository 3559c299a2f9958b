"""From the first picture to the chat: sessions, prompts of earlier sessions, the model."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.first_screen import FirstScreenController
from tchat.tui.controllers.history import HistoryController
from tchat.tui.controllers.models import ModelsController
from tchat.tui.controllers.sessions import SessionsController
from tchat.tui.controllers.tools import ToolsController
from tchat.tui.controllers.transcript import TranscriptController
from tchat.tui.controllers.turn import TurnController
from tchat.tui.services.sessions import MessageService, SessionService
from tchat.tui.widgets.prompt_draft import Draft

if TYPE_CHECKING:
    from tchat.tui.services.conversation import Conversation, StartupState

WARM_UP = {"python": "def f(x): return 1", "bash": "ls | wc", "json": "[1]"}


class StartupController:
    """Goes on from the first picture; ``submit`` gets what was sent before that."""

    def __init__(
        self,
        context: ChatContext,
        *,
        tools: ToolsController,
        turn: TurnController,
        sessions: SessionsController,
        models: ModelsController,
        transcript: TranscriptController,
        first_screen: FirstScreenController,
        history: HistoryController,
        submit: Callable[[Draft], None],
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._tools = tools
        self._turn = turn
        self._sessions = sessions
        self._models = models
        self._transcript = transcript
        self._first_screen = first_screen
        self._history = history
        self._submit = submit

    def start(self, conversation: Conversation, state: StartupState) -> None:
        """Go on with the sessions, which are open now."""
        self._context.conversation = conversation
        self._context.messages = messages = MessageService(conversation)
        self._context.sessions = SessionService(conversation, messages)
        self._tools.connect()
        self._start(state)

    @background(group="begin")
    async def _start(self, state: StartupState) -> None:
        """What the first picture did not need: the messages, the session, the model."""
        await asyncio.to_thread(importlib.import_module, "tchat.tui.widgets.transcript.view")
        self._transcript.view.show_details(state.settings.show_details)
        self._transcript.view.show_scores(state.settings.show_scores)
        try:
            if state.session is not None:
                await self._sessions.go_on_in(state.session, state.flags)
        finally:
            self._show_notices(state)  # opening a session takes out those that are there
            self._set_ready()
        await self._history.load()
        await self._models.load_or_welcome()
        await self._turn.state.idle.wait()  # the model needs the processor
        await asyncio.to_thread(warm_up)

    def _show_notices(self, state: StartupState) -> None:
        for notice in state.notices:
            self._transcript.show_notice(notice)
        if state.problem is not None:
            self._transcript.show_error(state.problem)

    def _set_ready(self) -> None:
        """From now on keys do what they stand for, and what was sent before is carried out."""
        self._context.is_ready = True
        self._context.prompt.private = self._context.conversation.private
        self._context.status.refresh()
        self._sessions.fit_sidebar()
        self._first_screen.refresh()
        for draft in self._turn.queue.clear():
            self._submit(draft)


def warm_up() -> None:
    """Import and compile what the first block of code needs: it would stutter otherwise."""
    from tchat.markdown.highlight import Highlighter
    from tchat.markdown.syntax import SyntaxStyles

    for language, line in WARM_UP.items():
        Highlighter(language, SyntaxStyles()).line(line)
