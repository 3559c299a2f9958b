"""What MCP servers ask of the user and of the model, while they work on a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from tchat.errors import Interrupted
from tchat.tui.services.questions import FormQuestion, QuestionService, ReplyQuestion

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.engine.binding import Cancel
    from tchat.tools.mcp.host import FieldValue, McpForm, McpProgress, SamplingRequest


class ScreenMcpHost:
    """Asks on the screen; its methods are called on the thread of a call, see `McpHost`.

    Attributes:
        on_progress: Called there with how far a server is.
    """

    def __init__(
        self, questions: QuestionService, chat: Callable[[], Chat], cancel: Cancel
    ) -> None:
        self.on_progress: Callable[[McpProgress], object] = lambda _: None
        self._questions = questions
        self._chat = chat
        self._cancel = cancel

    def ask_form(self, form: McpForm) -> Mapping[str, FieldValue] | None:
        """The user's answers; None declines."""
        with suppress(Interrupted):  # the call ends by itself
            return self._questions.ask(FormQuestion(form))
        return None

    def ask_sampling(self, request: SamplingRequest) -> str | None:
        """Ask the user, let the model reply, and show what is sent; None declines."""
        from tchat.chat.server_reply import reply_to_server
        from tchat.engine.engine_thread import on_large_stack

        with suppress(Interrupted):
            if not self._questions.ask(ReplyQuestion(request)):
                return None
            # The engine waits for the call; the thread of a tool has a small stack.
            reply = on_large_stack(lambda: reply_to_server(self._chat(), request))
            if reply is not None and self._questions.ask(ReplyQuestion(request, reply)):
                return reply
        return None

    def progress(self, progress: McpProgress) -> None:
        """Show how far a server is."""
        self.on_progress(progress)

    def cancelled(self) -> bool:
        """Whether the user stopped the call."""
        return self._cancel.is_set()
