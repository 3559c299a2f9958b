"""Turns of the chat: a prompt goes to the engine, and others wait meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from textual.timer import Timer

from tchat.errors import TchatError, UsageError
from tchat.paths import Paths
from tchat.sanitize import printable
from tchat.settings import Settings
from tchat.tui.background import background, explained, report
from tchat.tui.screens.replies import Replies
from tchat.tui.screens.telling import LONG, PENDING
from tchat.tui.widgets.prompt_draft import Draft

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.engine.cancel import Request
    from tchat.engine.events import Event
    from tchat.tui.services.conversation import Act

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
        self._request: Request | None = None  # of the turn under way, or of the last one
        self._act: Act | None = None  # what the turn under way does
        self._opening = 0  # how many are opening another session or model, or wait to do so
        self._one_opens = asyncio.Lock()
        self._whole: set[asyncio.Task[None]] = set()

    # Sending

    def has_blank(self) -> bool:
        """Whether a blank of a template is not filled in yet; selects it and says so."""
        blanks = self.prompt.draft.blanks
        if blanks:
            self.prompt.select_blank()
            self.prompt.focus()
            self.notify(f"Fill in {blanks[0]} first: type over it.", markup=False)
        return bool(blanks)

    def send(self, draft: Draft) -> None:
        """Send a prompt, or let it wait for the reply under way."""
        if self.busy:
            self._queue.append(draft)
            self._show_queue()
            return
        self.submit(draft, lambda text: lambda chat: chat.send(text), shown=True)

    def submit(
        self,
        draft: Draft,
        how: Callable[[str], Act],
        *,
        shown: bool = False,
        unsent: Callable[[Draft], object] | None = None,
    ) -> None:
        """Do with the full text of a draft, its files read, what ``how`` makes of it.

        Args:
            draft: What was typed.
            how: From the text to what the engine shall do.
            shown: Whether it is the next message, to be seen at once.
            unsent: Gets the draft when it cannot be sent; without it, it goes back to the prompt.
        """
        unsent = unsent or self.prompt.give_back
        request = self._claim()
        if request is None:
            unsent(draft)
        else:
            self._send(request, draft, how, shown, unsent)

    def act(self, act: Act) -> None:
        """Let the engine do something for this session, when it does nothing else."""
        if (request := self._claim()) is not None:
            self._run(request, act)

    def _claim(self) -> Request | None:
        """Take the engine for a turn; None, and a toast, when it is at work."""
        if self.refuses():
            return None
        self._free.clear()
        self._request = self.conversation.request()
        self._progress.begin()
        self.show_status()
        return self._request

    @background(group="turn")
    async def _run(self, request: Request, act: Act) -> None:
        async with self._turn():
            await self._stream(request, act)

    @background(group="turn")
    async def _send(
        self,
        request: Request,
        draft: Draft,
        how: Callable[[str], Act],
        shown: bool,
        unsent: Callable[[Draft], object],
    ) -> None:
        """As `_run`, once the files of the draft are read; stopped before that it comes back."""
        async with self._turn():
            try:
                encoding = self.conversation.settings.encoding
                text, assumed = await asyncio.to_thread(full_prompt, draft, encoding)
            except Exception:
                unsent(draft)
                raise
            if request.is_stopped:
                unsent(draft)
                return
            for each in assumed:
                self.tell(each)
            if shown:
                self._show_pending(draft)
            await self._stream(request, how(text))

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A turn from its begin to its end, whatever that is; then the next one is sent."""
        self._reply, self._act = None, None
        self._said.clear()
        self._priced = None
        try:
            yield
        except Exception as error:  # noqa: BLE001  whatever broke, the chat goes on
            report(self, error)
        finally:
            stopped = self._progress.end()
            self._free.set()
        if not self.is_running:  # the screen was closed meanwhile
            return
        self.show_status()
        if stopped and self._act is load and self._queue:
            self._next(dropped=True)
        self.go_on_with_queue()
        await self.settled()

    async def _stream(self, request: Request, act: Act) -> None:
        """Let the engine act, and show what comes of it."""
        self._act = act
        failure: TchatError | None = None
        try:
            async for batch in self.conversation.stream(act, request):
                await self._show(batch)
        except Exception as error:  # noqa: BLE001  whatever broke the engine, the chat goes on
            failure = explained(self, error)
        if self.is_running:
            await self._ended(act, failure)

    async def _ended(self, act: Act, failure: TchatError | None) -> None:
        """Show what became of the turn."""
        if failure is not None:
            await self._fail(act, failure)
        elif self._reply is None and act is not load:
            self._drop_pending()
            await self.reload()  # it made no reply: a reply was edited, or it was stopped before
        if self.conversation.failure is not None:
            await self._try_to_store()
        if self._is_stale:
            await self.reload()
        await self.look_at_disk()

    def _next(self, *, dropped: bool) -> None:
        """Send the prompt that waits; it comes back when the user stopped what it waited for."""
        draft = self._queue.popleft()
        self._show_queue()
        if dropped:
            self.prompt.give_back(draft)
        else:
            self.send(draft)

    async def _fail(self, act: Act, error: TchatError) -> None:
        """Tell a failure with a retry that does what is left to do."""
        from tchat.sessions.records import Role

        try:
            await self._finish()
            branch = [] if act is load else await self.conversation.branch(last=1)
            unanswered = bool(branch) and branch[-1].role is Role.USER
            if unanswered and self.transcript.has(PENDING):
                await self.reload()  # it is stored: it is shown with its id
        except Exception:
            self.tell_error(error)  # what failed first is told first
            raise
        if isinstance(error, UsageError) and not unanswered and not self.transcript.has(PENDING):
            self.notify(printable(str(error)), severity="error", timeout=LONG, markup=False)
            return
        # The question is stored, whatever failed after that: asking again would double it.
        left: Act = (lambda chat: chat.continue_reply()) if unanswered else act
        self.tell_error(error, lambda: self.act(left))

    def stop(self) -> None:
        """Stop what the engine does; what was written stays."""
        if self.busy and self._request is not None:
            self._request.stop()
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

    @asynccontextmanager
    async def between_turns(self) -> AsyncIterator[None]:
        """Stop what the engine does, and let no turn begin in here.

        Prompts that wait come back; one that is sent in here is sent at the end.
        """
        self._opening += 1
        try:
            async with self._one_opens:
                waiting = list(self._queue)
                self._queue.clear()
                self._show_queue()
                self.prompt.give_back(*waiting)
                await self.end_turn()
                yield
        finally:
            self._opening -= 1
            self.go_on_with_queue()

    async def whole(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work`` to its end, also where what waits for it is cancelled by another dialog."""
        task = asyncio.ensure_future(work)
        self._whole.add(task)  # the loop itself holds it weakly
        task.add_done_callback(self._whole.discard)
        await asyncio.shield(task)

    async def end_turn(self) -> None:
        """Stop what the engine does, and wait for that."""
        self.stop()
        await self._free.wait()

    @property
    def busy(self) -> bool:
        """Whether no turn can begin: the engine is at work, or another session is being opened."""
        return super().busy or self._opening > 0

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
            self.prompt.give_back(self._queue.pop())
            self._show_queue()

    def _show_queue(self) -> None:
        self._held = self._held and bool(self._queue)
        self.prompt.held = self._held
        self.prompt.queue = [draft.text.splitlines()[0] for draft in self._queue if draft.text]


def full_prompt(draft: Draft, encoding: str) -> tuple[str, list[str]]:
    """The prompt with the files that it mentions in front, and what was assumed of their encoding.

    Raises:
        TchatError: A file cannot be read, or is no text.
    """
    from tchat.chat.attachments import read_attachment, with_attachments

    try:
        attached = [read_attachment(name, encoding=encoding) for name in draft.attachments]
    except UsageError as error:
        raise UsageError(error.message, _without_flag(error.hint)) from error
    return with_attachments(draft.full_text, attached), [
        _without_flag(each.assumed) for each in attached if each.assumed
    ]


def _without_flag(told: str) -> str:
    """What is said of an encoding, with what changes it here in the place of the flag."""
    return "/set encoding".join(told.rsplit("--encoding", 1))
