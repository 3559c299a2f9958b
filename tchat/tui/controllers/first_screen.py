"""The first screen: filled once the sessions are open, and what is chosen on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tchat.models.files import short_model_name
from tchat.translation import tr
from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.widgets.first_screen import Choice, FirstScreen
from tchat.tui.widgets.sidebar import UNTITLED, used_text

RECENT = 3  # chats
REST = 2.0  # seconds without work or draft until the machine may be measured


class FirstScreenController:
    """Fills the first screen, and carries out what is chosen on it.

    Args:
        open_session: Opens a stored session by its id.
    """

    def __init__(self, context: ChatContext, open_session: Callable[[str], object]) -> None:
        self.screen = context.screen
        self._context = context
        self._open_session = open_session

    @background(group="first-screen", exclusive=True)
    async def refresh(self) -> None:
        """Show recent chats and the model in use, where the first screen is shown."""
        if not self._widget.display:
            return
        self._widget.show_chats(await self._recent())
        metadata = self._context.conversation.metadata
        if metadata is None:
            self._widget.show_model(short_model_name(self._context.settings.model))
            return
        self._widget.show_model(*await self._model_facts(measure=False))
        await asyncio.sleep(REST)
        if self._widget.display and self._is_at_rest:
            self._widget.show_model(*await self._model_facts(measure=True))

    def choose(self, choice: Choice) -> None:
        """Open a recent chat, or put a prompt into the prompt."""
        if choice.session_id:
            self._open_session(choice.session_id)
        else:
            self._context.prompt.load(choice.title)
            self._context.prompt.focus()

    @property
    def _widget(self) -> FirstScreen:
        return self.screen.query_one(FirstScreen)

    @property
    def _is_at_rest(self) -> bool:
        return not self._context.turn_state.is_busy and not self._context.prompt.draft.text

    async def _recent(self) -> list[Choice]:
        sessions = await self._context.sessions.sessions(RECENT)
        return [
            Choice(each.title or tr(UNTITLED), used_text(each.updated_at), each.id)
            for each in sessions
        ]

    async def _model_facts(self, *, measure: bool) -> list[str]:
        from tchat.tui.services.model_summary import model_summary

        metadata, paths = self._context.conversation.metadata, self._context.paths
        if metadata is None:
            return []
        return await asyncio.to_thread(model_summary, metadata, paths, measure=measure)
