"""Turns of the chat: a prompt goes to the engine, its events to the transcript and status line."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import work
from textual.screen import Screen

from tchat.engine.events import Event, Finished, Notice, Reason, Reasoning, Stored, Token
from tchat.errors import TchatError
from tchat.tui.conversation import Act, Conversation
from tchat.tui.entries import entry_of
from tchat.tui.progress import Progress
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.prompt_draft import Draft
from tchat.tui.widgets.status import StatusData, StatusLine
from tchat.tui.widgets.transcript.entry import Entry

if TYPE_CHECKING:
    from tchat.tui.widgets.transcript import Transcript

PENDING = "pending"  # key of a prompt until the store has given it an id


class Turns(Screen[None]):
    """The part of the chat screen that sends, streams, stops and queues.

    Attributes:
        conversation: The chat behind the screen.
        busy: Whether the engine works for this screen.
    """

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self.conversation = conversation
        self.busy = False
        self._progress = Progress()
        self._queue: deque[Draft] = deque()
        self._reply: int | None = None
        self._failed = False
        self._notices = 0

    # What the widgets are called

    @property
    def transcript(self) -> Transcript:
        """The messages."""
        from tchat.tui.widgets.transcript import Transcript

        return self.query_one(Transcript)

    @property
    def prompt(self) -> Prompt:
        """Where the user types."""
        return self.query_one(Prompt)

    # Sending

    def send(self, draft: Draft) -> None:
        """Send a prompt, or let it wait for the reply under way."""
        if self.busy:
            self._queue.append(draft)
            self._show_queue()
            return
        self._send(draft)

    @work(group="send")
    async def _send(self, draft: Draft) -> None:
        try:
            text = await asyncio.to_thread(_with_files, draft)
        except TchatError as error:
            self.tell_error(error)
            self.prompt.load(draft)
            return
        self.transcript.append(Entry(key=PENDING, role="user", text=text, created_at=time.time()))
        self.act(lambda chat: chat.send(text))

    def act(self, act: Act) -> None:
        """Let the engine do something for this session, when it does nothing else."""
        if self.busy:
            self.notify("Wait for the reply, or stop it with Esc.", markup=False)
            return
        self.busy = True
        self._failed = False
        self._run(act)

    def retry(self) -> None:
        """Do again what failed."""
        if self._failed and not self.busy:
            # The question is stored, whatever failed after that.
            self.act(lambda chat: chat.continue_reply())

    @work(group="turn")
    async def _run(self, act: Act) -> None:
        self._reply = None
        try:
            async for batch in self.conversation.stream(act):
                await self._show(batch)
        except TchatError as error:
            self._failed = True
            self.tell_error(error)
        finally:
            self.busy = False
            self._progress.end()
        if not self.is_running:  # the screen was closed meanwhile
            return
        self.show_status()
        await self.settled()
        if self._queue and not self.busy:
            draft = self._queue.popleft()
            self._show_queue()
            self._send(draft)

    def stop(self) -> None:
        """Stop what the engine does; what was written stays."""
        if self.busy:
            self.conversation.cancel.set()
            self._progress.stop()
            self.show_status()

    async def settled(self) -> None:
        """Called when a turn is over."""

    # Showing

    async def _show(self, batch: Sequence[Event]) -> None:
        """Show one batch of events; pieces of text are fed to the transcript at once."""
        text: list[str] = []
        reasoning: list[str] = []
        for event in batch:
            self._progress.take(event)
            if isinstance(event, Token):
                text.append(event.text)
            elif isinstance(event, Reasoning):
                reasoning.append(event.text)
            elif isinstance(event, Stored):
                await self._begin(event)
            elif isinstance(event, Notice):
                self.tell(event.text)
        if self._reply is not None and (text or reasoning):
            self.transcript.feed(self._reply, text="".join(text), reasoning="".join(reasoning))
        last = batch[-1]
        if isinstance(last, Finished):
            await self._finish(last)
        self.show_status()

    async def _begin(self, stored: Stored) -> None:
        """The rows are there: show the branch that they end, and stream into the reply."""
        entries = await self.conversation.entries()
        self._reply = stored.reply
        self.transcript.show(entries[:-1])
        self.transcript.begin(entries[-1])

    async def _finish(self, finished: Finished) -> None:
        if self._reply is None:
            return
        branch = await self.conversation.branch()
        positions = await self.conversation.positions()
        message = next((each for each in branch if each.id == self._reply), None)
        if message is None:  # stopped before the first token: there is no row
            self.transcript.drop(self._reply)
            return
        self.transcript.finish(entry_of(message, positions.get(message.id, (1, 1))))
        if finished.reason is Reason.LENGTH:
            self.tell("The reply was cut off at its greatest length: /continue goes on.")

    def tell(self, text: str) -> None:
        """Say something in the transcript that is no message of the chat."""
        self._notices += 1
        self.transcript.append(Entry(key=f"notice-{self._notices}", role="notice", text=text))

    def tell_error(self, error: TchatError) -> None:
        """Show a failure where it happened, with a way to try again."""
        self._notices += 1
        self.transcript.append(
            Entry(
                key=f"error-{self._notices}",
                role="error",
                text=str(error),
                retry=self._failed,
            )
        )

    def status(self) -> StatusData:
        """What the status line says; the screen adds what it knows of the model."""
        return StatusData(state=self._progress.state, used=self._progress.used)

    def show_status(self) -> None:
        """Draw the status line."""
        self.query_one(StatusLine).show(self.status())

    # The queue

    def take_queued(self) -> None:
        """Put the last waiting prompt back where it is typed."""
        if self._queue:
            self.prompt.load(self._queue.pop())
            self._show_queue()

    def _show_queue(self) -> None:
        self.prompt.queue = [draft.text.splitlines()[0] for draft in self._queue if draft.text]


def _with_files(draft: Draft) -> str:
    """The prompt with the files that it mentions in front."""
    from tchat.chat.attachments import read_attachment, with_attachments

    return with_attachments(draft.full_text, [read_attachment(name) for name in draft.attachments])
