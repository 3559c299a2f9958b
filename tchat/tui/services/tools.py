"""The tools of the open chat: opened where a turn begins, and the user's answers brought there.

Nothing of `tchat.tools` is imported before a tool is on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tchat.paths import Paths
from tchat.tui.services.questions import (
    CallQuestion,
    FormQuestion,
    Question,
    QuestionService,
    ReplyQuestion,
    ShownQuestion,
)

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.chat.mcp_servers import ChatServers
    from tchat.chat.tool_loop import ChatTools
    from tchat.engine.binding import Cancel
    from tchat.sessions.store import Store
    from tchat.settings import Settings, Tools
    from tchat.tools.executor import Answer, ApprovalRequest
    from tchat.tools.mcp.servers import McpServers


class ToolRow(NamedTuple):
    """A tool as it is listed; raw.

    Attributes:
        name: What the model calls it.
        source: Where it is from, translated.
        effects: What a call may do, translated; empty where that is not known.
        about: What it does.
        problem: Why it cannot be used; empty where it can.
    """

    name: str
    source: str
    effects: str = ""
    about: str = ""
    problem: str = ""


class ServerRow(NamedTuple):
    """A server as it is listed; its texts but ``state`` are raw.

    Attributes:
        name: Its short name.
        transport: ``stdio`` or ``http``.
        state: What it does, translated.
        tools: The names of its tools, if they were asked for.
        left_out: Tools that cannot be used, and why.
        error: Why it failed; else empty.
        is_started: Whether it runs, or was told to.
    """

    name: str
    transport: str
    state: str
    tools: Sequence[str] = ()
    left_out: Sequence[str] = ()
    error: str = ""
    is_started: bool = False


class ToolService:
    """Gives a chat the tools that are on, and keeps what was granted while the session is open."""

    def __init__(
        self, paths: Paths, cancel: Cancel, servers: ChatServers, questions: QuestionService
    ) -> None:
        self._questions = questions
        self._paths = paths
        self._cancel = cancel
        self._servers = servers
        self._tools: ChatTools | None = None
        self._opened_with: Tools | None = None

    def prepare(self, chat: Chat, store: Store, *, is_private: bool) -> Sequence[str]:
        """Give ``chat`` the tools of its settings; on the engine's thread, between turns.

        Returns:
            Lines about servers that cannot be used, where they were looked for now.

        Raises:
            UsageError: There is no such tool, a rule is not one, or an allowed folder is none.
        """
        wanted = chat.settings.tools
        problems: Sequence[str] = ()
        if wanted != self._opened_with or self._servers.is_stale:
            if wanted.enabled:
                self._tools = self._open(chat.settings, store, is_private=is_private)
                problems = self._servers.problems
            self._opened_with = wanted
        chat.tools = self._tools if wanted.enabled else None
        return problems

    def forget(self) -> None:
        """Another session is opened: what was granted in the one before is over."""
        self._tools = self._opened_with = None

    def _open(self, settings: Settings, store: Store, *, is_private: bool) -> ChatTools | None:
        from tchat.chat.tool_setup import open_tools

        return open_tools(
            settings,
            self._paths,
            store,
            ask=self.ask,
            servers=self._servers,
            before=self._tools,
            cancel=self._cancel,
            is_private=is_private,
        )

    def is_allowed(self, request: ApprovalRequest) -> bool:
        """Whether a call may run by now: the answer to another one may have allowed it."""
        from tchat.tools.approval_rule import Verdict

        tools = self._tools
        return tools is not None and (
            tools.executor.approval.decide(request.call).verdict is Verdict.ALLOW
        )

    def ask(self, request: ApprovalRequest) -> Answer:
        """The user's answer; waits for it, on any thread but that of the event loop.

        Raises:
            Interrupted: The turn was stopped meanwhile.
        """
        untrusted = self._tools is not None and self._tools.executor.approval.has_untrusted
        return self._questions.ask(CallQuestion(request, untrusted))


def tool_rows(settings: Settings, paths: Paths, servers: McpServers | None = None) -> list[ToolRow]:
    """Every tool that there is, those of a server below the name for all of its tools.

    No tool is run for it, and no server is started.
    """
    from tchat.chat.tool_list import ToolSource, effects_text, list_tools, source_text
    from tchat.translation import tr

    rows: list[ToolRow] = []
    of_servers: dict[str, list[ToolRow]] = {}
    for each in list_tools(settings, paths, servers.listed_tools() if servers else ()):
        effects = effects_text(each)
        if not effects and each.source is ToolSource.BUILT_IN:  # of others, less is known
            effects = tr("computes only")
        row = ToolRow(each.name, source_text(each), effects, each.description, each.problem)
        (of_servers.setdefault(each.server, []) if each.server else rows).append(row)
    for group in of_servers.values():
        rows += sorted(group, key=lambda row: not row.name.endswith("*"))  # the rest stays in order
    return rows


def server_rows(servers: McpServers) -> list[ServerRow]:
    """The servers as they are now; none is started."""
    from tchat.tools.mcp.server import ServerState
    from tchat.translation import tr

    return [
        ServerRow(
            each.name,
            each.transport,
            tr(each.state.value),
            each.tools,
            each.left_out,
            each.error,
            each.state is not ServerState.STOPPED,
        )
        for each in servers.status()
    ]


def who_asks(question: Question) -> str:
    """The tool or the server that a question is about; raw."""
    if isinstance(question, CallQuestion):
        return question.request.call.tool.name
    return question.form.server if isinstance(question, FormQuestion) else question.request.server


def approved(choice: str, reason: str = "") -> Answer:
    """What an answer of the dialog means for a call."""
    from tchat.tools.executor import Answer, ApprovalChoice

    choices = {
        "once": ApprovalChoice.ONCE,
        "tool": ApprovalChoice.ALWAYS_TOOL,
        "pattern": ApprovalChoice.ALWAYS_PATTERN,
    }
    return Answer(choices.get(choice, ApprovalChoice.DENY), reason)


def described(question: CallQuestion | ReplyQuestion) -> ShownQuestion:
    """What a dialog shows."""
    if isinstance(question, CallQuestion):
        return _described_call(question)
    from tchat.translation import tr

    request, reply = question.request, question.reply
    if reply is not None:
        heading = tr("Send this reply to the MCP server?")
        return ShownQuestion(request.server, rows=[("", reply)], heading=heading)
    rows = [("system", request.system)] if request.system else []
    heading = tr("Let your model reply to this MCP server?")
    return ShownQuestion(request.server, rows=[*rows, *request.messages], heading=heading)


def _described_call(question: CallQuestion) -> ShownQuestion:
    import shlex

    from tchat.step_text import argument_text
    from tchat.translation import tr

    request = question.request
    call, tool = request.call, request.call.tool
    shown = {
        name: value
        for name, value in call.arguments.items()
        if name != tool.command_argument
        and (not request.preview or name in tool.path_arguments)  # the diff has the others
    }
    return ShownQuestion(
        tool.name,
        ", ".join(tr(each.value) for each in sorted(tool.effects)),
        [(name, argument_text(value)) for name, value in shown.items()],
        shlex.join(call.command),
        request.preview,
        request.pattern,
        question.is_untrusted,
    )
