"""What the chat screen tells: messages, notices, failures with a retry, the status line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tchat.errors import StorageError, TchatError
from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.background import background, explained
from tchat.tui.screens.prompt_painting import PromptPainting
from tchat.tui.turn_progress import Progress
from tchat.tui.widgets.empty_state import EmptyState
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.status import Loading, Preparing, StatusData, StatusLine

if TYPE_CHECKING:
    from tchat.tui.services.conversation import Conversation
    from tchat.tui.widgets.transcript.entry import Entry, Key
    from tchat.tui.widgets.transcript.view import Transcript

END = 100  # messages that are shown before the rest of a session is read
PENDING = "pending"  # key of a prompt until the store has given it an id
LONG = 8.0  # seconds that a notice of a mistake is shown
Again = Callable[[], object]


class Telling(PromptPainting):
    """The part of the chat screen that shows what is so, and says what failed.

    Args:
        settings: For the first picture.
        paths: The user's folders.

    Attributes:
        conversation: The chat behind the screen, once it has `begun`.
        begun: Whether the sessions are open; the first picture does not wait for them.
    """

    conversation: Conversation

    def __init__(self, settings: Settings, paths: Paths) -> None:
        super().__init__()
        self.begun = False
        self._first_settings = settings
        self._paths = paths
        self._transcript: Transcript | None = None
        self._progress = Progress()
        self._free = asyncio.Event()
        self._free.set()
        self._again: dict[Key, Again] = {}  # what the error blocks try again
        self._notes = 0
        self._reloading = asyncio.Lock()
        self._is_stale = False  # whether the messages could not be read again, and are old
        self._reply: int | None = None  # the reply that the turn under way writes
        self._unstored: Key | None = None  # the block that says that the disk cannot be written

    # What the widgets are called

    @property
    def transcript(self) -> Transcript:
        """The messages; made when they are first asked for, which is after the first picture."""
        if self._transcript is None:
            from tchat.tui.widgets.transcript.view import Transcript

            self._transcript = Transcript()
            self.query_one("#messages").mount(self._transcript)
        return self._transcript

    @property
    def prompt(self) -> Prompt:
        """Where the user types."""
        return self.query_one(Prompt)

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self.conversation.settings if self.begun else self._first_settings

    @property
    def busy(self) -> bool:
        """Whether the engine works for this screen."""
        return not self._free.is_set()

    def refuses(self) -> bool:
        """Whether the engine is at work, so that something cannot be done now; says so."""
        if self.busy:
            loading = isinstance(self._progress.state, Preparing | Loading)
            what = "until the model is ready" if loading else "for the reply"
            self.notify(f"Wait {what}, or stop it with Esc.", markup=False)
        return self.busy

    # Telling

    async def show_session(self) -> None:
        """Show the session that is open now; nothing of the one before where it cannot be read."""
        try:
            await self.reload()
        except Exception as error:  # noqa: BLE001  whatever it is, it can be tried again
            self._show_anew(())
            failure = explained(self, error)
            self.tell_error(
                TchatError(
                    f"the messages of this session cannot be read: {failure.message}", failure.hint
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
            self._is_stale = True
            end = await self._path(last=END)
            self._show_anew(end)
            if len(end) == END:
                first = end[0].key
                path = await self._path()
                keys = [each.key for each in path]
                if first in keys and self.transcript.has(first):  # else it is another path now
                    self.transcript.prepend(path[: keys.index(first)])
            self._is_stale = False

    async def _path(self, last: int | None = None) -> list[Entry]:
        """The active path, read again where a reply began meanwhile."""
        while True:
            reply = self._reply
            entries = await self.conversation.entries(last)
            if reply == self._reply:
                return entries

    def _show_anew(self, entries: Sequence[Entry]) -> None:
        """Show ``entries`` instead of all, with what a turn under way has added meanwhile."""
        shown = self.transcript
        waits = shown.has(PENDING) and not self._free.is_set()
        stored = bool(entries) and entries[-1].role == "user"
        pending = [shown.entry(PENDING)] if waits and not stored else []
        # What came of a reply is here before it is stored.
        current = [
            shown.entry(each.key) if each.status == "streaming" and shown.has(each.key) else each
            for each in entries
        ]
        shown.show([*current, *pending])
        self._greet()

    def _drop_pending(self) -> None:
        """Take the prompt out that has no id yet, where there is one."""
        if self.transcript.has(PENDING):
            self.transcript.drop(PENDING)

    def _greet(self) -> None:
        """Show how to begin while there is no message."""
        begun = self.transcript.last_message is not None or self.transcript.has(PENDING)
        self.query_one(EmptyState).display = not begun

    def tell(self, text: str) -> Entry:
        """Say something in the transcript that is no message of the chat."""
        from tchat.tui.widgets.transcript.entry import Entry

        self._notes += 1
        entry = Entry(key=f"notice-{self._notes}", role="notice", text=text)
        self.transcript.append(entry)
        return entry

    def tell_error(self, error: TchatError, again: Again | None = None) -> Key:
        """Show a failure where it happened; ``again`` is what its retry does."""
        from tchat.tui.widgets.transcript.entry import Entry

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
            unstored=self.begun and self.conversation.failure is not None,
        )

    def show_status(self) -> None:
        """Draw the status line."""
        self.query_one(StatusLine).show(self.status())

    def tell_failure(self, error: TchatError) -> bool:
        """Show a failure of a worker among the messages; False before there are any."""
        if self.begun:
            self.tell_error(error)
        return self.begun

    # Trying again

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
        if failure is None or (self._unstored is not None and self.transcript.has(self._unstored)):
            return
        told = StorageError(
            f"{failure.message}. The chat goes on in memory and is lost when tchat ends",
            failure.hint,
        )
        self._unstored = self.tell_error(told, self._store_again)

    @background(group="storage")
    async def _store_again(self) -> None:
        await self._try_to_store()
        await self.look_at_disk()

    async def _try_to_store(self) -> None:
        """Store what is only in memory, if that is possible now."""
        from tchat.sessions.database import DatabaseReplaced

        failure = self.conversation.failure
        notices = self.conversation.persistent.notices
        told = len(notices)
        try:
            await self.conversation.store_again()
        except StorageError:
            return
        self._unstored = None
        await self.reload()  # new messages may have other ids
        for notice in notices[told:]:
            self.tell(notice)
        reason = f"{failure.message}. " if failure else ""
        replaced = isinstance(failure, DatabaseReplaced)
        cured = "It was made anew" if replaced else "The disk can be written again"
        self.tell(f"{reason}{cured}: everything is stored.")
        self.show_status()
