"""Every tool that there is, with what it does and whether it is on, to be listed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from tchat.errors import TchatError
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.paths import Paths
    from tchat.settings import Settings
    from tchat.tools.registry import ToolRegistry
    from tchat.tools.tool import Effect, Tool

ALL = "*"  # behind what the names of a server's tools begin with
EFFECTS = (N_("reads files"), N_("writes files"), N_("runs programs"), N_("network"))
"""What `tchat.tools.tool.Effect` are called; `tr` translates them."""


class ToolSource(StrEnum):
    """Where a tool is from; `tr` translates its value."""

    BUILT_IN = N_("built in")
    OWN = N_("yours")
    PACKAGE = N_("package")
    SERVER = N_("server")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTool:
    """A tool, as it is listed.

    Attributes:
        name: What the model calls it.
        source: Where it is from.
        is_on: Whether the model may call it.
        description: What it does; empty where that is not known without running its code.
        effects: What a call may do.
        problem: Why it cannot be used; empty where it can.
        server: The MCP server that it is of, if that is in ``mcp.json``.
    """

    name: str
    source: ToolSource
    is_on: bool
    description: str = ""
    effects: tuple[Effect, ...] = ()
    problem: str = ""
    server: str = ""


def list_tools(settings: Settings, paths: Paths, more: Collection[Tool] = ()) -> list[ListedTool]:
    """All tools, then those that are on and not there.

    Nothing is run for it: what a Python file says of itself is read from its text.

    Args:
        settings: Those in force.
        paths: The user's folders.
        more: Tools of servers.
    """
    from tchat.chat.tool_setup import open_registry

    registry = open_registry(settings, paths)
    servers = list(_servers(settings, paths))
    found = [
        *_of_registry(registry, settings),
        *(
            replace(each, server=server_of(each.name, servers))
            for each in _of_servers(more, settings)
        ),
        *servers,
    ]
    known = {each.name for each in found}
    others = [name for name in settings.tools.enabled if name not in known]
    return [*found, *(_unknown(name, found) for name in others)]


def server_of(name: str, listed: Iterable[ListedTool]) -> str:
    """The listed server, which may not be started, that the tool ``name`` is of; empty for none."""
    return next(
        (
            each.server
            for each in listed
            if each.name.endswith(ALL) and name.startswith(each.name.removesuffix(ALL))
        ),
        "",
    )


def source_text(tool: ListedTool) -> str:
    """Where a tool is from, in words."""
    return tr("MCP server {name}", name=tool.server) if tool.server else tr(tool.source.value)


def effects_text(tool: ListedTool) -> str:
    """What a call may do, in words; empty for one that only computes."""
    return ", ".join(tr(each.value) for each in tool.effects)


def _of_registry(registry: ToolRegistry, settings: Settings) -> Iterator[ListedTool]:
    from tchat.tools.registry import BUILT_IN
    from tchat.tools.user_tools import described_file, file_tool_names

    own = file_tool_names(registry.folder)
    for name in registry.names():
        is_on = name in settings.tools.enabled
        source = ToolSource.PACKAGE
        try:
            if name in BUILT_IN:
                source = ToolSource.BUILT_IN
                tool = registry.get(name)
                yield _listed(tool, source, is_on=is_on)
                continue
            description = ""
            effects: tuple[Effect, ...] = ()
            if name in own:
                source = ToolSource.OWN
                description, effects = described_file(registry.folder, name)
        except TchatError as error:
            yield ListedTool(name=name, source=source, is_on=is_on, problem=str(error))
            continue
        yield ListedTool(
            name=name, source=source, is_on=is_on, description=description, effects=effects
        )


def _of_servers(tools: Collection[Tool], settings: Settings) -> Iterator[ListedTool]:
    from fnmatch import fnmatchcase

    for tool in tools:
        is_on = any(fnmatchcase(tool.name, name) for name in settings.tools.enabled)
        yield _listed(tool, ToolSource.SERVER, is_on=is_on)


def _servers(settings: Settings, paths: Paths) -> Iterator[ListedTool]:
    """A name for all tools of each server of the user; no server is started."""
    from tchat.tools.mcp.config import read_servers

    if not settings.tools.mcp:
        return
    try:
        servers = [each for each in read_servers(paths.mcp_file).values() if each.is_enabled]
    except TchatError:  # `/mcp` and `tchat mcp ls` tell
        return
    for server in servers:
        name = f"{server.tool_prefix}{ALL}"
        yield ListedTool(
            name=name,
            source=ToolSource.SERVER,
            is_on=name in settings.tools.enabled,
            description=tr("All tools of the MCP server {name}", name=server.short_name),
            server=server.short_name,
        )


def _unknown(name: str, listed: Iterable[ListedTool]) -> ListedTool:
    """A name that is on, and that no listed tool has."""
    if server := server_of(name, listed):
        return ListedTool(name=name, source=ToolSource.SERVER, is_on=True, server=server)
    problem = tr("there is no such tool")
    return ListedTool(name=name, source=ToolSource.OWN, is_on=True, problem=problem)


def _listed(tool: Tool, source: ToolSource, *, is_on: bool) -> ListedTool:
    return ListedTool(
        name=tool.name,
        source=source,
        is_on=is_on,
        description=tool.description,
        effects=tuple(sorted(tool.effects)),
    )
