"""The tools of a prompt or a chat of the command, and who is asked about their calls."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from typing import TYPE_CHECKING, cast

from tchat.chat.tool_setup import open_tools
from tchat.cli.approval_question import TerminalApproval, can_ask
from tchat.cli.chat_setup import AskRequest
from tchat.cli.console import Console
from tchat.errors import UsageError
from tchat.settings import Settings
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.chat.mcp_servers import ChatServers
    from tchat.chat.tool_loop import ChatTools
    from tchat.engine.binding import Cancel
    from tchat.sessions.store import Store


def open_chat_tools(
    request: AskRequest,
    settings: Settings,
    console: Console,
    *,
    store: Store,
    cancel: Cancel,
    servers: ChatServers,
    is_private: bool,
    named: Collection[str] = (),
    before: ChatTools | None = None,
) -> ChatTools | None:
    """The tools that are on; None when none is.

    Those that were typed with ``-T`` run without asking if they only read; where nobody can be
    asked, so do those that were ``named`` in the chat. ``before`` are the tools of the same session
    until now. Of a private session the log of calls keeps no arguments.

    Raises:
        UsageError: A tool, a rule or a folder of ``settings`` is none.
    """
    if not settings.tools.enabled:
        if "tools.tool_choice" in request.settings and settings.tools.tool_choice != "none":
            raise UsageError(
                tr("--tool-choice needs a tool that is on"),
                tr("name it with -T, as in -T calculator"),
            )
        return None
    question = TerminalApproval(console, cancel) if can_ask(console) else None
    typed = {*cast("tuple[str, ...]", request.settings.get("tools.enabled", ()))}
    if question is None:
        typed.update(named)
    tools = open_tools(
        settings,
        console.paths,
        store,
        ask=question,
        typed=typed,
        servers=servers,
        before=before,
        cancel=cancel,
        is_private=is_private,
    )
    for problem in servers.problems:
        console.notice(problem)
    if question is not None and tools is not None:
        question.approval = tools.executor.approval
    return tools


def open_servers(chat: Chat, console: Console, cancel: Cancel) -> closing[ChatServers]:
    """The MCP servers for one prompt; none is started before a tool of it is named."""
    from tchat.chat.mcp_servers import ChatServers
    from tchat.cli.mcp_host import LineMcpHost

    host = LineMcpHost(console, cancel)
    host.chat = chat
    return closing(ChatServers(console.paths, host))
