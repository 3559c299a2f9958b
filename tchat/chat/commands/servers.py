"""``/mcp``: the MCP servers of the chat, and what they offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tchat.chat.commands.command import CommandDialog, CommandHost, split_argument
from tchat.errors import UsageError
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.tools.mcp.servers import McpServers

MCP_ARGUMENTS = "[tools|resources|prompts|restart NAME]"


async def manage_servers(host: CommandHost, argument: str) -> None:
    """Carry out ``/mcp``."""
    word, name = split_argument(argument)
    if not word and host.open_dialog(CommandDialog.MCP):
        return
    if word == "restart" and name:
        await host.with_servers(lambda servers: servers.restart(name))
        host.acknowledge(tr("{name} starts again.", name=name))
        return
    lists = {"": _status, "tools": _tools, "resources": _resources, "prompts": _prompts}
    if name or word not in lists:
        raise UsageError(
            tr("/mcp does not take `{argument}`", argument=argument),
            tr("/mcp {arguments}", arguments=MCP_ARGUMENTS),
        )
    host.show(await host.with_servers(lists[word]))


async def insert_server_prompt(host: CommandHost, name: str, argument: str) -> None:
    """Begin a message with the prompt ``SERVER:NAME``; ``argument`` has its variables."""
    from tchat.chat.mcp_servers import parse_arguments

    values = parse_arguments(argument)
    await host.insert_text(await host.with_servers(lambda each: each.get_prompt(name, values)))


def _status(servers: McpServers) -> str:
    from tchat.chat.mcp_servers import listed

    return "\n".join(listed(servers)) or _nothing()


def _tools(servers: McpServers) -> str:
    found = [f"{each.name}  {each.description.partition('.')[0]}" for each in servers.tools()]
    return "\n".join([*found, *servers.problems()]) or _nothing()


def _resources(servers: McpServers) -> str:
    found = [f"@{each.mention}  {each.description or each.name}" for each in servers.resources()]
    return "\n".join([*found, *servers.problems()]) or _nothing()


def _prompts(servers: McpServers) -> str:
    found = []
    for each in servers.prompts():
        variables = " ".join(
            f"{argument.name}=…" if argument.is_required else f"[{argument.name}=…]"
            for argument in each.arguments
        )
        found.append(f"/prompt {each.full_name} {variables}".rstrip() + f"  {each.description}")
    return "\n".join([*found, *servers.problems()]) or _nothing()


def _nothing() -> str:
    return tr("There is none. `tchat mcp add NAME COMMAND…` adds an MCP server.")
