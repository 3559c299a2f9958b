"""Tools: the questions about their calls, and the dialogs that turn them on and off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from tchat.errors import TchatError
from tchat.step_text import one_line
from tchat.translation import tr
from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.notifier import Notifier
from tchat.tui.controllers.settings import SettingsController
from tchat.tui.controllers.turn import TurnController
from tchat.tui.services.questions import CallQuestion, FormQuestion, Question, ReplyQuestion
from tchat.tui.services.tools import approved, described, tool_rows, who_asks

if TYPE_CHECKING:
    from tchat.settings import Settings
    from tchat.tools.mcp.host import McpProgress
    from tchat.tui.dialogs.approval import ApprovalAnswer, ApprovalDialog
    from tchat.tui.dialogs.form import FormDialog
    from tchat.tui.services.tools import ServerRow, ToolRow

T = TypeVar("T")

LOOK = 0.05  # seconds between two looks whether another dialog is closed
AGAIN = 1.5  # seconds within which a second Esc stops the turn
NAME = 40  # characters of the name of a tool
ENABLED = "tools.enabled"


class ToolsController:
    """Asks the user about one call after the other; Esc denies, a second one stops the turn."""

    def __init__(
        self,
        context: ChatContext,
        turn: TurnController,
        settings: SettingsController,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._turn = turn
        self._settings = settings
        self._notifier = Notifier(context)
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._escaped = -AGAIN

    # Which tools are on

    @background(group="dialog", exclusive=True)
    async def show_dialog(self) -> None:
        """List the tools, and turn them on or off."""
        from tchat.tui.dialogs.tools import ToolsScreen

        settings = self._context.settings
        rows = await asyncio.to_thread(self._tool_rows, settings)
        await self.screen.app.push_screen_wait(
            ToolsScreen(rows, settings.tools.enabled, self._change, self._keep)
        )

    def _tool_rows(self, settings: Settings) -> Sequence[ToolRow]:
        opened = None
        with suppress(TchatError):  # servers are off or cannot be read: `/mcp` tells
            opened = self._context.conversation.servers.open(settings)
        return tool_rows(settings, self._context.paths, opened)

    async def _change(self, names: tuple[str, ...]) -> None:
        await self._settings.change({ENABLED: names}, told=False)

    async def _keep(self, names: tuple[str, ...]) -> None:
        await self._settings.keep(ENABLED, names)

    # Servers

    @background(group="dialog", exclusive=True)
    async def show_servers(self) -> None:
        """List the MCP servers, and start them again."""
        from tchat.tui.dialogs.servers import ServersScreen

        try:
            rows = await self._servers()
        except TchatError as error:
            self._context.notify_error(error)
            return
        await self.screen.app.push_screen_wait(ServersScreen(rows, self._servers, self._restart))

    async def _servers(self) -> Sequence[ServerRow]:
        from tchat.tui.services.tools import server_rows

        servers, settings = self._context.conversation.servers, self._context.settings
        return await asyncio.to_thread(lambda: server_rows(servers.open(settings)))

    async def _restart(self, name: str) -> None:
        servers, settings = self._context.conversation.servers, self._context.settings
        await asyncio.to_thread(lambda: servers.open(settings).restart_and_list(name))

    # Questions

    def connect(self) -> None:
        """Take the questions of the open chat from now on."""
        conversation = self._context.conversation
        conversation.questions.on_question = self._receive
        conversation.mcp_host.on_progress = lambda told: self.screen.call_later(self._tell, told)

    def _tell(self, progress: McpProgress) -> None:
        """Tell in the status line how far a server is."""
        share = (
            f"{min(1.0, max(0.0, progress.progress / progress.total)):.0%}"
            if progress.total
            else ""
        )
        self._context.turn_state.progress.tell(" ".join(filter(None, (share, progress.message))))
        self._context.status.refresh()

    def _receive(self, question: Question) -> None:
        """Take a question, on another thread: a message to the screen comes to the event loop."""
        if not self.screen.call_later(partial(self._ask, question)):
            question.answer.cancel()  # the screen is closed

    @background(group="approval")
    async def _ask(self, question: Question) -> None:
        """Show a question once the others are answered and no other dialog is open."""
        answer = question.answer
        try:
            async with self._one_at_a_time:
                if answer.cancelled() or await self._is_answered(question):
                    return
                self._notify(question)
                if await self._until_chat_is_seen(question):
                    await self._show(question)
        finally:
            answer.cancel()  # whatever kept it from being answered; nothing once it is

    async def _is_answered(self, question: Question) -> bool:
        """Whether the answer to another question allowed this call too."""
        if not isinstance(question, CallQuestion):
            return False
        tools = self._context.conversation.tools
        if not await asyncio.to_thread(tools.is_allowed, question.request):
            return False
        _give(question.answer, approved("once"))
        return True

    def _notify(self, question: Question) -> None:
        name = one_line(who_asks(question), NAME)
        self._notifier.notify(tr("{name} waits for your approval", name=name))
        if self.screen.app.screen is not self.screen:
            self._context.notify(
                tr("{name} waits for your approval: close this dialog to see it.", name=name)
            )

    async def _until_chat_is_seen(self, question: Question) -> bool:
        """Wait until no other dialog is open; False when the question is no longer asked."""
        while not question.answer.cancelled() and self.screen.is_running:
            if self.screen.app.screen is self.screen:
                return True
            await asyncio.sleep(LOOK)
        return False

    async def _show(self, question: Question) -> None:
        from tchat.tui.dialogs.form import FormDialog

        if isinstance(question, FormQuestion):
            form = FormDialog(question.form, self._context.prompt.insert)
            self._withdraw_with(question, form)
            _give(question.answer, await self.screen.app.push_screen_wait(form))
            return
        from tchat.tui.dialogs.approval import ApprovalDialog

        shown = await asyncio.to_thread(described, question)
        dialog = ApprovalDialog(shown, self._context.prompt.insert)
        self._withdraw_with(question, dialog)
        self._take(question, await self.screen.app.push_screen_wait(dialog))

    def _withdraw_with(self, question: Question, dialog: ApprovalDialog | FormDialog) -> None:
        """Close the dialog when the turn is stopped."""

        def withdraw(_: object) -> None:  # on another thread
            if question.answer.cancelled():
                dialog.call_later(dialog.withdraw)

        question.answer.add_done_callback(withdraw)

    def _take(self, question: CallQuestion | ReplyQuestion, said: ApprovalAnswer | None) -> None:
        """Bring an answer to the thread that waits for it; None is Esc."""
        if question.answer.cancelled():
            return
        now, before = self._clock(), self._escaped
        if said is None:
            self._escaped = now
        if (said is None and now - before < AGAIN) or (said and said.choice == "stop"):
            self._turn.stop()
        choice = said.choice if said else "deny"
        if isinstance(question, ReplyQuestion):
            _give(question.answer, choice == "once")
        else:
            _give(question.answer, approved(choice, said.reason if said else ""))


def _give(answer: Future[T], value: T) -> None:
    if answer.set_running_or_notify_cancel():
        answer.set_result(value)
