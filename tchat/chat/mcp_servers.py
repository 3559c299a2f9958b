"""The MCP servers of a chat: started once a tool, a resource or a prompt of theirs is needed.

Without servers, or before one is needed, nothing of `tchat.tools` is imported.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tchat.chat.attachments import Attachment
from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.chat.templates import PromptTemplate
    from tchat.paths import Paths
    from tchat.settings import Settings
    from tchat.tools.mcp.host import McpHost
    from tchat.tools.mcp.listings import ToolListing
    from tchat.tools.mcp.servers import McpServers
    from tchat.tools.tool import Tool

# `@server:uri`, behind white space or a bracket.
_MENTION = re.compile(r"(?<![^\s(\[{])@([A-Za-z0-9_.-]{1,64}):([^\s@]+)")
_BEHIND = ",;!?.)]}'\""  # what a sentence puts behind an address
_ARGUMENT = re.compile(r"([^\s=]+)=(\"[^\"]*\"|\S*)(?:\s+|$)")
MARK = "__"  # in names of servers' tools


@dataclass(frozen=True, slots=True)
class FoundTools:
    """The tools of servers that were asked for.

    Attributes:
        names: The names asked for, with those of tools in place of patterns, and without those of
            servers that cannot be used now.
        tools: The tools of the servers that the names are about.
        problems: Lines about servers that cannot be used now.
    """

    names: tuple[str, ...]
    tools: tuple[Tool, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass
class ChatServers:
    """The servers of one chat; `close` it at the end.

    Attributes:
        paths: The user's folders.
        host: Answers what servers ask; None declines.
        problems: Lines about servers that `find_tools` could not use.
    """

    paths: Paths
    host: McpHost | None = None
    problems: tuple[str, ...] = ()
    _servers: McpServers | None = field(default=None)
    _found: Mapping[str, ToolListing | None] = field(default_factory=dict)  # by `find_tools`
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, settings: Settings) -> McpServers:
        """All servers; none of them is started.

        Raises:
            UsageError: They are off, or ``mcp.json`` cannot be used.
            StorageError: It cannot be read.
        """
        if not settings.tools.mcp:
            raise UsageError(tr("MCP servers are off"), tr("/set tools.mcp on"))
        from tchat.tools.mcp.servers import open_mcp_tools

        with self._lock:
            if self._servers is None:
                self._servers = open_mcp_tools(self.paths, self.host)
            return self._servers

    @property
    def is_stale(self) -> bool:
        """Whether there are other tools than `find_tools` found."""
        if self._servers is None:
            return False
        servers = self._servers.servers
        # Others may have listed tools meanwhile: `/mcp` does.
        return self._servers.is_stale or any(
            servers[name].listing is not listing for name, listing in self._found.items()
        )

    def find_tools(self, settings: Settings, names: Collection[str]) -> FoundTools:
        """The tools that ``names`` are about: ``files__read``, or the pattern ``files__*``.

        Starts the servers that have them, and no others.

        Raises:
            UsageError: ``mcp.json`` cannot be used.
            StorageError: It cannot be read.
        """
        self.problems, self._found = (), {}
        if not any(MARK in name for name in names):
            return FoundTools(tuple(names))
        if not self._are_there(settings):
            return self._without_servers(settings, names)
        from fnmatch import fnmatchcase

        chosen = self.open(settings).having(names)
        tools = chosen.tools()
        found: dict[str, None] = {}
        for name in names:
            matching = [tool.name for tool in tools if fnmatchcase(tool.name, name)]
            about = chosen.having([name])
            if matching or "*" in name or about.problems():
                found.update(dict.fromkeys(matching))
            else:
                found[name] = None  # whoever opens it tells that there is none
        problems = chosen.problems()
        self.problems = (*problems, *(() if problems else _without_tools(names, tools)))
        self._found = {name: server.listing for name, server in chosen.servers.items()}
        return FoundTools(tuple(found), tuple(tools), self.problems)

    def _without_servers(self, settings: Settings, names: Collection[str]) -> FoundTools:
        """The tools that are not of servers, which are off or not there."""
        from tchat.tools.mcp.config import read_servers

        self.close()
        prefixes = tuple(each.tool_prefix for each in read_servers(self.paths.mcp_file).values())
        dropped = [
            name
            for name in names
            if (MARK in name and name.endswith("*")) or name.startswith(prefixes)
        ]
        if not dropped:
            return FoundTools(tuple(names))
        shown = single_line(", ".join(dropped), 200)
        problem = (
            tr("there is no MCP server for {names}: `tchat mcp add` adds one", names=shown)
            if settings.tools.mcp
            else tr("{names}: MCP servers are off; /set tools.mcp on", names=shown)
        )
        self.problems = (problem,)
        return FoundTools(tuple(each for each in names if each not in dropped), (), self.problems)

    def mentioned(self, settings: Settings, text: str) -> list[str]:
        """The resources that ``text`` mentions as ``@SERVER:URI``, each once."""
        matches = list(_MENTION.finditer(text))
        if not matches or not self._are_there(settings):
            return []
        known = self.open(settings).servers
        found = (f"{each[1]}:{each[2].rstrip(_BEHIND)}" for each in matches if each[1] in known)
        return list(dict.fromkeys(found))

    def read(self, settings: Settings, mentions: Iterable[str]) -> list[Attachment]:
        """The resources as attachments.

        Raises:
            ToolError: One cannot be read.
        """
        return [Attachment(each, self.open(settings).read_resource(each)) for each in mentions]

    def take_log_problem(self) -> str:
        """Why what the servers are sent is not logged, the first time; else empty."""
        return self._servers.take_log_problem() if self._servers is not None else ""

    def close(self) -> None:
        """End the servers that were started; takes a few seconds at most."""
        with self._lock:
            servers, self._servers = self._servers, None
        if servers is not None:
            servers.close()

    def _are_there(self, settings: Settings) -> bool:
        return settings.tools.mcp and os.path.exists(self.paths.mcp_file)  # noqa: PTH110


def _without_tools(names: Iterable[str], tools: Collection[Tool]) -> Iterator[str]:
    """A line about each pattern of tools that there are none of."""
    from fnmatch import fnmatchcase

    for name in names:
        if MARK in name and "*" in name and not any(fnmatchcase(each.name, name) for each in tools):
            shown = single_line(name, 64)
            yield tr("no MCP server has a tool {name} that can be used", name=shown)


def parse_arguments(text: str) -> dict[str, str]:
    """``language=C tone="very kind"`` as a mapping.

    Raises:
        UsageError: It is something else.
    """
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _ARGUMENT.match(text, at)
        if match is None:
            raise UsageError(
                tr("`{text}` is no variable with a value", text=single_line(text[at:], 40)),
                tr('write NAME=VALUE or NAME="SEVERAL WORDS"'),
            )
        found[match[1]] = match[2].removeprefix('"').removesuffix('"')
        at = match.end()
    return found


def server_template(
    name: str, values: Mapping[str, str], settings: Settings, paths: Paths
) -> PromptTemplate:
    """The prompt ``SERVER:NAME`` of a server, with ``values``, as a template without variables.

    Raises:
        UsageError: There is no such server or prompt, or the values are not those that it takes.
        ToolError: The server cannot be used.
    """
    from tchat.chat.templates import literal_template

    servers = ChatServers(paths)
    try:
        return literal_template(name, servers.open(settings).get_prompt(name, values))
    finally:
        servers.close()


def listed(servers: McpServers) -> Sequence[str]:
    """The servers as lines: state, tools, and what is wrong."""
    lines = []
    for each in servers.status():
        line = tr("{name}: {state}", name=each.name, state=tr(each.state.value))
        if each.tools:
            line = f"{line}; {', '.join(each.tools)}"
        lines.append(f"{line}; {each.error}" if each.error else line)
        lines.extend(f"  {tr('left out')}: {problem}" for problem in each.left_out)
    return lines
