"""The tools of a chat, opened as its settings say: which are on, where they may go, who is asked.

Without a tool that is on, nothing of `tchat.tools` is imported.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tchat.errors import TchatError, UsageError
from tchat.sanitize import single_line
from tchat.translation import tr

if TYPE_CHECKING:
    from pathlib import Path

    from tchat.chat.mcp_servers import ChatServers
    from tchat.chat.tool_loop import ChatTools
    from tchat.egress.egress_log import EgressLog
    from tchat.engine.binding import Cancel
    from tchat.paths import Paths
    from tchat.sessions.store import Store
    from tchat.settings import Settings
    from tchat.tools.approval import Approval
    from tchat.tools.approval_rule import ApprovalRule
    from tchat.tools.audit_log import AuditLog
    from tchat.tools.executor import Answer, ApprovalRequest, ToolExecutor
    from tchat.tools.file_changes import FileChanges
    from tchat.tools.registry import ToolRegistry
    from tchat.tools.roots import Roots
    from tchat.tools.search_chats import ChatHit
    from tchat.tools.syntaxes import ToolChoice
    from tchat.tools.tool import Tool


def open_tools(
    settings: Settings,
    paths: Paths,
    store: Store | None,
    *,
    ask: Callable[[ApprovalRequest], Answer] | None,
    names: Collection[str] | None = None,
    allow: Collection[str] = (),
    typed: Collection[str] = (),
    more: Collection[Tool] = (),
    servers: ChatServers | None = None,
    before: ChatTools | None = None,
    cancel: Cancel | None = None,
    is_private: bool = False,
) -> ChatTools | None:
    """The tools that are on; None when none is.

    A name such as ``files__*`` stands for the tools of a server. Servers that cannot be used have
    no tools, see `ChatServers.problems`; for tools that were typed that is an error.

    Args:
        settings: Those in force.
        paths: The user's folders.
        store: Where the user's sessions are searched; None where they are not.
        ask: Asks the user about a call; None where nobody can be asked.
        names: The tools that are on, instead of those of ``settings``.
        allow: Rules that allow, besides those of ``settings``.
        typed: Tools that the user named for this call of tchat: those of them that only read run
            without asking.
        more: Tools from elsewhere, which can be on too.
        servers: The MCP servers of the chat; those that names are about are started.
        before: The tools of the same session until now: what the user granted stays granted.
        cancel: Stops the program that a tool runs.
        is_private: Whether the session is: the audit log keeps no arguments and results of it.

    Raises:
        UsageError: There is no such tool, a rule is not one, or an allowed folder is none.
        StorageError: The file of the servers cannot be read.
    """
    chosen = tuple(dict.fromkeys(settings.tools.enabled if names is None else names))
    if chosen and servers is not None:
        found = servers.find_tools(settings, chosen)
        if found.problems and any("__" in name for name in typed):
            raise UsageError(found.problems[0], tr("`tchat mcp ls` lists the MCP servers"))
        chosen, more = found.names, (*more, *found.tools)
    if not chosen:
        return None
    from tchat.chat.tool_loop import ChatTools

    executor = open_executor(
        settings,
        paths,
        store,
        ask=ask,
        names=chosen,
        allow=allow,
        typed=typed,
        more=more,
        before=before,
        cancel=cancel,
        is_private=is_private,
    )
    return ChatTools(
        executor=executor,
        names=chosen,
        choice=_choice(settings.tools.tool_choice, chosen),
        max_steps=settings.tools.max_steps,
        server_log_problem=servers.take_log_problem if servers is not None else lambda: "",
    )


def open_executor(
    settings: Settings,
    paths: Paths,
    store: Store | None,
    *,
    ask: Callable[[ApprovalRequest], Answer] | None,
    names: Collection[str],
    allow: Collection[str] = (),
    typed: Collection[str] = (),
    more: Collection[Tool] = (),
    before: ChatTools | None = None,
    cancel: Cancel | None = None,
    is_private: bool = False,
) -> ToolExecutor:
    """What runs calls of ``names``; as `open_tools`."""
    from tchat.tools.approval import Approval
    from tchat.tools.approval_rule import ApprovalRule, Verdict
    from tchat.tools.executor import ToolExecutor
    from tchat.tools.tool import Effect

    rules = [*_rules(settings), *(ApprovalRule.parse(Verdict.ALLOW, each) for each in allow)]
    base, *others = _folders(settings)
    approval = Approval(
        rules,
        base=base,
        others=others,
        has_terminal=ask is not None,
        allow_reading=settings.tools.allow_reading,
        ask_after_untrusted=settings.tools.ask_after_untrusted,
    )
    if before is not None:
        approval.follow(before.executor.approval, _changed(before, more))
    registry = _registry(settings, paths, store, approval, cancel)
    for tool in more:
        if tool.name in names:
            registry.add(tool)
    _require_useful(rules, registry, paths, more)
    opened = [_tool(registry, name) for name in names]
    approval.rules = [
        *rules,
        *(
            ApprovalRule(Verdict.ALLOW, tool.name)
            for tool in opened
            if tool.name in typed and tool.effects <= {Effect.READS_FILES}
        ),
    ]
    needs_roots = any(tool.path_arguments for tool in opened)
    return ToolExecutor(
        registry=registry,
        enabled=frozenset(names),
        roots=_roots(settings, paths) if needs_roots else None,
        approval=approval,
        log=open_log(paths, is_private=is_private),
        ask=ask or _nobody,
        redacts_outgoing=settings.redact_outgoing,
    )


def _changed(before: ChatTools, tools: Collection[Tool]) -> frozenset[str]:
    """The tools that describe themselves in another way than before: a server may swap them."""
    known = before.executor
    return frozenset(
        tool.name
        for tool in tools
        if tool.name in known.enabled
        and (former := known.registry.get(tool.name)) != replace(tool, run=former.run)
    )


def open_registry(settings: Settings, paths: Paths) -> ToolRegistry:
    """Every tool that there is, to be listed; none is run or imported before it is asked for.

    Raises:
        UsageError: A rule of ``settings`` is none.
    """
    from tchat.tools.approval import Approval

    return _registry(settings, paths, None, Approval(tuple(_rules(settings))), None)


def open_log(paths: Paths, *, is_private: bool = False) -> AuditLog:
    """The audit log; that of a private session keeps less."""
    from tchat.tools.audit_log import AuditLog

    return AuditLog(paths.tool_log, is_private, encryption=paths.encryption)


def open_changes(paths: Paths) -> FileChanges:
    """What tools changed in files, so that the last change can be undone, wherever it was.

    Raises:
        UsageError: There is none, or the folder of the file is gone.
    """
    from tchat.tools.file_changes import FileChanges
    from tchat.tools.roots import Roots
    from tchat.tools.tool import ToolError
    from tchat.tools.undo_history import UndoHistory

    history = UndoHistory(paths.tool_undo, paths.encryption)
    try:
        roots = Roots([history.last().path.parent], (paths.config, paths.cache))
    except ToolError as error:
        raise UsageError(error.message, error.hint) from error
    return FileChanges(roots, history)


def narrow_rules(settings: Settings) -> list[str]:
    """The rules that deny a path to a reading tool, and leave it to another one."""
    from tchat.tools.approval_rule import Verdict

    reading = ("read_file", "search_files", "list_files")
    denying = [rule for rule in _rules(settings) if rule.verdict is Verdict.DENY]
    return [
        str(rule)
        for rule in denying
        if rule.pattern
        and rule.tool in reading
        and not all(
            any(other.pattern == rule.pattern and other.is_about(tool) for other in denying)
            for tool in reading
        )
    ]


def denying_rule(text: str) -> str:
    """The rule that keeps all tools from the file or folder ``text``; ``text`` where it is a rule.

    Raises:
        UsageError: It is neither.
    """
    from pathlib import Path

    from tchat.paths import expanded
    from tchat.tools.approval_rule import ApprovalRule, Verdict

    path = Path(os.path.abspath(expanded(text)))  # noqa: PTH100
    if not os.path.lexists(path):
        if "(" in text:
            return str(ApprovalRule.parse(Verdict.DENY, text))
        raise UsageError(
            tr("there is no file {name}", name=single_line(text)),
            tr("a rule for files that may come is one such as `*(private/*)`"),
        )
    # A bracket in a name would end the rule.
    return f"*({str(path).replace('(', '?').replace(')', '?')})"


def require_valid_rules(settings: Settings, paths: Paths) -> None:
    """Check the rules of ``settings``.

    Raises:
        UsageError: One is not valid, or can match no call.
    """
    _require_useful([*_rules(settings)], open_registry(settings, paths), paths)


def _require_useful(
    rules: Sequence[ApprovalRule],
    registry: ToolRegistry,
    paths: Paths,
    more: Collection[Tool] = (),
) -> None:
    """Refuse rules that can match no call of a tool that there is, or of one of a server."""
    if not rules:
        return
    from tchat.tools.mcp.config import read_servers

    tools = {**registry.taking_patterns(), **{tool.name: False for tool in more}}
    try:
        prefixes = [each.tool_prefix for each in read_servers(paths.mcp_file).values()]
    except TchatError:  # `tchat mcp ls` tells
        prefixes = [""]
    for prefix in prefixes:
        if not any(tool.name.startswith(prefix) for tool in more):  # it is not started
            tools[f"{prefix}*"] = not prefix
    for rule in rules:
        rule.require_useful(tools)


def _registry(
    settings: Settings,
    paths: Paths,
    store: Store | None,
    approval: Approval,
    cancel: Cancel | None,
) -> ToolRegistry:
    from tchat.tools.registry import ToolRegistry, ToolSettings
    from tchat.tools.sandbox import find_sandbox

    def roots(tool: str) -> Roots:
        return _roots(settings, paths, functools.partial(approval.denies_path, tool))

    tools = settings.tools
    return ToolRegistry(
        ToolSettings(
            roots=roots,
            undo=paths.tool_undo,
            encryption=paths.encryption,
            egress=functools.cache(functools.partial(_open_egress_log, paths)),
            sandbox=functools.cache(find_sandbox),
            search_chats=functools.partial(_search_chats, store),
            trusted_servers=frozenset(tools.trusted_servers),
            variables=tools.variables,
            network=tools.network,
            cancelled=cancel.is_set if cancel is not None else lambda: False,
        ),
        paths.tools,
    )


def _tool(registry: ToolRegistry, name: str) -> Tool:
    from tchat.tools.tool import ToolError

    try:
        return registry.get(name)
    except ToolError as error:
        raise UsageError(error.message, error.hint) from error


def _rules(settings: Settings) -> Iterator[ApprovalRule]:
    from tchat.tools.approval_rule import ApprovalRule, Verdict

    tools = settings.tools
    for verdict, texts in (
        (Verdict.ALLOW, tools.allow),
        (Verdict.ASK, tools.ask),
        (Verdict.DENY, tools.deny),
    ):
        yield from (ApprovalRule.parse(verdict, text) for text in texts)


def _folders(settings: Settings) -> list[Path]:
    from pathlib import Path

    from tchat.paths import expanded

    return [expanded(each) for each in settings.tools.roots] or [Path.cwd()]


def _roots(
    settings: Settings, paths: Paths, is_denied: Callable[[Path], bool] = lambda _: False
) -> Roots:
    """The allowed folders; tchat's own files stay out."""
    from tchat.tools.roots import Roots
    from tchat.tools.tool import ToolError

    try:
        return Roots(_folders(settings), (paths.config, paths.cache), is_denied)
    except ToolError as error:
        raise UsageError(error.message, error.hint) from error


def _choice(text: str, names: tuple[str, ...]) -> ToolChoice | None:
    from tchat.tools.syntaxes import ToolChoice

    try:
        return ToolChoice.parse(text, names)
    except KeyError:
        raise UsageError(
            tr("the tool {name} is not on (--tool-choice)", name=single_line(text)),
            tr(
                "choose auto, required, none or one of {names}",
                names=", ".join(names),
            ),
        ) from None


def _search_chats(store: Store | None, text: str, most: int) -> Iterable[ChatHit]:
    from datetime import datetime

    from tchat.tools.search_chats import ChatHit

    for hit in store.search(text, most) if store is not None else ():
        session, message = hit.session, hit.message
        moment = message.created_at if message is not None else session.updated_at
        yield ChatHit(
            session=session.id,
            title=session.title,
            date=datetime.fromtimestamp(moment).date().isoformat(),  # noqa: DTZ006 - the user's day
            role=message.role if message is not None else "title",
            text=message.text if message is not None else session.title,
        )


def _open_egress_log(paths: Paths) -> EgressLog:
    from tchat.egress.egress_log import open_egress_log

    return open_egress_log(paths)


def _nobody(_: ApprovalRequest) -> Answer:
    """Refuse; the approval of nobody never asks."""
    from tchat.tools.executor import Answer, ApprovalChoice

    return Answer(ApprovalChoice.DENY)
