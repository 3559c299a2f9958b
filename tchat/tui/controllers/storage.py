"""A disk that cannot be written: said, tried again, and asked about before quitting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tchat.errors import StorageError
from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.status import StatusController
from tchat.tui.controllers.transcript import TranscriptController

if TYPE_CHECKING:
    from tchat.tui.widgets.transcript.entry import Key


class StorageController:
    """Tells when the chat is in memory only, and stores it as soon as that works again."""

    def __init__(
        self, context: ChatContext, transcript: TranscriptController, status: StatusController
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._transcript = transcript
        self._status = status
        self._block: Key | None = None  # that says that the disk cannot be written

    def show_failure(self) -> None:
        """Say that the chat is in memory only, unless that is said already."""
        failure = self._context.conversation.failure
        shown = self._block is not None and self._transcript.view.has(self._block)
        if failure is None or shown:
            return
        told = StorageError(
            f"{failure.message}. The chat continues in memory, and is lost when tchat ends",
            failure.hint,
        )
        self._block = self._transcript.show_error(told, self._store_again)

    @background(group="storage")
    async def _store_again(self) -> None:
        await self.store_again()
        self.show_failure()

    async def store_again(self) -> None:
        """Store what is only in memory, if that is possible now."""
        from tchat.sessions.database import DatabaseReplaced

        conversation = self._context.conversation
        failure = conversation.failure
        notices = conversation.persistent.notices
        told = len(notices)
        try:
            await conversation.store_again()
        except StorageError:
            return
        self._block = None
        await self._transcript.reload()  # new messages may have other ids
        for notice in notices[told:]:
            self._transcript.show_notice(notice)
        reason = f"{failure.message}. " if failure else ""
        replaced = isinstance(failure, DatabaseReplaced)
        cured = "It was made anew" if replaced else "The disk can be written again"
        self._transcript.show_notice(f"{reason}{cured}: everything is stored.")
        self._status.refresh()

    async def may_quit(self) -> bool:
        """Store what is in memory only; where that fails, whether the user quits all the same."""
        from tchat.tui.dialogs.confirm import Confirm

        await self.store_again()
        failure = self._context.conversation.failure
        if failure is None:
            return True
        ask = Confirm(
            "Quit, and lose what is not stored?", failure.message, yes="Quit", danger=True
        )
        return await self.screen.app.push_screen_wait(ask) is True
