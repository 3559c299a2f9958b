"""Turns of the chat: a prompt goes to the engine, its events to the transcript and status line."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import work
from textual.screen import Screen
from textual.timer import Timer
from textual.worker import Worker, WorkerState

from tchat.chat.chat import Chat
from tchat.chat.prices import restored_text
from tchat.engine.events import Event, Finished, Notice, Reason, Reasoning, Restored, Stored, Token
from tchat.errors import StorageError, TchatError
from tchat.sessions.records import Message, Role
from tchat.tui.conversation import Act, Conversation
from tchat.tui.crashes import unexpected
from tchat.tui.progress import Progress
from tchat.tui.widgets.greeting import Greeting
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.prompt_draft import Draft
from tchat.tui.widgets.status import StatusData, StatusLine
from tchat.tui.widgets.transcript.entry import Entry, Key

if TYPE_CHECKING:
    from tchat.tui.widgets.transcript import Transcript

REST = 1.0  # seconds after a turn
PENDING = "pending"  # key of a prompt until the store has given it an id
Again = Callable[[], object]


def load(chat: Chat) -> Iterator[Event]:
    """Load the model, so that the first prompt does not wait for it."""
    return chat.load()


class Turns(Screen[None]):
    """The part of the chat screen that sends, streams, stops and queues.

    Attributes:
        conversation: The chat behind the screen.
    """

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self.conversation = conversation
        self._progress = Progress()
        self._free = asyncio.Event()
        self._free.set()
        self._queue: deque[Draft] = deque()
        self._reply: int | None = None
        self._branched = False  # whether the turn began another path
        self._said: list[Entry] = []  # notices of the turn before its rows were there
        self._again: dict[Key, Again] = {}  # what the error blocks try again
        self._notes = 0
        self._shelter: Key | None = None  # the block that says that the disk cannot be written
        self._rest: Timer | None = None

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

    @property
    def busy(self) -> bool:
        """Whether the engine works for this screen."""
        return not self._free.is_set()

    # Sending

    def send(self, draft: Draft) -> None:
        """Send a prompt, or let it wait for the reply under way."""
        if self.busy:
            self._queue.append(draft)
            self._show_queue()
            return
        self.submit(draft, lambda text: lambda chat: chat.send(text), shown=True)

    def submit(self, draft: Draft, how: Callable[[str], Act], *, shown: bool = False) -> None:
        """Do with the full text of a draft, its files read, what ``how`` makes of it.

        Args:
            draft: What was typed; it comes back when it cannot be sent.
            how: From the text to what the engine shall do.
            shown: Whether it is the next message, to be seen at once.
        """
        if not self._claim():
            self.prompt.load(draft)
            return
        self._submit_read(draft, how, shown)

    @work(group="turn", exit_on_error=False)
    async def _submit_read(self, draft: Draft, how: Callable[[str], Act], shown: bool) -> None:
        try:
            text = await asyncio.to_thread(full_prompt, draft)
        except TchatError as error:
            self._free.set()
            self.tell_error(error)
            self.prompt.load(draft)
            return
        if shown:
            self._show_pending(draft)
        await self._turn(how(text))

    def act(self, act: Act) -> None:
        """Let the engine do something for this session, when it does nothing else."""
        if self._claim():
            self._run(act)

    def _claim(self) -> bool:
        """Take the engine for a turn; False, and a toast, when it is at work."""
        if self.busy:
            self.notify("Wait for the reply, or stop it with Esc.", markup=False)
            return False
        self._free.clear()
        return True

    @work(group="turn", exit_on_error=False)
    async def _run(self, act: Act) -> None:
        await self._turn(act)

    async def _turn(self, act: Act) -> None:
        """One turn from its begin to its end, whatever that is."""
        self._reply = None
        self._said.clear()
        self._progress.begin()
        self.show_status()
        failure: TchatError | None = None
        try:
            async for batch in self.conversation.stream(act):
                await self._show(batch)
        except TchatError as error:
            failure = error
        except Exception as error:  # noqa: BLE001  whatever broke the engine, the chat goes on
            failure = unexpected(error, self.conversation.paths.log_file)
        finally:
            stopped = self._progress.end()
            self._free.set()
        if not self.is_running:  # the screen was closed meanwhile
            return
        await self._ended(act, failure)
        if self._queue and not self.busy:
            self._next(dropped=stopped and act is load)

    async def _ended(self, act: Act, failure: TchatError | None) -> None:
        """Show what became of the turn; what fails here is told and leaves the queue alone."""
        try:
            if failure is not None:
                await self._fail(act, failure)
            elif self._reply is None and act is not load:
                await self.reload()  # what was done made no reply: a reply was edited
            if self.conversation.failure is not None:
                await self._try_to_store()
            await self.look_at_disk()
            self.show_status()
            await self.settled()
        except TchatError as error:
            self.tell_error(error)

    def _next(self, *, dropped: bool) -> None:
        """Send the prompt that waits; it comes back when the user stopped what it waited for."""
        draft = self._queue.popleft()
        self._show_queue()
        if dropped:
            self.prompt.load(draft)
        else:
            self.send(draft)

    def stop(self) -> None:
        """Stop what the engine does; what was written stays."""
        if self.busy:
            self.conversation.cancel.set()
            self._progress.stop()
            self.show_status()

    async def until_free(self) -> None:
        """Wait until the engine does nothing for this screen."""
        await self._free.wait()

    async def end_turn(self) -> None:
        """Stop what the engine does and wait for that; prompts that wait come back."""
        if self._queue:
            self.prompt.load("\n\n".join(draft.text for draft in self._queue))
            self._queue.clear()
            self._show_queue()
        self.stop()
        await self._free.wait()

    async def settled(self) -> None:
        """Called when a turn is over."""

    def save_soon(self) -> None:
        """Save what was read, once the user rests."""
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(REST, self._save)

    @work(group="save")
    async def _save(self) -> None:
        if not self.busy:
            await self.conversation.save()

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
            elif isinstance(event, Restored | Notice):
                self._say(event)
        if (text or reasoning) and self._reply is not None and self.transcript.has(self._reply):
            self.transcript.feed(self._reply, text="".join(text), reasoning="".join(reasoning))
        last = batch[-1]
        if isinstance(last, Finished):
            await self._finish()
            if last.reason is Reason.LENGTH:
                self.tell("The reply was cut off at its greatest length: /continue goes on.")
        self.show_status()

    def _say(self, event: Restored | Notice) -> None:
        if isinstance(event, Notice) and event.kind == "model":
            self.notify(event.text, markup=False)  # of no interest in a moment
            return
        text = restored_text(event) if isinstance(event, Restored) else event.text
        self._said.append(self.tell(text))

    async def _begin(self, stored: Stored) -> None:
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
            self.transcript.show((await self.conversation.entries())[:-1])
            for said in self._said:
                self.transcript.append(said)
        self.transcript.begin(reply)
        self._greet()
        await self.look_at_disk()

    def _follows(self, question: Message, entry: Entry) -> bool:
        """Whether the question is the last message shown, or was made so here."""
        last = self.transcript.last_message
        if last == question.id:
            return True
        if last != question.parent_id or not self.transcript.has(PENDING):
            return False
        self.transcript.replace(PENDING, entry)
        return True

    async def _finish(self) -> None:
        """Show the reply as it is stored."""
        if self._reply is None or not self.transcript.has(self._reply):
            return
        entry = await self.conversation.find_entry(self._reply)
        if entry is None:  # stopped before the first token: there is no row
            self.transcript.drop(self._reply)
            if self._branched:  # the reply from before is the active one again
                await self.reload()
        elif entry.status == "streaming":  # it broke off and could not be stored
            self.transcript.finish(replace(self.transcript.entry(self._reply), status="stopped"))
        else:
            self.transcript.finish(entry)

    def _show_pending(self, draft: Draft) -> None:
        if self.transcript.has(PENDING):  # one that failed and was not tried again
            self.transcript.drop(PENDING)
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

    async def reload(self) -> None:
        """Show the active path of the session as it is stored."""
        self.transcript.show(await self.conversation.entries())
        self._greet()

    def _greet(self) -> None:
        """Show how to begin while there is no message."""
        begun = self.transcript.last_message is not None or self.transcript.has(PENDING)
        self.query_one(Greeting).display = not begun

    def tell(self, text: str) -> Entry:
        """Say something in the transcript that is no message of the chat."""
        self._notes += 1
        entry = Entry(key=f"notice-{self._notes}", role="notice", text=text)
        self.transcript.append(entry)
        return entry

    def tell_error(self, error: TchatError, again: Again | None = None) -> Key:
        """Show a failure where it happened; ``again`` is what its retry does."""
        self._notes += 1
        key = f"error-{self._notes}"
        if again is not None:
            self._again[key] = again
        self.transcript.append(
            Entry(key=key, role="error", text=str(error), retry=again is not None)
        )
        return key

    def status(self) -> StatusData:
        """What the status line says; the screen adds what it knows of the model."""
        return StatusData(
            state=self._progress.state,
            used=self._progress.used,
            unstored=self.conversation.failure is not None,
        )

    def show_status(self) -> None:
        """Draw the status line."""
        self.query_one(StatusLine).show(self.status())

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Tell what broke in the background: it never ends the program."""
        error = event.worker.error
        if event.state is not WorkerState.ERROR or error is None:
            return
        if not isinstance(error, TchatError):
            error = unexpected(error, self.conversation.paths.log_file)
        self.tell_error(error)

    # Failures

    async def _fail(self, act: Act, error: TchatError) -> None:
        """Tell a failure with a retry that does what is left to do."""
        await self._finish()
        branch = [] if act is load else await self.conversation.branch()
        unanswered = bool(branch) and branch[-1].role is Role.USER
        # The question is stored, whatever failed after that: asking again would double it.
        left: Act = (lambda chat: chat.continue_reply()) if unanswered else act
        self.tell_error(error, lambda: self.act(left))

    def retry(self, key: Key) -> None:
        """Do again what an error block is about."""
        again = self._again.get(key)
        if again is None or self.busy:
            return
        del self._again[key]
        self.transcript.drop(key)
        again()

    def retry_last(self) -> bool:
        """Do again what failed last; whether there was anything."""
        for key in reversed(self._again):
            if self.transcript.has(key):
                self.retry(key)
                return True
        return False

    async def look_at_disk(self) -> None:
        """Say that the chat is in memory only, and that it is stored again."""
        failure = self.conversation.failure
        if failure is None or (self._shelter is not None and self.transcript.has(self._shelter)):
            return
        told = StorageError(
            f"{failure.message}. The chat goes on in memory and is lost when tchat ends",
            failure.hint,
        )
        self._shelter = self.tell_error(told, self._store_again)

    @work(group="storage", exit_on_error=False)
    async def _store_again(self) -> None:
        await self._try_to_store()
        await self.look_at_disk()

    async def _try_to_store(self) -> None:
        """Store what is only in memory, if that is possible now."""
        try:
            await self.conversation.store_again()
        except StorageError:
            return
        self._shelter = None
        await self.reload()  # new messages may have other ids
        self.tell("The disk can be written again: everything is stored.")
        self.show_status()

    # The queue

    def take_queued(self) -> None:
        """Put the last waiting prompt back where it is typed."""
        if self._queue:
            self.prompt.load(self._queue.pop())
            self._show_queue()

    def _show_queue(self) -> None:
        self.prompt.queue = [draft.text.splitlines()[0] for draft in self._queue if draft.text]


def full_prompt(draft: Draft) -> str:
    """The prompt with the files that it mentions in front."""
    from tchat.chat.attachments import read_attachment, with_attachments

    return with_attachments(draft.full_text, [read_attachment(name) for name in draft.attachments])
