"""Turns of the chat: a prompt goes to the engine, and others wait meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from textual.timer import Timer

from tchat.errors import TchatError, UsageError
from tchat.paths import Paths
from tchat.sanitize import printable
from tchat.settings import Settings
from tchat.tui.background import background
from tchat.tui.crashes import unexpected
from tchat.tui.screens.replies import Replies
from tchat.tui.screens.telling import LONG, PENDING
from tchat.tui.widgets.prompt_draft import Draft

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.engine.events import Event
    from tchat.tui.conversation import Act

REST = 1.0  # seconds after a turn


def load(chat: Chat) -> Iterator[Event]:
    """Load the model, so that the first prompt does not wait for it."""
    return chat.load()


class Turns(Replies):
    """The part of the chat screen that sends, stops and queues."""

    def __init__(self, settings: Settings, paths: Paths) -> None:
        super().__init__(settings, paths)
        self._queue: deque[Draft] = deque()
        self._held = False  # whether the queue waits for the user, who stopped a turn
        self._rest: Timer | None = None

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

    @background(group="turn")
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
        if self.refuses():
            return False
        self._free.clear()
        return True

    @background(group="turn")
    async def _run(self, act: Act) -> None:
        await self._turn(act)

    async def _turn(self, act: Act) -> None:
        """One turn from its begin to its end, whatever that is."""
        self._reply = None
        self._said.clear()
        self._priced = None
        self._progress.begin()
        self.show_status()
        failure: TchatError | None = None
        try:
            async for batch in self.conversation.stream(act):
                await self._show(batch)
        except TchatError as error:
            failure = error
        except Exception as error:  # noqa: BLE001  whatever broke the engine, the chat goes on
            failure = unexpected(error, self._paths.log_file)
        finally:
            stopped = self._progress.end()
            self._free.set()
        if not self.is_running:  # the screen was closed meanwhile
            return
        await self._ended(act, failure)
        if stopped and act is load and self._queue:
            self._next(dropped=True)
        self.go_on_with_queue()

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

    async def _fail(self, act: Act, error: TchatError) -> None:
        """Tell a failure with a retry that does what is left to do."""
        from tchat.sessions.records import Role

        await self._finish()
        branch = [] if act is load else await self.conversation.branch(last=1)
        unanswered = bool(branch) and branch[-1].role is Role.USER
        if isinstance(error, UsageError) and not unanswered and not self.transcript.has(PENDING):
            self.notify(printable(str(error)), severity="error", timeout=LONG, markup=False)
            return
        # The question is stored, whatever failed after that: asking again would double it.
        left: Act = (lambda chat: chat.continue_reply()) if unanswered else act
        self.tell_error(error, lambda: self.act(left))

    def stop(self) -> None:
        """Stop what the engine does; what was written stays."""
        if self.busy:
            self.conversation.cancel.set()
            self._progress.stop()
            self.show_status()

    def hold_queue(self) -> None:
        """Let the prompts that wait go on waiting, until the user wants the next one."""
        self._held = bool(self._queue)
        self._show_queue()

    def go_on_with_queue(self, *, wanted: bool = False) -> None:
        """Send the next prompt that waits, unless the engine is busy or the queue is held.

        Args:
            wanted: The user wants it: the queue is held no more.
        """
        if wanted:
            self._held = False
            self._show_queue()
        if self._queue and not self._held and not self.busy:
            self._next(dropped=False)

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

    @background(group="save")
    async def _save(self) -> None:
        if not self.busy:
            await self.conversation.save()
            self.count_draft()  # it is read on

    def count_draft(self) -> object:
        """Called when the draft is to be counted, and read where there is time for it."""

    # The queue

    def take_queued(self) -> None:
        """Put the last waiting prompt back where it is typed."""
        if self._queue:
            self.prompt.load(self._queue.pop())
            self._show_queue()

    def _show_queue(self) -> None:
        self._held = self._held and bool(self._queue)
        self.prompt.held = self._held
        self.prompt.queue = [draft.text.splitlines()[0] for draft in self._queue if draft.text]


def full_prompt(draft: Draft) -> str:
    """The prompt with the files that it mentions in front."""
    from tchat.chat.attachments import read_attachment, with_attachments

    return with_attachments(draft.full_text, [read_attachment(name) for name in draft.attachments])
