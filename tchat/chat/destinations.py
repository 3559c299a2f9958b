"""Whether a reply or a call of a tool leaves this machine, and where it goes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tchat.errors import TchatError
from tchat.settings.endpoints import is_loopback_name
from tchat.settings.schema import has_url_scheme

if TYPE_CHECKING:
    from tchat.paths import Paths

MCP_MARK = "__"  # between a server and its tool
FETCH = "fetch_url"


class Destinations:
    """Finds the names of servers and hosts elsewhere, by the configuration as it is now.

    Args:
        servers: The table ``[servers]`` of ``config.toml``.
        paths: The user's folders; ``mcp.json`` is read once, when a tool of a server is met.
    """

    def __init__(self, servers: Mapping[str, Any], paths: Paths) -> None:
        self._servers, self._paths = servers, paths
        self._mcp: Mapping[str, str] | None = None

    def of_model(self, model: str) -> str:
        """The server that a model is on, or the host of its URL, raw; empty on this machine."""
        if has_url_scheme(model):
            return _elsewhere(model, host_of(model))
        name = model.partition("/")[0]
        table = self._servers.get(name)
        url = table.get("url", "") if isinstance(table, Mapping) else ""
        return _elsewhere(str(url), name)

    def of_call(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """The host or the MCP server that a call is sent to, raw; empty on this machine."""
        if tool == FETCH:
            url = str(arguments.get("url", ""))
            return _elsewhere(url, host_of(url))
        if MCP_MARK not in tool:
            return ""
        return next(
            (name for prefix, name in self._mcp_servers().items() if tool.startswith(prefix)), ""
        )

    def _mcp_servers(self) -> Mapping[str, str]:
        """The MCP servers elsewhere, by the beginning of the names of their tools."""
        if self._mcp is None:
            from tchat.tools.mcp.config import read_servers

            self._mcp = {}
            with suppress(TchatError):  # the chat tells it where a tool of them is on
                self._mcp = {
                    each.tool_prefix: each.short_name
                    for each in read_servers(self._paths.mcp_file).values()
                    if _elsewhere(each.url, each.short_name)
                }
        return self._mcp


def host_of(url: str) -> str:
    """The host of a URL, raw; empty where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _elsewhere(url: str, name: str) -> str:
    host = host_of(url)
    return name if host and not is_loopback_name(host) else ""
