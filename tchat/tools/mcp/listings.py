"""What a server offers: tools, resources and prompts, as it lists them, within bounds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tchat.sanitize import printable, single_line
from tchat.tools.mcp.schema_limits import SchemaTooLarge, bounded_schema
from tchat.tools.tool import Arguments, Effect, Tool

if TYPE_CHECKING:
    import mcp_types as types
    from mcp import Client

    from tchat.tools.outgoing import OutgoingArguments

MAX_TOOLS = 128  # of one server
MAX_ENTRIES = 1000  # resources or prompts of one server
MAX_PAGES = 100
MAX_DESCRIPTION = 2000  # characters
MAX_URI = 2000
MAX_ARGUMENTS = 32
_NAME_LENGTH = 64
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


class McpResource(NamedTuple):
    """Something that can be read from a server.

    Attributes:
        server: Its short name.
        uri: As the server wants it back; raw.
        name: Printable.
        description: Printable; may be empty.
        mime_type: Empty where the server does not tell.
        is_template: ``uri`` has places such as ``{path}`` to fill in.
    """

    server: str
    uri: str
    name: str
    description: str
    mime_type: str
    is_template: bool = False

    @property
    def mention(self) -> str:
        """How a prompt names it, behind ``@``."""
        return f"{self.server}:{self.uri}"


class PromptArgument(NamedTuple):
    """A variable of a server's prompt."""

    name: str
    description: str
    is_required: bool


class McpPrompt(NamedTuple):
    """A prompt template of a server; its texts are printable."""

    server: str
    name: str
    description: str
    arguments: tuple[PromptArgument, ...]

    @property
    def full_name(self) -> str:
        """How a user names it."""
        return f"{self.server}:{self.name}"


@dataclass(frozen=True, slots=True)
class ToolListing:
    """The tools of a server that can be used, and what is wrong with others."""

    tools: tuple[Tool, ...] = ()
    left_out: tuple[str, ...] = ()


async def list_tools(client: Client) -> Sequence[types.Tool]:
    """The tools that a server lists, a bounded number of them."""
    if client.server_capabilities.tools is None:
        return ()

    async def page(cursor: str | None) -> tuple[Sequence[types.Tool], str | None]:
        result = await client.list_tools(cursor=cursor)
        return result.tools, result.next_cursor

    return await _paged(page, MAX_TOOLS + 1)


async def list_resources(client: Client) -> Sequence[types.Resource | types.ResourceTemplate]:
    """The resources that a server lists, and then their templates."""
    if client.server_capabilities.resources is None:
        return ()

    async def page(cursor: str | None) -> tuple[Sequence[types.Resource], str | None]:
        result = await client.list_resources(cursor=cursor)
        return result.resources, result.next_cursor

    async def template_page(
        cursor: str | None,
    ) -> tuple[Sequence[types.ResourceTemplate], str | None]:
        result = await client.list_resource_templates(cursor=cursor)
        return result.resource_templates, result.next_cursor

    found: list[types.Resource | types.ResourceTemplate] = []
    found.extend(await _paged(page, MAX_ENTRIES))
    found.extend(await _paged(template_page, MAX_ENTRIES - len(found)))
    return found


async def list_prompts(client: Client) -> Sequence[types.Prompt]:
    """The prompts that a server lists."""
    if client.server_capabilities.prompts is None:
        return ()

    async def page(cursor: str | None) -> tuple[Sequence[types.Prompt], str | None]:
        result = await client.list_prompts(cursor=cursor)
        return result.prompts, result.next_cursor

    return await _paged(page, MAX_ENTRIES)


def tool_listing(
    prefix: str,
    listed: Iterable[types.Tool],
    run: Callable[[str, Arguments], str],
    outgoing: OutgoingArguments | None = None,
) -> ToolListing:
    """The tools of a server for a chat.

    What a server says about the effects of its tools is a claim: each may do everything.

    Args:
        prefix: What their names begin with.
        listed: What it lists.
        run: Calls the tool of a name, as the server calls it.
        outgoing: How calls are redacted; None where they stay here.
    """
    tools: dict[str, Tool] = {}
    left_out: list[str] = []
    for each in listed:
        shown = single_line(each.name, 80)
        if len(tools) == MAX_TOOLS:
            left_out.append(f"there are more than {MAX_TOOLS} tools")
            break
        try:
            schema = bounded_schema(each.input_schema)
        except SchemaTooLarge as error:
            left_out.append(f"{shown}: {error}")
            continue
        name = tool_name(prefix, each.name, tools)
        tools[name] = Tool(
            name=name,
            description=printable(each.description or each.title or "")[:MAX_DESCRIPTION],
            parameters=schema,
            run=_runner(run, each.name),
            effects=frozenset(Effect),
            is_untrusted=True,
            outgoing=outgoing,
        )
    return ToolListing(tuple(tools.values()), tuple(left_out))


def tool_name(prefix: str, name: str, taken: Mapping[str, Any]) -> str:
    """``name`` behind ``prefix`` within the rules for names of tools, another than those taken."""
    plain = _NOT_IN_NAMES.sub("_", f"{prefix}{name}")
    if len(plain) <= _NAME_LENGTH and plain not in taken:
        return plain
    mark = hashlib.sha256(name.encode(errors="replace")).hexdigest()
    shortened = f"{plain[: _NAME_LENGTH - 9]}_{mark[:8]}"
    number = 0
    while shortened in taken:  # a server lists one name twice
        number += 1
        shortened = f"{plain[: _NAME_LENGTH - 9]}_{number:08}"
    return shortened


def resource_listing(
    server: str, listed: Iterable[types.Resource | types.ResourceTemplate]
) -> list[McpResource]:
    """The resources that a prompt can name: those whose address has no white space or controls."""
    found = []
    for each in listed:
        uri = getattr(each, "uri", "") or getattr(each, "uri_template", "")
        if not uri or len(uri) > MAX_URI or single_line(uri, MAX_URI) != uri or " " in uri:
            continue
        found.append(
            McpResource(
                server,
                uri,
                single_line(each.title or each.name, 120),
                single_line(each.description or "", 300),
                single_line(each.mime_type or "", 80),
                is_template=hasattr(each, "uri_template"),
            )
        )
    return found


def prompt_listing(server: str, listed: Iterable[types.Prompt]) -> list[McpPrompt]:
    """The prompts whose names can be typed."""
    found = []
    for each in listed:
        arguments = each.arguments or []
        names = [each.name, *(argument.name for argument in arguments)]
        if len(arguments) > MAX_ARGUMENTS or not all(map(_can_be_typed, names)):
            continue
        found.append(
            McpPrompt(
                server,
                each.name,
                single_line(each.description or each.title or "", 300),
                tuple(
                    PromptArgument(
                        argument.name,
                        single_line(argument.description or "", 200),
                        bool(argument.required),
                    )
                    for argument in arguments
                ),
            )
        )
    return found


def _can_be_typed(name: str) -> bool:
    return bool(name) and len(name) <= 128 and single_line(name) == name and " " not in name


def _runner(run: Callable[[str, Arguments], str], name: str) -> Callable[[Arguments], str]:
    return lambda arguments: run(name, arguments)


async def _paged(
    page: Callable[[str | None], Awaitable[tuple[Sequence[Any], str | None]]], most: int
) -> list[Any]:
    """All entries of a list; none where the server does not know the method.

    Many that have resources know no templates of them.
    """
    from mcp import MCPError
    from mcp_types import METHOD_NOT_FOUND

    found: list[Any] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        try:
            entries, cursor = await page(cursor)
        except MCPError as error:
            if error.code != METHOD_NOT_FOUND:
                raise
            break
        found.extend(entries)
        if cursor is None or len(found) >= most:
            break
    return found[:most]
