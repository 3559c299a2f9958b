"""A reply while it is written: the events of a turn, shown in the transcript."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tchat.chat.prefill_cost import restored_text
from tchat.engine.events import (
    PREFILL_COST,
    PREFILL_TIME,
    CacheRestored,
    Event,
    Finished,
    MessageStored,
    Notice,
    Reason,
    ReasoningDelta,
    StepFinished,
    TextDelta,
    ToolCallStarted,
    ToolStep,
)
from tchat.sessions.records import Message, Role
from tchat.translation import tr
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.steps import StepsController
from tchat.tui.controllers.transcript import PENDING, StorageController, TranscriptController
from tchat.tui.widgets.transcript.entry import Entry


class ReplyController:
    """Shows the question, the reply and what is said of both."""

    def __init__(
        self, context: ChatContext, transcript: TranscriptController, storage: StorageController
    ) -> None:
        self._context = context
        self._transcript = transcript
        self._storage = storage
        self._steps = StepsController(context, transcript)
        self._branched = False  # whether the turn began another path
        self._notices: list[Entry] = []  # of the turn before its messages were stored
        self._cost: Entry | None = None  # the one of them that shows the prefill cost

    def start(self) -> None:
        """A turn begins: what was said belongs to the one before."""
        self._context.turn_state.reply = None
        self._context.turn_state.replies.clear()
        self._notices.clear()
        self._cost = None

    async def show(self, batch: Sequence[Event]) -> None:
        """Show one batch of events; pieces of text are fed to the transcript at once."""
        text: list[str] = []
        reasoning: list[str] = []
        for event in batch:
            self._context.turn_state.progress.record(event)
            if isinstance(event, TextDelta):
                text.append(event.text)
            elif isinstance(event, ReasoningDelta):
                reasoning.append(event.text)
            elif isinstance(event, MessageStored):
                self._feed(text, reasoning)
                await self._show_question(event)
            elif isinstance(event, CacheRestored | Notice):
                self._show_notice(event)
            elif isinstance(event, StepFinished | ToolCallStarted | ToolStep):
                self._feed(text, reasoning)
                await self._show_step(event)
        self._feed(text, reasoning)
        last = batch[-1]
        if isinstance(last, Finished):
            self._context.turn_state.counted = self._context.turn_state.reply
            await self.finish()
            if last.reason is Reason.LENGTH:
                self._transcript.show_notice(
                    tr("The reply was cut off at the maximum length: /continue resumes it.")
                )
            elif last.reason is Reason.LOOP:
                self._transcript.show_notice(
                    tr(
                        "Stopped: it began to repeat itself. {key} continues it; /regen dry tries "
                        "again with a repetition penalty.",
                        key=self._context.key_name("chat.continue"),
                    )
                )
        self._context.status.refresh()

    def _feed(self, text: list[str], reasoning: list[str]) -> None:
        """Add pieces to the reply, and take them out of the lists."""
        reply, view = self._context.turn_state.reply, self._transcript.view
        if (text or reasoning) and reply is not None and view.has(reply):
            view.feed(reply, text="".join(text), reasoning="".join(reasoning))
        text.clear()
        reasoning.clear()

    async def _show_step(self, event: StepFinished | ToolCallStarted | ToolStep) -> None:
        """Show a call, or the end of the reply that called."""
        if isinstance(event, StepFinished):
            await self._show_stored()
        elif isinstance(event, ToolCallStarted):
            self._steps.show_call(event)
        else:
            self._steps.show_step(event)
        self._put_notices_last()

    def _put_notices_last(self) -> None:
        """Keep what was said of the turn below it, so that its steps stand together."""
        view = self._transcript.view
        last = next(view.column.backwards(), None)
        said = [each.key for each in self._notices if view.has(each.key)]
        if said and last != said[-1]:
            for entry in [view.entry(key) for key in said]:
                view.drop(entry.key)
                view.append(entry)

    def _show_notice(self, event: CacheRestored | Notice) -> None:
        if isinstance(event, Notice) and event.kind == "model":
            self._context.notify(event.text)  # of no interest in a moment
            return
        text = restored_text(event) if isinstance(event, CacheRestored) else event.text
        if isinstance(event, Notice) and event.kind in (PREFILL_COST, PREFILL_TIME):
            self._show_cost(text)
        else:
            self._notices.append(self._transcript.show_notice(text))

    def _show_cost(self, text: str) -> None:
        """Show the prefill cost; after prefill, replace it by the time taken."""
        if self._cost is not None and self._transcript.view.has(self._cost.key):
            self._transcript.view.update(replace(self._cost, text=text))
            self._cost = None
        else:
            self._cost = self._transcript.show_notice(text)
            self._notices.append(self._cost)

    async def _show_question(self, stored: MessageStored) -> None:
        """The messages are stored: show the question if it is new, and stream into the reply."""
        self._context.turn_state.reply = stored.reply
        self._context.turn_state.replies.add(stored.reply)
        view = self._transcript.view
        question = await self._context.messages.message(stored.question)
        entry = await self._context.messages.find_entry(stored.question)
        reply = await self._context.messages.find_entry(stored.reply)
        if entry is None or reply is None:  # it broke off meanwhile, and its row is gone
            await self._transcript.reload()
            return
        self._branched = not self._follows(question, entry)
        if self._branched:
            self._transcript.drop_pending()
            await self._transcript.reload()
            if not view.has(stored.reply):  # another path is shown meanwhile
                return
            for notice in self._notices:
                view.append(notice)
        view.begin(reply)
        if question.role is Role.TOOL:
            self._put_notices_last()
        self._transcript.update_first_screen()
        self._storage.show_failure()

    def _follows(self, question: Message, entry: Entry) -> bool:
        """Whether the question is the last message shown, or was made so here."""
        view = self._transcript.view
        last = view.last_message
        if last == question.id:
            if view.entry(last).status != entry.status:
                view.update(entry)  # it was stopped before, and gets its reply now
            self._transcript.drop_pending()
            return True
        if last != question.parent_id or not self._transcript.has_pending:
            return False
        view.replace(PENDING, entry)
        return True

    async def finish(self) -> None:
        """The turn is over: show the reply as it is stored."""
        self._steps.end()
        await self._show_stored()

    async def _show_stored(self) -> None:
        """Show the reply as it is stored."""
        reply, view = self._context.turn_state.reply, self._transcript.view
        if reply is None:
            return
        begun = view.has(reply)
        entry = await self._context.messages.find_entry(reply)
        if entry is None:  # stopped before the first token: there is no row
            if view.has(reply):
                view.drop(reply)
            if self._branched or not begun:  # another reply is the active one, or none is
                await self._transcript.reload()
            else:
                await self._show_unanswered()
        elif not view.has(reply):  # another path is shown meanwhile
            return
        elif entry.status == "streaming":  # it broke off and could not be stored
            view.update(replace(view.entry(reply), status="stopped"))
        else:
            view.update(entry)

    async def _show_unanswered(self) -> None:
        """Show that the last prompt was stopped before its reply."""
        last = self._transcript.view.last_message
        entry = await self._context.messages.find_entry(last) if last is not None else None
        if entry is not None:
            self._transcript.view.update(entry)
