"""The messages on the screen, notices, errors with a retry, and a disk that cannot be written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tchat.errors import StorageError, TchatError
from tchat.sessions.database import DatabaseReplaced
from tchat.translation import tr
from tchat.tui.background import background, explained
from tchat.tui.controllers.context import ChatContext
from tchat.tui.widgets.first_screen import FirstScreen
from tchat.tui.widgets.prompt_draft import Draft
from tchat.tui.widgets.transcript.entry import Entry, Key

if TYPE_CHECKING:
    from tchat.tui.widgets.transcript.view import Transcript

LAST = 100  # messages that are shown before the rest of a session is read
PENDING = "pending"  # key of a prompt until the store has given it an id
Retry = Callable[[], object]


class TranscriptController:
    """Shows what is stored, and what is said beside it."""

    def __init__(self, context: ChatContext) -> None:
        self.screen = context.screen
        # Whether the messages shown may not be the stored ones, since they could not be read; the
        # end of the next turn reads them again.
        self.is_stale = False
        self._context = context
        self._view: Transcript | None = None
        self._retries: dict[Key, Retry] = {}  # of the error blocks
        self._notices = 0
        self._reloading = asyncio.Lock()

    @property
    def view(self) -> Transcript:
        """The widget; made when it is first asked for, which is after the first picture."""
        if self._view is None:
            from tchat.tui.widgets.transcript.view import Transcript

            self._view = Transcript()
            self.screen.query_one("#messages").mount(self._view)
        return self._view

    def has_focus_without_cursor(self) -> bool:
        """Whether the messages have the focus and none of them is chosen."""
        return (
            self._view is not None
            and self.screen.focused is self._view
            and self._view.cursor is None
        )

    def has_focus_with_cursor(self) -> bool:
        """Whether the messages have the focus and one of them is chosen."""
        view = self._view
        return view is not None and self.screen.focused is view and view.cursor is not None

    def move_cursor(self, step: int) -> None:
        """Move the message cursor ``step`` messages down."""
        self.view.focus()
        self.view.move_cursor(step)

    def act_on_last(self, action: str) -> None:
        """Put the message cursor on the last message, and do what one of its keys does."""
        view = self.view
        entries = (view.column.entry(place) for place in reversed(range(len(view.column))))
        last = next((each for each in entries if each.role not in ("notice", "error")), None)
        if last is None:
            self._context.notify(tr("There is no message yet."))
            return
        if not view.display:  # several replies are shown in its place
            self._context.notify(tr("Choose one of the replies first."))
            return
        self.screen.set_focus(view)
        view.point_at(last.key)
        view.call_later(view.run_action, action)

    # The session

    async def show_session(self) -> None:
        """Show the session that is open now; nothing of the one before where it cannot be read."""
        try:
            await self.reload()
        except Exception as error:  # noqa: BLE001  whatever it is, it can be tried again
            self._replace(())
            self._show_marks(())
            failure = explained(self.screen, error)
            self.show_error(
                TchatError(
                    tr(
                        "the messages of this session cannot be read: {reason}",
                        reason=failure.message,
                    ),
                    failure.hint,
                ),
                self._show_session_again,
            )

    @background(group="message")
    async def _show_session_again(self) -> None:
        await self.show_session()

    async def reload(self) -> None:
        """Show the active path of the session as it is stored: its end at once.

        When it returns, all of the path is shown that was stored when it was called.
        """
        async with self._reloading:
            self.is_stale = True
            path = end = await self._path(last=LAST)
            self._replace(end)
            if len(end) == LAST:
                first = end[0].key
                path = await self._path()
                keys = [each.key for each in path]
                if first in keys and self.view.has(first):  # else it is another path now
                    self.view.prepend(path[: keys.index(first)])
            self._show_marks(path)
            self.is_stale = False

    def _show_marks(self, path: Sequence[Entry]) -> None:
        """Tell the header at which branch the chat is, and how much of it is pinned."""
        status = self._context.status
        forks = (each.sibling for each in reversed(path) if each.sibling[1] > 1)
        status.branch = next(forks, (1, 1))
        status.pins = sum(each.pinned for each in path)
        status.refresh()

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Show in here what a turn does; where that fails, the messages are stale."""
        try:
            yield
        except Exception:
            self.is_stale = True
            raise

    async def _path(self, last: int | None = None) -> list[Entry]:
        """The active path, read again where a reply began meanwhile."""
        while True:
            reply = self._context.turn_state.reply
            entries = await self._context.messages.entries(last)
            if reply == self._context.turn_state.reply:
                return entries

    def _replace(self, entries: Sequence[Entry]) -> None:
        """Show ``entries`` instead of all, with what a turn under way has added meanwhile."""
        shown = self.view
        waits = shown.has(PENDING) and self._context.turn_state.is_running
        stored = bool(entries) and entries[-1].role == "user"
        pending = [shown.entry(PENDING)] if waits and not stored else []
        if self._context.turn_state.is_running:  # calls without a result
            pending += (
                each
                for each in shown.column.entries()
                if each.step is not None and isinstance(each.key, str)
            )
        # What came of a reply is here before it is stored.
        current = [
            shown.entry(each.key) if each.status == "streaming" and shown.has(each.key) else each
            for each in entries
        ]
        shown.show([*current, *pending])
        self.update_first_screen()

    def update_first_screen(self) -> None:
        """Show how to begin while there is no message."""
        state, is_empty = self.screen.query_one(FirstScreen), len(self.view.column) == 0
        state.display = self.view.last_message is None and not self.has_pending
        state.is_crowded = not is_empty
        self.screen.query_one("#messages").display = not (state.display and is_empty)

    # A prompt that has no id yet

    @property
    def has_pending(self) -> bool:
        """Whether a prompt is shown that is not stored yet."""
        return self.view.has(PENDING)

    def show_pending(self, draft: Draft) -> None:
        """Show a prompt before it is stored."""
        self.drop_pending()  # one that failed and was not tried again
        self.view.append(
            Entry(
                key=PENDING,
                role="user",
                text=draft.full_text,
                attachments=draft.attachments,
                created_at=time.time(),
            )
        )
        self.view.follow()
        self.update_first_screen()

    def drop_pending(self) -> None:
        """Take out the prompt that is not stored yet, where there is one."""
        if self.has_pending:
            self.view.drop(PENDING)

    # Notices and errors

    def show_notice(self, text: str) -> Entry:
        """Say something in the transcript that is no message of the chat."""
        self._notices += 1
        entry = Entry(key=f"notice-{self._notices}", role="notice", text=text)
        self._append(entry)
        return entry

    def show_error(self, error: TchatError, retry: Retry | None = None) -> Key:
        """Show a failure where it happened; ``retry`` is what its block offers to do again."""
        self._notices += 1
        key = f"error-{self._notices}"
        if retry is not None:
            self._retries[key] = retry
        self._append(
            Entry(
                key=key,
                role="error",
                text=self._context.hinted(error),
                retry=retry is not None,
            )
        )
        return key

    def _append(self, entry: Entry) -> None:
        """Append ``entry``, in view unless a turn under way says it, whose text is not in view."""
        self.view.append(entry)
        self.update_first_screen()
        if not self._context.turn_state.is_running:
            self.view.follow()

    def retry(self, key: Key) -> None:
        """Do again what an error block is about."""
        retry = self._retries.get(key)
        if retry is None or self._context.turn_state.is_busy:
            return
        del self._retries[key]
        self.view.drop(key)
        retry()

    def retry_last(self) -> bool:
        """Do again what failed last; whether there was anything."""
        for key in reversed(self._retries):
            if self.view.has(key):
                self.retry(key)
                return True
        return False


class StorageController:
    """Tells when the chat is in memory only, and stores it as soon as that works again."""

    def __init__(self, context: ChatContext, transcript: TranscriptController) -> None:
        self.screen = context.screen
        self._context = context
        self._transcript = transcript
        self._block: Key | None = None  # that says that the disk cannot be written

    def show_failure(self) -> None:
        """Say that the chat is in memory only, unless that is said already."""
        failure = self._context.conversation.failure
        shown = self._block is not None and self._transcript.view.has(self._block)
        if failure is None or shown:
            return
        error = StorageError(
            tr(
                "{reason}. The chat continues in memory, and is lost when tchat ends",
                reason=failure.message,
            ),
            failure.hint,
        )
        self._block = self._transcript.show_error(error, self._store_again)

    @background(group="storage")
    async def _store_again(self) -> None:
        await self.store_again()
        self.show_failure()

    async def store_again(self) -> None:
        """Store what is only in memory, if that is possible now."""
        conversation = self._context.conversation
        failure = conversation.failure
        notices = conversation.persistent.notices
        before = len(notices)
        try:
            await conversation.store_again()
        except StorageError:
            return
        self._block = None
        await self._transcript.reload()  # new messages may have other ids
        for notice in notices[before:]:
            self._transcript.show_notice(notice)
        replaced = isinstance(failure, DatabaseReplaced)
        again = tr("The disk can be written again: everything is stored.")
        cured = tr("It was made anew: everything is stored.") if replaced else again
        self._transcript.show_notice(f"{failure.message}. {cured}" if failure else cured)
        self._context.status.refresh()

    async def may_quit(self) -> bool:
        """Store what is in memory only; where that fails, whether the user quits all the same."""
        from tchat.tui.dialogs.dialog import Confirm

        await self.store_again()
        failure = self._context.conversation.failure
        if failure is None:
            return True
        ask = Confirm(
            tr("Quit, and lose what is not stored?"), failure.message, yes=tr("Quit"), danger=True
        )
        return await self.screen.app.push_screen_wait(ask) is True
