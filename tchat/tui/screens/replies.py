"""Replies as they come: the events of a turn are shown in the transcript."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.screens.telling import PENDING, Telling
from tchat.tui.widgets.prompt_draft import Draft

if TYPE_CHECKING:
    from tchat.engine.events import CacheRestored, Event, MessageStored, Notice
    from tchat.sessions.records import Message
    from tchat.tui.widgets.transcript.entry import Entry


class Replies(Telling):
    """The part of the chat screen that shows a turn."""

    def __init__(self, settings: Settings, paths: Paths) -> None:
        super().__init__(settings, paths)
        self._branched = False  # whether the turn began another path
        self._said: list[Entry] = []  # notices of the turn before its rows were there
        self._priced: Entry | None = None  # the one of them that tells a price

    async def _show(self, batch: Sequence[Event]) -> None:
        """Show one batch of events; pieces of text are fed to the transcript at once."""
        from tchat.engine.events import (
            CacheRestored,
            Finished,
            MessageStored,
            Notice,
            Reason,
            Reasoning,
            Token,
        )

        text: list[str] = []
        reasoning: list[str] = []
        for event in batch:
            self._progress.take(event)
            if isinstance(event, Token):
                text.append(event.text)
            elif isinstance(event, Reasoning):
                reasoning.append(event.text)
            elif isinstance(event, MessageStored):
                await self._begin(event)
            elif isinstance(event, CacheRestored | Notice):
                self._say(event)
        if (text or reasoning) and self._reply is not None and self.transcript.has(self._reply):
            self.transcript.feed(self._reply, text="".join(text), reasoning="".join(reasoning))
        last = batch[-1]
        if isinstance(last, Finished):
            await self._finish()
            if last.reason is Reason.LENGTH:
                self.tell("The reply was cut off at its greatest length: /continue goes on.")
        self.show_status()

    def _say(self, event: CacheRestored | Notice) -> None:
        from tchat.chat.prefill_cost import restored_text
        from tchat.engine.events import CacheRestored, Notice

        if isinstance(event, Notice) and event.kind == "model":
            self.notify(event.text, markup=False)  # of no interest in a moment
            return
        text = restored_text(event) if isinstance(event, CacheRestored) else event.text
        if isinstance(event, Notice) and event.kind == "price":
            self._tell_price(text)
        else:
            self._said.append(self.tell(text))

    def _tell_price(self, text: str) -> None:
        """Say what is read again; what it came to in the end takes the place of that."""
        if self._priced is not None and self.transcript.has(self._priced.key):
            self.transcript.update(replace(self._priced, text=text))
            self._priced = None
        else:
            self._priced = self.tell(text)
            self._said.append(self._priced)

    async def _begin(self, stored: MessageStored) -> None:
        """The rows are there: show the question where it is new, and stream into the reply."""
        self._reply = stored.reply
        question = await self.conversation.message(stored.question)
        asked = await self.conversation.find_entry(stored.question)
        reply = await self.conversation.find_entry(stored.reply)
        if asked is None or reply is None:  # it broke off meanwhile, and its row is gone
            await self.reload()
            return
        self._branched = not self._follows(question, asked)
        if self._branched:
            self._drop_pending()
            await self.reload()
            if not self.transcript.has(stored.reply):  # another path is shown meanwhile
                return
            for said in self._said:
                self.transcript.append(said)
        self.transcript.begin(reply)
        self._greet()
        await self.look_at_disk()

    def _follows(self, question: Message, entry: Entry) -> bool:
        """Whether the question is the last message shown, or was made so here."""
        last = self.transcript.last_message
        if last == question.id:
            if self.transcript.entry(last).status != entry.status:
                self.transcript.update(entry)  # it was stopped before, and gets its reply now
            self._drop_pending()
            return True
        if last != question.parent_id or not self.transcript.has(PENDING):
            return False
        self.transcript.replace(PENDING, entry)
        return True

    async def _finish(self) -> None:
        """Show the reply as it is stored."""
        reply = self._reply
        if reply is None:
            return
        begun = self.transcript.has(reply)
        entry = await self.conversation.find_entry(reply)
        if entry is None:  # stopped before the first token: there is no row
            if self.transcript.has(reply):
                self.transcript.drop(reply)
            if self._branched or not begun:  # another reply is the active one, or none is
                await self.reload()
            else:
                await self._show_unanswered()
        elif not self.transcript.has(reply):  # another path is shown meanwhile
            return
        elif entry.status == "streaming":  # it broke off and could not be stored
            self.transcript.finish(replace(self.transcript.entry(reply), status="stopped"))
        else:
            self.transcript.finish(entry)

    async def _show_unanswered(self) -> None:
        """Show that the last prompt was stopped before its reply."""
        last = self.transcript.last_message
        entry = await self.conversation.find_entry(last) if last is not None else None
        if entry is not None:
            self.transcript.update(entry)

    def _show_pending(self, draft: Draft) -> None:
        from tchat.tui.widgets.transcript.entry import Entry

        self._drop_pending()  # one that failed and was not tried again
        self.transcript.append(
            Entry(
                key=PENDING,
                role="user",
                text=draft.full_text,
                attachments=draft.attachments,
                created_at=time.time(),
            )
        )
        self.transcript.follow()
        self._greet()
