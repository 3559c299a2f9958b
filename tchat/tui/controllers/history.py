"""Earlier prompts: loaded for Up, searched with a dialog, added to."""

from __future__ import annotations

import asyncio

from tchat.chat.prompt_history import MAX_ENTRIES, HistoryEntry, PromptHistory
from tchat.errors import TchatError
from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.widgets.prompt_draft import Draft


class HistoryController:
    """The history of prompts, across sessions, behind the prompt."""

    def __init__(self, context: ChatContext) -> None:
        self.screen = context.screen
        self._context = context
        self._history = PromptHistory(context.paths.config, context.paths.encryption)

    async def load(self) -> None:
        """Let Up go back through the prompts of earlier sessions."""
        typed = await self._read()
        self._context.prompt.remember(map(_draft, typed))

    @background(group="history")
    async def remember(self, draft: Draft) -> None:
        """Let Up find a draft in later sessions, too."""
        entry = HistoryEntry(draft.text, draft.pastes, draft.files)
        private = self._context.conversation.private
        try:
            await asyncio.to_thread(self._history.add, entry, private=private)
        except TchatError as error:
            self._context.notify(str(error), severity="warning")

    @background(group="dialog", exclusive=True)
    async def search(self) -> None:
        """Search all earlier prompts, and put the one that is chosen into the prompt."""
        from tchat.tui.dialogs.history import HistoryScreen

        prompt = self._context.prompt
        here = prompt.remembered  # with those that are not stored
        stored = map(_draft, await self._read(most=None))
        newest_first = dict.fromkeys([*reversed(here), *reversed(list(stored))])
        drafts = [each for each in newest_first if each.text.strip()]
        chosen = await self.screen.app.push_screen_wait(HistoryScreen(drafts, prompt.draft.text))
        if chosen is not None:
            prompt.load(drafts[int(chosen)])
            prompt.focus()

    async def _read(self, most: int | None = MAX_ENTRIES) -> list[HistoryEntry]:
        try:
            return await asyncio.to_thread(self._history.entries, most)
        except TchatError as error:
            self._context.notify(str(error), severity="warning")
            return []


def _draft(entry: HistoryEntry) -> Draft:
    return Draft(entry.text, entry.pastes, entry.files)
