"""How the chat begins behind the first picture: sessions, typed prompts, model."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING

from tchat.errors import ModelNotFound, TchatError
from tchat.tui.background import background
from tchat.tui.screens.drafts import Drafts
from tchat.tui.screens.turns import load
from tchat.tui.widgets.prompt_draft import Draft

if TYPE_CHECKING:
    from tchat.chat.prompt_history import PromptHistory
    from tchat.tui.services.conversation import Conversation
    from tchat.tui.startup import Opened

AT_ONCE = frozenset({"stop", "interrupt", "quit", "suspend_process"})  # need no sessions
WARM = {"python": "def f(x): return 1", "bash": "ls | wc", "json": "[1]"}


class Beginning(Drafts):
    """The part of the chat screen that goes from the first picture to a chat.

    Until then the user types, and what is sent waits in the queue.
    """

    _history: PromptHistory  # once the chat has begun

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Whether a key does what it stands for; most of them need the sessions."""
        return self.begun or action in AT_ONCE

    def begin(self, conversation: Conversation, opened: Opened) -> None:
        """Go on with the sessions, which are open now."""
        from tchat.chat.prompt_history import PromptHistory
        from tchat.tui.services.sessions import SessionService

        self.conversation = conversation
        self.desk = SessionService(conversation)
        self._history = PromptHistory(self._paths.config)
        self._start_up(opened)

    @background(group="begin")
    async def _start_up(self, opened: Opened) -> None:
        """What the first picture did not need: the messages, the session, the model."""
        await asyncio.to_thread(importlib.import_module, "tchat.tui.widgets.transcript.view")
        self.transcript.show_details(opened.settings.show_details)
        self.transcript.show_scores(opened.settings.show_scores)
        for notice in opened.store.notices:
            self.tell(notice)
        if opened.problem is not None:
            self.tell_error(opened.problem)
        try:
            if opened.session is not None:
                await self.go_on_in(opened.session)
        finally:
            self._has_begun()
        await self._recall()
        await self._load_or_welcome()
        await self._warm_up()

    # What is sent meanwhile

    def wait_with(self, draft: Draft) -> None:
        """Keep what is sent before the chat has begun."""
        self._queue.append(draft)
        self._show_queue()

    def _has_begun(self) -> None:
        """From now on keys do what they stand for, and what was sent before is carried out."""
        self.begun = True
        self.prompt.private = self.conversation.private
        self.show_status()
        early = list(self._queue)
        self._queue.clear()
        self._show_queue()
        for draft in early:
            self.take(draft)

    def take(self, draft: Draft) -> None:
        """Called with what was sent, once the chat has begun."""

    # The model

    async def _load_or_welcome(self) -> None:
        """Load the model; on the first run without one, say how to get it."""
        from tchat.models.resolve import STARTER

        if self.busy:  # a prompt was sent already, which loads it
            return
        if self.conversation.settings.model == STARTER:
            try:
                await self.conversation.find_model(STARTER)
            except ModelNotFound:
                await self.welcome()
                return
        self.act(load)

    async def _warm_up(self) -> None:
        """Import what the first block of code needs, once the model does not need the processor."""
        await self.until_free()
        await asyncio.to_thread(warm_up)

    # Prompts of earlier sessions

    async def _recall(self) -> None:
        """Let Up go back through the prompts of earlier sessions."""
        try:
            typed = await asyncio.to_thread(self._history.entries)
        except TchatError as error:
            self.notify(str(error), severity="warning", markup=False)
            return
        self.prompt.remember(Draft(each.text, each.pastes, each.files) for each in typed)

    @background(group="history")
    async def remember(self, draft: Draft) -> None:
        """Let Up find a draft in later sessions, too."""
        from tchat.chat.prompt_history import HistoryEntry

        entry = HistoryEntry(draft.text, draft.pastes, draft.files)
        private = self.conversation.private
        try:
            await asyncio.to_thread(self._history.add, entry, private=private)
        except TchatError as error:
            self.notify(str(error), severity="warning", markup=False)


def warm_up() -> None:
    """Import and compile what the first block of code needs: it would stutter otherwise."""
    from tchat.markdown.highlight import Highlighter
    from tchat.tui.widgets.transcript.palette import DARK_CODE

    for language, line in WARM.items():
        Highlighter(language, DARK_CODE).line(line)
