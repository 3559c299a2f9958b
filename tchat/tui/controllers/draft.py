"""The draft: counted and prefilled while it is typed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.timer import Timer

from tchat.chat.commands import CommandCall, Surface, commands_for, parse_input
from tchat.chat.commands.command import parse_candidates
from tchat.chat.prefill_cost import PrefillCost
from tchat.engine.events import PromptProgress
from tchat.errors import TchatError, UsageError
from tchat.translation import tr
from tchat.tui.background import background
from tchat.tui.controllers.candidates import CandidatesController
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.prompt_mode import PromptModeController
from tchat.tui.controllers.transcript import TranscriptController
from tchat.tui.controllers.turn import TurnController
from tchat.tui.widgets.prompt_draft import Draft
from tchat.tui.widgets.status import DraftCost

if TYPE_CHECKING:
    from tchat.chat.prompt_builder import TokenCount

COUNT_DELAY = 0.12  # seconds of rest before a draft is counted
SAVE_DELAY = 1.0  # seconds after a turn before what was read is saved
FEW = 24  # tokens that are prefilled too soon to be told of


class DraftController:
    """Counts the tokens of what is being typed, and prefills it."""

    def __init__(
        self,
        context: ChatContext,
        turn: TurnController,
        prompt_mode: PromptModeController,
        candidates: CandidatesController,
        transcript: TranscriptController,
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._turn = turn
        self._prompt_mode = prompt_mode
        self._candidates = candidates
        self._transcript = transcript
        self._count_timer: Timer | None = None
        self._save_timer: Timer | None = None
        self._tokens: TokenCount | None = None
        self._has_message = False  # whether a prompt was counted, and no command or nothing
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
        if not self._context.is_ready or self._context.is_locked:
            return
        end = self._forget_other_branch()
        draft, settings = self._context.prompt.draft, self._context.settings
        message = _prompt_of(draft)
        self._has_message = bool(message.text)
        try:
            text, _ = await self._context.read_prompt(message)
        except TchatError:
            text = message.full_text  # a file that is not there is told when it is sent
        self._tokens = tokens = await self._context.conversation.count_draft(text)
        if tokens is None:
            return
        self._context.status.context_size = tokens.context_size
        if not text and not self._turn.is_busy:
            self._turn.state.progress.set_used(tokens.used if end is not None else 0)
            self._turn.state.counted = end
        follows = message if settings.prefill_while_typing and self._is_next(message) else None
        if follows is None:
            self._prefilled = None
        self._show()  # the engine, which knows the cost, may be busy for seconds
        if self._turn.is_busy:
            self._cost = None
        else:
            self._cost = await self._cost_of(text)
        self._show()
        await self._prefill(follows)

    def _forget_other_branch(self) -> int | None:
        """Show no counts of another branch, or session; return the last message of this one."""
        state, end = self._turn.state, self._transcript.view.last_message
        if end != state.counted and not state.is_busy:
            state.progress.set_used(None if end is not None else 0)
            self._cost = None
            self._show()
        return end

    async def _cost_of(self, text: str) -> PrefillCost | None:
        """The prefill cost of a draft, where it is notable."""
        mode = self._prompt_mode.mode
        if mode is not None and mode.follows is None:
            return None
        cost = await self._context.conversation.prefill_cost(text, mode.follows if mode else None)
        return cost if cost is not None and cost.is_notable else None

    def _show(self) -> None:
        if (tokens := self._tokens) is not None:
            self._context.status.draft = DraftCost(
                tokens.draft if self._has_message else 0,
                tokens.used,
                self._prefilled,
                (str(self._cost), self._cost.short) if self._cost else ("", ""),
            )
        self._context.status.refresh()

    # Prefilling

    def _is_next(self, message: Draft) -> bool:
        """Whether a draft would go to the model as the next message if it were sent now."""
        has_text = bool(message.text.strip())
        return has_text and not message.unfilled and self._prompt_mode.mode is None

    async def _prefill(self, message: Draft | None) -> None:
        """Let the model read a message that is not sent yet, while it has nothing else to do."""
        conversation = self._context.conversation
        if message is None or self._turn.is_busy or self._candidates.is_open:
            conversation.stop_prefill_draft()
            return
        try:
            text, _ = await self._context.read_prompt(message)
        except TchatError:
            return
        if not self._turn.is_busy:
            await conversation.prefill_draft(text, self._show_prefill)

    def _show_prefill(self, event: PromptProgress) -> None:
        if self._turn.is_busy or FEW >= event.total - event.done > 0:
            return
        self._prefilled = event.done / event.total
        if self._cost is not None:
            self._cost = self._cost.left(event.total - event.done)
        self._show()

    # Elsewhere

    @background(group="editor", exclusive=True)
    async def open_editor(self, draft: Draft) -> None:
        """Open the draft in the user's editor; the screen gives way meanwhile."""
        from tchat.chat.editor import edit_text, is_edited_on_disk

        if self._context.paths.encryption is not None and is_edited_on_disk():
            text = tr("while you edit it, the draft lies unencrypted on the disk")
            self._context.notify(text, severity="warning")
        try:
            with self.screen.app.suspend():
                text = await asyncio.to_thread(edit_text, draft.text)
        except TchatError as error:
            self._context.notify_error(error)
            return
        self._context.prompt.load(replace(draft, text=text))

    # Saving

    def save_soon(self) -> None:
        """Save what the model has read, once the user rests."""
        if self._save_timer is not None:
            self._save_timer.stop()
        self._save_timer = self.screen.set_timer(SAVE_DELAY, self._save)

    @background(group="save")
    async def _save(self) -> None:
        if not self._turn.is_busy and not self._context.is_locked:
            await self._context.conversation.save()
            self.count()  # it is prefilled further


def _prompt_of(draft: Draft) -> Draft:
    """What of a draft goes to the model; nothing of a command that takes no prompt."""
    try:
        parsed = parse_input(draft.full_text, commands_for(Surface.SCREEN))
        if not isinstance(parsed, CommandCall):
            return draft if parsed == draft.full_text else Draft(parsed, files=draft.files)
        text = parse_candidates(parsed.argument)[1] if parsed.command.takes_prompt else ""
    except UsageError:  # a command that is not typed in full
        return Draft()
    return Draft(text, files=draft.files) if text else Draft()
