"""Turns of the chat: a prompt goes to the engine, and others wait meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from tchat.engine.events import Event
from tchat.errors import PromptTooLong, TchatError, UsageError
from tchat.sessions.records import Role, Status
from tchat.translation import tr
from tchat.tui.background import background, explained, report
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.notifier import Notifier
from tchat.tui.controllers.reply import ReplyController
from tchat.tui.controllers.transcript import StorageController, TranscriptController
from tchat.tui.engine_state import Loading, Phase
from tchat.tui.widgets.prompt_draft import Draft

if TYPE_CHECKING:
    from tchat.engine.engine_thread import Request
    from tchat.tui.services.conversation import ChatCall, DraftCall

Undo = Callable[[TchatError], Awaitable[None]]
LONG = 8.0  # seconds that a notice of a mistake is shown


class TurnFollower(Protocol):
    """What a turn needs of the controller of several replies."""

    @property
    def is_open(self) -> bool:
        """Whether there are replies to choose from: no prompt that waits is sent meanwhile."""

    def close(self) -> object:
        """Leave the replies as they are: a turn begins, or another session is opened."""

    async def on_events(self, batch: Sequence[Event]) -> None:
        """Events came; called before they are shown in the transcript."""

    async def on_failure(self) -> None:
        """The turn failed; called before that is told."""

    async def on_end(self, failure: TchatError | None) -> None:
        """The turn is over, and shown as it is stored."""


class TurnGuard(Protocol):
    """Who may refuse that a turn begins."""

    async def may_begin(self) -> bool:
        """Whether it may; where not, it told why."""


class PendingPrompts:
    """Drafts that wait for the running turn, in the order sent; the prompt shows them."""

    def __init__(self, context: ChatContext) -> None:
        self.is_held = False  # whether they wait for the user, who stopped a turn
        self._context = context
        self._drafts: deque[Draft] = deque()

    def __len__(self) -> int:
        return len(self._drafts)

    def __iter__(self) -> Iterator[Draft]:
        return iter(self._drafts)

    def append(self, draft: Draft) -> None:
        """Let a draft wait behind the others."""
        self._drafts.append(draft)
        self._show()

    def pop_first(self) -> Draft:
        """Take out the draft that waits longest."""
        draft = self._drafts.popleft()
        self._show()
        return draft

    def clear(self) -> list[Draft]:
        """Take all of them out, in order."""
        drafts = list(self._drafts)
        self._drafts.clear()
        self._show()
        return drafts

    def give_back_last(self) -> None:
        """Put the last one back where it is typed."""
        if self._drafts:
            self._context.prompt.give_back(self._drafts.pop())
            self._show()

    def hold(self) -> None:
        """Let them wait until the user wants the next one."""
        self.is_held = bool(self._drafts)
        self._show()

    def release(self) -> None:
        """Hold them no more."""
        self.is_held = False
        self._show()

    def _show(self) -> None:
        self.is_held = self.is_held and bool(self._drafts)
        prompt = self._context.prompt
        prompt.held = self.is_held
        prompt.queue = [draft.text.splitlines()[0] for draft in self._drafts if draft.text]
        self._context.status.queued = len(self._drafts)
        self._context.status.refresh()


class TurnController:
    """Sends prompts, stops turns, and lets prompts wait."""

    follower: TurnFollower
    guard: TurnGuard

    def __init__(
        self,
        context: ChatContext,
        reply: ReplyController,
        transcript: TranscriptController,
        storage: StorageController,
    ) -> None:
        self.screen = context.screen
        self.state = context.turn_state
        self.queue = PendingPrompts(context)
        self._context = context
        self._reply = reply
        self._transcript = transcript
        self._storage = storage
        self._notifier = Notifier(context)
        self._switch_lock = asyncio.Lock()
        self._uncancelled: set[asyncio.Task[None]] = set()

    # Sending

    @property
    def is_busy(self) -> bool:
        """Whether no turn can begin: one runs, or another session is being opened."""
        return self.state.is_busy

    def reject_if_busy(self) -> bool:
        """Whether the engine is at work, so that something cannot be done now; says so."""
        if self.is_busy:
            doing = self.state.progress.state
            loading = doing is Phase.PREPARING or isinstance(doing, Loading)
            key = self._context.key_name("chat.stop")
            self._context.notify(
                tr("The model is being loaded: wait, or stop it with {key}.", key=key)
                if loading
                else tr("A reply is being written: wait, or stop it with {key}.", key=key)
            )
        return self.is_busy

    def send(self, draft: Draft) -> None:
        """Send a prompt, or let it wait for the reply under way."""
        if self.is_busy:
            self.queue.append(draft)
        else:
            self.run_draft(draft, lambda chat, text: chat.send(text), shown=True)

    def run_draft(
        self,
        draft: Draft,
        call: DraftCall,
        *,
        shown: bool = False,
        unsent: Callable[[Draft], object] | None = None,
    ) -> None:
        """Read the draft's files, then run ``call`` with its text.

        With ``shown`` it is seen at once as the next message. When it cannot be sent, ``unsent``
        gets the draft; without it, the prompt does.
        """
        unsent = unsent or self._context.prompt.give_back
        request = self._start()
        if request is None:
            unsent(draft)
        else:
            self._run_draft(request, draft, call, shown, unsent)

    def run(self, call: ChatCall) -> None:
        """Run ``call`` on the engine; while the engine is busy, show a toast instead."""
        if (request := self._start()) is not None:
            self._run_call(request, call)

    def load_model(self, *, undo: Undo | None = None) -> None:
        """Load the model, so that the first prompt does not wait for it.

        If it fails, ``undo`` shows the error, and the model is loaded again.
        """
        if (request := self._start(loads_model=True)) is not None:
            self._run_call(request, lambda chat: chat.load_and_restore(), undo)

    def _start(self, *, loads_model: bool = False) -> Request | None:
        """Take the engine for a turn; None, and a toast, when it is at work."""
        if self.reject_if_busy():
            return None
        self.state.loads_model = loads_model
        self.state.idle.clear()
        self.state.request = request = self._context.conversation.request()
        tools = self._context.settings.tools
        self.state.progress.max_steps = tools.max_steps if tools.enabled else 0
        self.state.progress.begin()
        self._context.status.refresh()
        self.follower.close()
        return request

    @background(group="turn")
    async def _run_call(self, request: Request, call: ChatCall, undo: Undo | None = None) -> None:
        async with self._turn():
            if self.state.loads_model or await self.guard.may_begin():
                await self._stream(request, call, undo)
            else:
                self.queue.hold()

    @background(group="turn")
    async def _run_draft(
        self,
        request: Request,
        draft: Draft,
        call: DraftCall,
        shown: bool,
        unsent: Callable[[Draft], object],
    ) -> None:
        """As `_run_call`, once the draft's files are read.

        Stopped before that it comes back. When another session is opened, it is stored in the one
        that it was sent in, as a prompt stopped before its reply.
        """
        async with self._turn():
            try:
                text, assumed = await self._context.read_prompt(draft, with_resources=True)
            except Exception:
                unsent(draft)
                raise
            if request.is_stopped and not self.state.leaving:
                unsent(draft)
                return
            if not await self.guard.may_begin():
                self.queue.hold()
                unsent(draft)
                return
            for each in assumed:
                self._transcript.show_notice(each)
            if shown:
                self._transcript.show_pending(draft)
            failure = await self._stream(request, lambda chat: call(chat, text), returns=True)
            if isinstance(failure, PromptTooLong):
                unsent(draft)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A turn from its begin to its end, whatever that is; then the next one is sent."""
        self._reply.start()
        self._notifier.start_turn()
        try:
            yield
        except Exception as error:  # noqa: BLE001  whatever broke, the chat goes on
            report(self.screen, error)
        finally:
            stopped = self.state.progress.end()
            self.state.idle.set()
        if not self.screen.is_running:  # it was closed meanwhile
            return
        self._context.status.refresh()
        is_stopped = self.state.request is not None and self.state.request.is_stopped
        if self.state.replies and not is_stopped and not self.queue:
            self._notifier.end_turn()
        if stopped and self.state.loads_model and self.queue:
            self._send_next(dropped=True)
        self.advance_queue()
        await self._context.settle()

    async def _stream(
        self, request: Request, call: ChatCall, undo: Undo | None = None, *, returns: bool = False
    ) -> TchatError | None:
        """Run the call on the engine and show its events; return the error, if any.

        ``returns`` says that a prompt which is too long goes back to where it is typed.
        """
        failure: TchatError | None = None
        try:
            conversation = self._context.conversation
            begin = conversation.stream if self.state.loads_model else conversation.turn
            async with aclosing(begin(call, request)) as batches:
                async for batch in batches:
                    with self._transcript.updating():
                        await self.follower.on_events(batch)
                        await self._reply.show(batch)
        except Exception as error:  # noqa: BLE001  whatever broke the engine, the chat goes on
            failure = explained(self.screen, error)
        if not self.screen.is_running:
            return failure
        if failure is not None and undo is not None:
            await undo(failure)
            self.state.request = self._context.conversation.request()
            return await self._stream(self.state.request, call)
        with self._transcript.updating():
            await self._show_end(call, failure, returns=returns)
        return failure

    async def _show_end(self, call: ChatCall, failure: TchatError | None, *, returns: bool) -> None:
        """Show what became of the turn."""
        if failure is not None:
            await self.follower.on_failure()
            if returns and isinstance(failure, PromptTooLong):  # nothing of it is stored
                self._transcript.drop_pending()
                await self._transcript.reload()
                self._transcript.show_error(failure)
            else:
                await self._show_failure(call, failure)
        elif self.state.reply is None and not self.state.loads_model:
            self._transcript.drop_pending()
            await self._transcript.reload()  # it made no reply: one was edited, or it was stopped
        if self._context.conversation.failure is not None:
            await self._storage.store_again()
        if self._transcript.is_stale:
            await self._transcript.reload()
        self._storage.show_failure()
        await self.follower.on_end(failure)

    async def _show_failure(self, call: ChatCall, error: TchatError) -> None:
        """Tell a failure with a retry that does what is left to do."""
        try:
            await self._reply.finish()
            branch = [] if self.state.loads_model else await self._context.messages.branch(last=1)
            unanswered = bool(branch) and branch[-1].role in (Role.USER, Role.TOOL)
            reply = branch[-1] if branch and branch[-1].id in self.state.replies else None
            if self._transcript.is_stale or (unanswered and self._transcript.has_pending):
                await self._transcript.reload()  # what is stored is shown with its id
        except Exception:
            self._transcript.show_error(error)  # what failed first is told first
            raise
        if isinstance(error, UsageError) and not unanswered and not self._transcript.has_pending:
            self._context.notify_error(error, timeout=LONG)
            return
        # The question is stored, whatever failed after that: asking again would double it.
        left: ChatCall = (lambda chat: chat.continue_reply()) if unanswered or reply else call
        retry = self.load_model if self.state.loads_model else partial(self.run, left)
        is_done = reply is not None and reply.status is Status.DONE
        self._transcript.show_error(error, None if is_done else retry)

    # Stopping

    def stop(self) -> None:
        """Stop what the engine does; what was written stays."""
        if self.is_busy and self.state.request is not None:
            self.state.request.stop()
            self.state.progress.stop()
            self._context.status.refresh()

    @asynccontextmanager
    async def between_turns(self, *, leaving: bool = False) -> AsyncIterator[None]:
        """Stop what the engine does, and let no turn begin in here.

        Prompts that wait come back; one that is sent in here is sent at the end.
        """
        self.state.switching += 1
        self.state.leaving += leaving
        try:
            async with self._switch_lock:
                self._context.prompt.give_back(*self.queue.clear())
                self.stop()
                await self.state.idle.wait()
                self.follower.close()
                yield
        finally:
            self.state.switching -= 1
            self.state.leaving -= leaving
            self.advance_queue()

    async def complete(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work`` to its end, also where what waits for it is cancelled by another dialog."""
        task = asyncio.ensure_future(work)
        self._uncancelled.add(task)  # the loop itself holds it weakly
        task.add_done_callback(self._uncancelled.discard)
        await asyncio.shield(task)

    # The queue

    def advance_queue(self) -> None:
        """Send the next prompt that waits, unless the engine is busy or the queue is held."""
        if self.queue and not self.queue.is_held and not self.is_busy:
            self._send_next(dropped=False)

    def release_queue(self) -> None:
        """Hold the queue no more: the user wants the next prompt."""
        self.queue.release()
        self.advance_queue()

    def _send_next(self, *, dropped: bool) -> None:
        """Send the prompt that waits; it comes back when the user stopped what it waited for."""
        if self.follower.is_open:
            return
        draft = self.queue.pop_first()
        if dropped:
            self._context.prompt.give_back(draft)
        else:
            self.send(draft)
