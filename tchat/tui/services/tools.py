"""The tools of the open chat: opened where a turn begins, and the user's answers brought there.

Nothing of `tchat.tools` is imported before a tool is on.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tchat.errors import Interrupted
from tchat.paths import Paths

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.chat.mcp_servers import ChatServers
    from tchat.chat.tool_loop import ChatTools
    from tchat.engine.binding import Cancel
    from tchat.sessions.store import Store
    from tchat.settings import Settings, Tools
    from tchat.tools.executor import Answer, ApprovalRequest

LOOK = 0.05  # seconds between two looks whether the turn was stopped


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A call that waits for the user on another thread.

    Attributes:
        request: The call.
        is_untrusted: Whether the chat holds text that others wrote.
        answer: What the user says; cancelled when the turn is stopped.
    """

    request: ApprovalRequest
    is_untrusted: bool
    answer: Future[Answer] = field(default_factory=Future)


class ToolRow(NamedTuple):
    """A tool as it is listed; raw.

    Attributes:
        name: What the model calls it.
        source: Where it is from, translated.
        effects: What a call may do, translated; empty for one that only computes.
        about: What it does.
        problem: Why it cannot be used; empty where it can.
    """

    name: str
    source: str
    effects: str = ""
    about: str = ""
    problem: str = ""


class ToolService:
    """Gives a chat the tools that are on, and keeps what was granted while the session is open.

    Attributes:
        on_question: Called on the engine's thread, or another, with each question for the user;
            None where nobody can be asked.
    """

    def __init__(self, paths: Paths, cancel: Cancel, servers: ChatServers) -> None:
        self.on_question: Callable[[Question], object] | None = None
        self._paths = paths
        self._cancel = cancel
        self._servers = servers
        self._tools: ChatTools | None = None
        self._opened_with: Tools | None = None

    def prepare(self, chat: Chat, store: Store) -> None:
        """Give ``chat`` the tools of its settings; on the engine's thread, between turns.

        Raises:
            UsageError: There is no such tool, a rule is not one, or an allowed folder is none.
        """
        wanted = chat.settings.tools
        if wanted != self._opened_with or self._servers.is_stale:
            if wanted.enabled:
                self._tools = self._open(chat.settings, store)
            self._opened_with = wanted
        chat.tools = self._tools if wanted.enabled else None

    def forget(self) -> None:
        """Another session is opened: what was granted in the one before is over."""
        self._tools = self._opened_with = None

    def _open(self, settings: Settings, store: Store) -> ChatTools | None:
        from tchat.chat.tool_setup import open_tools

        return open_tools(
            settings,
            self._paths,
            store,
            ask=self.ask,
            servers=self._servers,
            before=self._tools,
            cancel=self._cancel,
        )

    def is_allowed(self, request: ApprovalRequest) -> bool:
        """Whether a call may run by now: the answer to another one may have allowed it."""
        from tchat.tools.approval import Verdict

        tools = self._tools
        return tools is not None and (
            tools.executor.approval.decide(request.call).verdict is Verdict.ALLOW
        )

    def ask(self, request: ApprovalRequest) -> Answer:
        """The user's answer; waits for it, on any thread but that of the event loop.

        Raises:
            Interrupted: The turn was stopped meanwhile.
        """
        from tchat.tools.executor import Answer, ApprovalChoice

        if self.on_question is None:
            return Answer(ApprovalChoice.DENY)
        untrusted = self._tools is not None and self._tools.executor.approval.has_untrusted
        question = Question(request, untrusted)
        self.on_question(question)
        while True:
            try:
                return question.answer.result(LOOK)
            except TimeoutError:
                if self._cancel.is_set():
                    question.answer.cancel()
            except CancelledError:
                raise Interrupted(signal.SIGINT) from None


def tool_rows(settings: Settings, paths: Paths) -> list[ToolRow]:
    """Every tool that there is; no tool is run for it."""
    from tchat.chat.tool_list import effects_text, list_tools
    from tchat.translation import tr

    return [
        ToolRow(
            each.name, tr(each.source.value), effects_text(each), each.description, each.problem
        )
        for each in list_tools(settings, paths)
    ]


def described(request: ApprovalRequest) -> Mapping[str, Any]:
    """What a dialog shows of a call: the fields of `ApprovalQuestion` but for the warning."""
    import shlex

    from tchat.step_text import argument_text
    from tchat.translation import tr

    call, tool = request.call, request.call.tool
    shown = {
        name: value
        for name, value in call.arguments.items()
        if name != tool.command_argument
        and (not request.preview or name in tool.path_arguments)  # the diff has the others
    }
    return {
        "name": tool.name,
        "effects": ", ".join(tr(each.value) for each in sorted(tool.effects)),
        "rows": [(name, argument_text(value)) for name, value in shown.items()],
        "command": shlex.join(call.command),
        "diff": request.preview,
        "pattern": request.pattern,
    }
