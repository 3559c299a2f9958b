"""The judge: ratings that it learns from, and its dialog."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.transcript import TranscriptController
from tchat.tui.controllers.turn import TurnController


class JudgeController:
    """Rates replies, and shows what the judge learnt from that.

    Args:
        context: The open chat.
        turn: Whether the engine has anything else to do.
        transcript: Where ratings are shown.
        settle: Called when a rating has changed.
    """

    def __init__(
        self,
        context: ChatContext,
        *,
        turn: TurnController,
        transcript: TranscriptController,
        settle: Callable[[], Awaitable[None]],
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._turn = turn
        self._transcript = transcript
        self._settle = settle

    async def rate(self, key: int, rating: int) -> None:
        """Call a reply good (1) or bad (-1); the same again takes it back."""
        from tchat.sessions.records import Role

        message = await self._context.conversation.messages.message(key)
        if message.role is not Role.ASSISTANT:
            self._context.notify("Replies are rated, not prompts.")
            return
        await self.set_rating(key, 0 if message.rating == rating else rating)

    async def set_rating(self, key: int, rating: int) -> None:
        """Call a reply good (1) or bad (-1), or neither (0)."""
        view = self._transcript.view
        await self._context.conversation.messages.rate(key, rating)
        if view.has(key):
            view.update(replace(view.entry(key), rating=rating))
        await self._settle()

    @background(group="dialog", exclusive=True)
    async def show_dialog(self) -> None:
        """Show what the judge learnt, train it, play the game."""
        from tchat.tui.dialogs.judge import JudgeScreen
        from tchat.tui.services.judge import JudgeService

        if not self._turn.reject_if_busy():
            service = JudgeService(self._context.conversation)
            await self.screen.app.push_screen_wait(JudgeScreen(service))
