"""The draft: counted while it is typed, and read by the model while that has nothing to do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import on
from textual.timer import Timer

from tchat.chat.commands import CommandCall, parse_input
from tchat.errors import TchatError, UsageError
from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.background import background
from tchat.tui.screens.commands import Commands
from tchat.tui.screens.dialogs import SCREEN_COMMANDS
from tchat.tui.screens.trials import TRIALS
from tchat.tui.screens.turns import full_prompt
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.prompt_draft import Draft
from tchat.tui.widgets.token_meter import TokenMeter

if TYPE_CHECKING:
    from tchat.chat.draft import TokenCount
    from tchat.chat.prefill_cost import PrefillCost
    from tchat.engine.events import PromptProgress

COUNT_DELAY = 0.12  # seconds of rest before a draft is counted
FEW = 24  # tokens that are read too soon to be told of


class Drafts(Commands):
    """The part of the chat screen that looks at what is being typed."""

    def __init__(self, settings: Settings, paths: Paths) -> None:
        super().__init__(settings, paths)
        self._count_timer: Timer | None = None
        self._capacity = 0
        self._measure: TokenCount | None = None
        self._read: float | None = None  # the share of the draft that is read
        self._price: PrefillCost | None = None  # what sending it costs beyond reading it

    @on(Prompt.Changed)
    def _count_soon(self) -> None:
        if self._count_timer is not None:
            self._count_timer.stop()
        self._count_timer = self.set_timer(COUNT_DELAY, self.count_draft)

    @background(group="count", exclusive=True)
    async def count_draft(self) -> None:
        """Count the draft, exactly, beside whatever the engine does; then let it be read."""
        if not self.begun:
            return
        draft = self.prompt.draft
        try:
            text, _ = await asyncio.to_thread(
                full_prompt, draft, self.conversation.settings.encoding
            )
        except TchatError:
            text = draft.full_text  # a file that is not there is told when it is sent
        self._measure = measure = await self.conversation.measure(text)
        if measure is None:
            return
        self._capacity = measure.context
        if not text and not self.busy:
            self._progress.hold(measure.used if self.conversation.session else 0)
        message = self._message_of(draft) if self.conversation.settings.read_while_typing else None
        if message is None:
            self._read = None
        if not self.busy:
            self._price = await self._price_of(text)
        self._show_measure()
        self.show_status()
        await self._read_ahead(message)

    async def _price_of(self, text: str) -> PrefillCost | None:
        """What sending a draft makes the model read again, where anybody would notice."""
        if self.prompt_mode is not None and self.prompt_mode.follows is None:
            return None
        after = self.prompt_mode.follows if self.prompt_mode else None
        price = await self.conversation.price(text, after)
        return price if price is not None and price.is_notable else None

    async def _read_ahead(self, message: Draft | None) -> None:
        """Let the model read a message that is not sent yet, while it has nothing else to do."""
        if message is None or self.busy or self.trying:
            self.conversation.leave_draft()
            return
        try:
            text, _ = await asyncio.to_thread(
                full_prompt, message, self.conversation.settings.encoding
            )
        except TchatError:
            return
        if not self.busy:
            await self.conversation.read_ahead(text, self._note_read)

    def _note_read(self, event: PromptProgress) -> None:
        if self.busy or FEW >= event.total - event.done > 0:
            return
        self._read = event.done / event.total
        if event.done == event.total:
            self._price = None  # all of it is read
        self._show_measure()

    def _show_measure(self) -> None:
        if (measure := self._measure) is not None:
            draft = measure.draft if self.prompt.draft.text else 0
            cost = (str(self._price), self._price.short) if self._price else ("", "")
            self.query_one(TokenMeter).show(
                draft, measure.used, measure.context, read=self._read, cost=cost
            )

    def _message_of(self, draft: Draft) -> Draft | None:
        """What would go to the model as the next message if the draft were sent now."""
        if not draft.text.strip() or draft.blanks or self.prompt_mode is not None:
            return None
        from tchat.chat.candidates import parse_candidates

        try:
            parsed = parse_input(draft.full_text, SCREEN_COMMANDS)
            if isinstance(parsed, CommandCall):
                tries = parsed.command.name in TRIALS
                text = parse_candidates(parsed.argument)[1] if tries else ""
                return Draft(text, files=draft.files) if text else None
        except UsageError:
            return None
        return draft if parsed == draft.full_text else Draft(parsed, files=draft.files)
