"""A session that is open in several windows: tells when another one went on with it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from tchat.errors import TchatError
from tchat.translation import tr
from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.transcript import TranscriptController
from tchat.tui.controllers.turn import TurnController
from tchat.tui.widgets.transcript.entry import Entry

LOOK_EVERY = 2.0  # seconds between two looks at what other processes wrote
COMPARED = 50  # of the last messages


class OtherWindowsController:
    """Compares what is shown with what is stored; lets no turn follow messages that are not shown.

    A turn that would is not begun: the messages are shown, and what was typed is given back.
    """

    def __init__(
        self, context: ChatContext, turn: TurnController, transcript: TranscriptController
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._turn = turn
        self._transcript = transcript
        self._notice: Entry | None = None
        self.screen.set_interval(LOOK_EVERY, self._look)

    async def may_begin(self) -> bool:
        """Whether a turn follows what is shown; where it does not, show and tell that."""
        if not self._is_shared:
            return True
        try:
            if await self._context.messages.is_continued_elsewhere(self._shown):
                await self._transcript.reload()
                self._context.notify(
                    tr(
                        "This chat was continued in another window: its messages are shown now. "
                        "Repeat it if you still want it."
                    ),
                    severity="warning",
                )
                return False
            if await self._is_last_written():
                self._context.notify(
                    tr("A reply is being written in another window: wait until it ends."),
                    severity="warning",
                )
                return False
        except TchatError:
            return True  # the turn fails of it, and tells it
        return True

    @background(group="other-windows", exclusive=True)
    async def _look(self) -> None:
        """Tell, once, that others wrote; show the end of a reply that another one has finished."""
        if not self._is_shared or self._is_occupied:
            return
        last = self._transcript.view.last_message
        try:
            if last is not None and self._transcript.view.entry(last).status == "streaming":
                if not await self._is_last_written() and not self._is_occupied:
                    await self._transcript.reload()
                    await self._context.settle()
            elif await self._context.messages.is_continued_elsewhere(self._shown):
                self._notify_once()
        except TchatError:
            return  # the next turn tells it

    def _notify_once(self) -> None:
        told = self._notice is not None and self._transcript.view.has(self._notice.key)
        if not told and not self._is_occupied:
            self._notice = self._transcript.show_notice(
                tr("This chat was continued in another window: /reload shows it.")
            )

    @property
    def _is_shared(self) -> bool:
        """Whether other processes can see the open session."""
        context = self._context
        if not context.is_ready or context.private or context.conversation.session is None:
            return False
        return context.conversation.store.path is not None

    @property
    def _is_occupied(self) -> bool:
        """Whether what is shown is about to change here."""
        return self._turn.is_busy or self._turn.follower.is_open or self._transcript.is_stale

    async def _is_last_written(self) -> bool:
        last = self._transcript.view.last_message
        if last is None or self._transcript.view.entry(last).status != "streaming":
            return False
        return await self._context.messages.is_written_elsewhere(last)

    def _shown(self) -> Sequence[int]:
        """The ids of the last messages shown."""
        keys = (key for key in self._transcript.view.column.backwards() if isinstance(key, int))
        return [*islice(keys, COMPARED)][::-1]
