"""Every tool that there is, by its name: built in, the user's own, and of installed packages.

A new built-in tool is a module here and its line in `BUILT_IN`. Nothing is imported before a tool
is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.tools.tool import NAME, Tool
from tchat.tools.user_tools import (
    file_tool_names,
    load_file_tool,
    load_package_tool,
    package_tool_names,
)
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.egress.egress_log import EgressLog
    from tchat.encryption.encryption import Encryption
    from tchat.tools.roots import Roots
    from tchat.tools.sandbox import Sandbox
    from tchat.tools.search_chats import ChatHit
    from tchat.tools.undo_history import UndoHistory


def _no_chats(text: str, most: int) -> Iterable[ChatHit]:  # noqa: ARG001
    return ()


def _no_sandbox() -> Sandbox | None:
    return None


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """What the built-in tools work with.

    Attributes:
        roots: The allowed folders for the tool of a name.
        undo: The folder where former contents of changed files are kept.
        encryption: What encrypts them; None for a store in clear.
        egress: Opens the log of what leaves this machine.
        sandbox: Looks for the sandbox; called when a tool that runs programs is used.
        search_chats: Finds at most so many messages of the user's sessions.
        trusted_servers: ``host:port`` of servers at private addresses that may be fetched from.
        variables: Names of environment variables that programs get.
        network: Whether programs in the sandbox may use the network.
        cancelled: Whether the user stopped what runs.
    """

    roots: Callable[[str], Roots]
    undo: Path
    egress: Callable[[], EgressLog]
    sandbox: Callable[[], Sandbox | None] = _no_sandbox
    search_chats: Callable[[str, int], Iterable[ChatHit]] = _no_chats
    trusted_servers: frozenset[str] = frozenset()
    variables: tuple[str, ...] = ()
    network: bool = False
    cancelled: Callable[[], bool] = field(default=lambda: False)
    encryption: Encryption | None = None

    def undo_history(self) -> UndoHistory:
        """What changed files held before."""
        from tchat.tools.undo_history import UndoHistory

        return UndoHistory(self.undo, self.encryption)


def _read_file(settings: ToolSettings) -> Tool:
    from tchat.tools.read_file import read_file_tool

    return read_file_tool(settings.roots("read_file"))


def _list_files(settings: ToolSettings) -> Tool:
    from tchat.tools.list_files import list_files_tool

    return list_files_tool(settings.roots("list_files"))


def _search_files(settings: ToolSettings) -> Tool:
    from tchat.tools.search_files import search_files_tool

    return search_files_tool(settings.roots("search_files"))


def _write_file(settings: ToolSettings) -> Tool:
    from tchat.tools.file_changes import FileChanges
    from tchat.tools.write_file import write_file_tool

    return write_file_tool(FileChanges(settings.roots("write_file"), settings.undo_history()))


def _edit_file(settings: ToolSettings) -> Tool:
    from tchat.tools.edit_file import edit_file_tool
    from tchat.tools.file_changes import FileChanges

    return edit_file_tool(FileChanges(settings.roots("edit_file"), settings.undo_history()))


def _run_command(settings: ToolSettings) -> Tool:
    from tchat.tools.run_command import run_command_tool

    return run_command_tool(
        settings.roots("run_command"),
        settings.sandbox(),
        variables=settings.variables,
        network=settings.network,
        cancelled=settings.cancelled,
    )


def _fetch_url(settings: ToolSettings) -> Tool:
    from tchat.tools.fetch_url import fetch_url_tool
    from tchat.tools.http_fetch import HttpFetcher

    return fetch_url_tool(HttpFetcher(settings.egress(), trusted=settings.trusted_servers))


def _calculator(settings: ToolSettings) -> Tool:  # noqa: ARG001
    from tchat.tools.calculator import calculator_tool

    return calculator_tool()


def _date_time(settings: ToolSettings) -> Tool:  # noqa: ARG001
    from tchat.tools.date_time import date_time_tool

    return date_time_tool()


def _search_chats(settings: ToolSettings) -> Tool:
    from tchat.tools.search_chats import search_chats_tool

    return search_chats_tool(settings.search_chats)


def _python(settings: ToolSettings) -> Tool:
    from tchat.tools.python_code import python_tool

    return python_tool(settings.sandbox(), cancelled=settings.cancelled)


BUILT_IN: Mapping[str, Callable[[ToolSettings], Tool]] = {
    "read_file": _read_file,
    "list_files": _list_files,
    "search_files": _search_files,
    "write_file": _write_file,
    "edit_file": _edit_file,
    "run_command": _run_command,
    "fetch_url": _fetch_url,
    "calculator": _calculator,
    "date_time": _date_time,
    "search_chats": _search_chats,
    "python": _python,
}

TAKE_PATTERNS = frozenset(
    {"read_file", "list_files", "search_files", "write_file", "edit_file", "run_command"}
)
"""Built-in tools whose calls have a path or a command, which rules can be about."""


@dataclass
class ToolRegistry:
    """Finds tools by name and keeps those that were made.

    A built-in tool wins over one of the user's of the same name, and this over a package's: what a
    name means does not change by installing something.

    Attributes:
        settings: For the built-in tools.
        folder: The user's own tools.
    """

    settings: ToolSettings
    folder: Path
    _tools: dict[str, Tool] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """All names, the built-in ones first."""
        own = (*file_tool_names(self.folder), *package_tool_names(), *self._tools)
        return tuple(dict.fromkeys((*BUILT_IN, *own)))

    def taking_patterns(self) -> dict[str, bool]:
        """All names, and whether a rule can be about a path or a command of their calls.

        That is not known of tools of packages, which are not imported for it.
        """
        own = {*file_tool_names(self.folder)}
        return {
            name: bool(tool.path_arguments or tool.command_argument)
            if (tool := self._tools.get(name)) is not None
            else name in TAKE_PATTERNS or not (name in BUILT_IN or name in own)
            for name in self.names()
        }

    def add(self, tool: Tool) -> None:
        """Add a tool from elsewhere, such as a server.

        Raises:
            UsageError: Its name is taken or not usable.
        """
        if not NAME.fullmatch(tool.name):
            raise UsageError(
                tr("`{name}` is no name of a tool", name=single_line(tool.name)),
                tr("use letters, digits, _ and -"),
            )
        if tool.name in self.names():
            raise UsageError(
                tr("there is a tool {name} already", name=tool.name), tr("choose another name")
            )
        self._tools[tool.name] = tool

    def get(self, name: str) -> Tool:
        """The tool called ``name``.

        Raises:
            UsageError: There is none, or it cannot be used.
            ToolError: The allowed folders cannot be used.
        """
        if name not in self._tools:
            self._tools[name] = self._load(name)
        return self._tools[name]

    def take_log_problem(self) -> str:
        """Why requests of tools are not logged, the first time; else empty."""
        has_fetched = "fetch_url" in self._tools
        return self.settings.egress().take_problem() if has_fetched else ""

    def _load(self, name: str) -> Tool:
        if name in BUILT_IN:
            return BUILT_IN[name](self.settings)
        found = load_file_tool(self.folder, name) or load_package_tool(name)
        if found is None:
            raise UsageError(
                tr("there is no tool {name}", name=single_line(name)),
                tr("the tools are {names}", names=", ".join(self.names())),
            )
        return found
