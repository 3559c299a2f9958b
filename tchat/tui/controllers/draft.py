"""The draft: counted while it is typed, and prefilled while the model has nothing else to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.timer import Timer

from tchat.chat.commands import CommandCall, Surface, commands_for, parse_input
from tchat.errors import TchatError, UsageError
from tchat.tui.background import background
from tchat.tui.controllers.candidates import CandidatesController
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.prompt_mode import PromptModeController
from tchat.tui.controllers.status import StatusController
from tchat.tui.controllers.turn import TurnController
from tchat.tui.services.prompt_files import read_prompt
from tchat.tui.widgets.prompt_draft import Draft
from tchat.tui.widgets.token_meter import TokenMeter

if TYPE_CHECKING:
    from tchat.chat.draft import TokenCount
    from tchat.chat.prefill_cost import PrefillCost
    from tchat.engine.events import PromptProgress

COUNT_DELAY = 0.12  # seconds of rest before a draft is counted
SAVE_DELAY = 1.0  # seconds after a turn before what was read is saved
FEW = 24  # tokens that are prefilled too soon to be told of


class DraftController:
    """Measures what is being typed, and lets the model read it ahead.

    Args:
        context: The open chat.
        turn: Whether the engine has anything else to do.
        prompt_mode: What the draft is for.
        candidates: Whether there are replies to choose from.
        status: The status line.
    """

    def __init__(
        self,
        context: ChatContext,
        *,
        turn: TurnController,
        prompt_mode: PromptModeController,
        candidates: CandidatesController,
        status: StatusController,
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._turn = turn
        self._prompt_mode = prompt_mode
        self._candidates = candidates
        self._status = status
        self._count_timer: Timer | None = None
        self._save_timer: Timer | None = None
        self._measure: TokenCount | None = None
        self._prefilled: float | None = None  # the share of the draft that is read
        self._cost: PrefillCost | None = None  # of sending it, beyond reading it

    # Counting

    def count_soon(self) -> None:
        """Count the draft once the user stops typing for a moment."""
        if self._count_timer is not None:
            self._count_timer.stop()
        self._count_timer = self.screen.set_timer(COUNT_DELAY, self.count)

    @background(group="count", exclusive=True)
    async def count(self) -> None:
        """Count the draft, exactly, beside whatever the engine does; then let it be prefilled."""
        if not self._context.is_ready:
            return
        draft, settings = self._context.prompt.draft, self._context.settings
        try:
            text, _ = await read_prompt(draft, settings.encoding)
        except TchatError:
            text = draft.full_text  # a file that is not there is told when it is sent
        self._measure = measure = await self._context.conversation.measure(text)
        if measure is None:
            return
        self._status.capacity = measure.context
        if not text and not self._turn.is_busy:
            stored = self._context.conversation.session is not None
            self._turn.state.progress.hold(measure.used if stored else 0)
        message = self._next_message(draft) if settings.prefill_while_typing else None
        if message is None:
            self._prefilled = None
        if not self._turn.is_busy:
            self._cost = await self._cost_of(text)
        self._show()
        self._status.refresh()
        await self._prefill(message)

    async def _cost_of(self, text: str) -> PrefillCost | None:
        """What sending a draft makes the model read again, where anybody would notice."""
        mode = self._prompt_mode.mode
        if mode is not None and mode.follows is None:
            return None
        cost = await self._context.conversation.prefill_cost(text, mode.follows if mode else None)
        return cost if cost is not None and cost.is_notable else None

    def _show(self) -> None:
        if (measure := self._measure) is not None:
            draft = measure.draft if self._context.prompt.draft.text else 0
            cost = (str(self._cost), self._cost.short) if self._cost else ("", "")
            self.screen.query_one(TokenMeter).show(
                draft, measure.used, measure.context, read=self._prefilled, cost=cost
            )

    # Prefilling

    def _next_message(self, draft: Draft) -> Draft | None:
        """What would go to the model as the next message if the draft were sent now."""
        if not draft.text.strip() or draft.blanks or self._prompt_mode.mode is not None:
            return None
        from tchat.chat.candidates import parse_candidates

        try:
            parsed = parse_input(draft.full_text, commands_for(Surface.SCREEN))
            if isinstance(parsed, CommandCall):
                prompted = parsed.command.takes_prompt
                text = parse_candidates(parsed.argument)[1] if prompted else ""
                return Draft(text, files=draft.files) if text else None
        except UsageError:
            return None
        return draft if parsed == draft.full_text else Draft(parsed, files=draft.files)

    async def _prefill(self, message: Draft | None) -> None:
        """Let the model read a message that is not sent yet, while it has nothing else to do."""
        conversation = self._context.conversation
        if message is None or self._turn.is_busy or self._candidates.is_open:
            conversation.leave_draft()
            return
        try:
            text, _ = await read_prompt(message, self._context.settings.encoding)
        except TchatError:
            return
        if not self._turn.is_busy:
            await conversation.read_ahead(text, self._show_prefill)

    def _show_prefill(self, event: PromptProgress) -> None:
        if self._turn.is_busy or FEW >= event.total - event.done > 0:
            return
        self._prefilled = event.done / event.total
        if event.done == event.total:
            self._cost = None  # all of it is read
        self._show()

    # Saving

    def save_soon(self) -> None:
        """Save what the model has read, once the user rests."""
        if self._save_timer is not None:
            self._save_timer.stop()
        self._save_timer = self.screen.set_timer(SAVE_DELAY, self._save)

    @background(group="save")
    async def _save(self) -> None:
        if not self._turn.is_busy:
            await self._context.conversation.save()
            self.count()  # it is prefilled further
