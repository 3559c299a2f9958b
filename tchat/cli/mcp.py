"""``tchat mcp``: ls, add, rm, test."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.app import DRY_RUN, JSON, command_group
from tchat.cli.console import Console
from tchat.cli.output.columns import print_json, print_rows
from tchat.errors import NetworkError, TchatError, UsageError
from tchat.paths import expanded, path_text, user_paths
from tchat.sanitize import printable, single_line
from tchat.tools.mcp.config import (
    ServerConfig,
    add_server,
    find_server,
    read_servers,
    remove_server,
)
from tchat.tools.tool import ToolError
from tchat.translation import N_, tr, trn

if TYPE_CHECKING:
    from tchat.tools.mcp.server import McpServer

app = command_group("Manage MCP servers, which give the model tools, resources and prompts.")

START_SECONDS = 90.0


def complete_name(incomplete: str) -> list[str]:
    """Names of servers that begin with ``incomplete``, for the shell."""
    try:
        names = read_servers(user_paths().mcp_file)
    except TchatError:
        return []
    return [name for name in names if name.startswith(incomplete)]


NAME = typer.Argument(..., help="Name of the MCP server", autocompletion=complete_name)


@app.command()
def ls(ctx: typer.Context, as_json: bool = JSON) -> None:
    """List the servers of mcp.json; starts none."""
    console: Console = ctx.obj
    servers = read_servers(console.paths.mcp_file)
    if as_json:
        print_json(console, [_record(server) for server in servers.values()])
        return
    rows = [
        (
            single_line(server.name, 40),
            server.transport,
            tr("on") if server.is_enabled else tr("off"),
            server.problem or single_line(server.target),
        )
        for server in servers.values()
    ]
    print_rows(console, (N_("NAME"), N_("TRANSPORT"), N_("STATE"), N_("COMMAND OR URL")), rows)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def add(  # noqa: PLR0917 - Typer passes them by name
    ctx: typer.Context,
    name: str = typer.Argument(..., help="Name of the new MCP server"),
    target: list[str] = typer.Argument(
        ..., help="Its URL, or the program that it is with its arguments", metavar="URL|COMMAND…"
    ),
    env: list[str] = typer.Option(
        [], "--env", help="NAME=VALUE for the program; repeatable", metavar="NAME=VALUE"
    ),
    header: list[str] = typer.Option(
        [], "--header", help="HTTP header for the URL; repeatable", metavar="NAME: VALUE"
    ),
    cwd: str = typer.Option("", "--cwd", help="Folder that the program starts in"),
) -> None:
    """Add a server to mcp.json: `tchat mcp add --env KEY=VALUE NAME npx -y PACKAGE`.

    Options come before NAME. `${NAME}` in a value stands for an environment variable.
    """
    console: Console = ctx.obj
    words = [word for word in target if word != "--"] if target[0] == "--" else target
    is_url = words[0].startswith(("http://", "https://"))
    if is_url and (len(words) > 1 or env or cwd):
        raise UsageError(
            tr("a URL takes no arguments, --env or --cwd"), tr("give headers with --header")
        )
    if not is_url and header:
        raise UsageError(tr("--header is for URLs"), tr("give variables with --env"))
    server = ServerConfig(
        name,
        () if is_url else _absolute(words),
        dict(_pair(each, "=", "--env") for each in env),
        cwd,
        url=words[0] if is_url else "",
        headers=dict(_pair(each, ":", "--header") for each in header),
    )
    add_server(console.paths.mcp_file, server)
    console.say(
        tr(
            "added {name} to {path}: `tchat mcp test {name}` tries it, "
            "`tchat -T '{prefix}*'` lets the model call its tools",
            name=server.name,
            path=path_text(console.paths.mcp_file),
            prefix=server.tool_prefix,
        )
    )
    _warn_of_missing_program(console, server)
    _warn_of_clear_headers(console, server)


@app.command()
def rm(ctx: typer.Context, name: str = NAME, dry_run: bool = DRY_RUN) -> None:
    """Remove a server from mcp.json."""
    console: Console = ctx.obj
    path = console.paths.mcp_file
    if dry_run:
        server = find_server(path, name)
        console.out(f"{single_line(server.name)}: {single_line(server.target)}")
        return
    removed = remove_server(path, name)
    console.say(
        tr("{name} is removed from {path}", name=single_line(removed), path=path_text(path))
    )


@app.command("test")
def try_server(ctx: typer.Context, name: str = NAME, as_json: bool = JSON) -> None:
    """Start a server, and list its tools, resources and prompts."""
    from tchat.tools.mcp.server import McpServer

    console: Console = ctx.obj
    server = McpServer(find_server(console.paths.mcp_file, name), console.paths, None)
    try:
        found = _tried(server)
    except ToolError as error:
        kind = NetworkError if server.config.url else UsageError
        if server.has_written and console.paths.encryption is not None:
            hint = tr("`tchat log` shows what it wrote")
        elif server.has_written:
            hint = tr("what it wrote is in {path}", path=path_text(console.paths.log_file))
        elif not server.was_opened:
            hint = error.hint
        else:
            hint = tr("check its entry in {path}", path=path_text(console.paths.mcp_file))
        raise kind(error.message, hint) from error
    finally:
        if problem := server.take_log_problem():
            console.notice(problem)
        server.close()
    if as_json:
        print_json(console, found)
    else:
        _print(console, found)


def _tried(server: McpServer) -> dict[str, Any]:
    start = time.monotonic()
    listing = server.tools(START_SECONDS)
    seconds = time.monotonic() - start
    return {
        **_record(server.config),
        "seconds": round(seconds, 3),
        "tools": [
            {
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.parameters),
            }
            for tool in listing.tools
        ],
        "left_out": list(listing.left_out),
        "resources": [
            {
                "uri": each.uri,
                "name": each.name,
                "description": each.description,
                "mime_type": each.mime_type,
                "template": each.is_template,
            }
            for each in server.resources()
        ],
        "prompts": [
            {
                "name": each.name,
                "description": each.description,
                "arguments": [argument._asdict() for argument in each.arguments],
            }
            for each in server.prompts()
        ],
    }


def _print(console: Console, found: dict[str, Any]) -> None:
    count = len(found["tools"])
    seconds = found["seconds"]
    console.notice(
        trn(
            "{name} answers: {count} tool, after {seconds:.1f} s",
            "{name} answers: {count} tools, after {seconds:.1f} s",
            count,
            name=single_line(found["name"], 64),
            seconds=seconds,
        )
    )
    rows = [
        *((tr("tool"), each["name"], each["description"]) for each in found["tools"]),
        *(
            (tr("resource"), f"@{found['short_name']}:{each['uri']}", each["description"])
            for each in found["resources"]
        ),
        *(
            (tr("prompt"), f"{found['short_name']}:{each['name']}", each["description"])
            for each in found["prompts"]
        ),
        *((tr("left out"), each.partition(":")[0], each) for each in found["left_out"]),
    ]
    shown = [(kind, printable(name), single_line(text)) for kind, name, text in rows]
    print_rows(console, (N_("KIND"), N_("NAME"), N_("DESCRIPTION")), shown)


def _record(server: ServerConfig) -> dict[str, Any]:
    """A server without secrets and the values of its variables and headers."""
    return {
        "name": server.name,
        "short_name": server.short_name,
        "transport": server.transport,
        "enabled": server.is_enabled,
        "command": list(server.shown_command),
        "url": server.shown_url,
        "env": sorted(server.env),
        "headers": sorted(server.headers),
        "problem": server.problem or None,
    }


def _warn_of_missing_program(console: Console, server: ServerConfig) -> None:
    from tchat.tools.program_environment import program_environment
    from tchat.tools.programs import find_program

    if server.url:
        return
    with suppress(UsageError):  # a variable that is not set here
        config = server.with_variables(console.environ)
        environment = {**program_environment(console.environ), **config.env}
        try:
            find_program(config.command[0], environment.get("PATH", ""))
        except ToolError as error:
            console.say(tr("warning: {warning}", warning=error))


def _warn_of_clear_headers(console: Console, server: ServerConfig) -> None:
    from tchat.servers.config import Server

    address = Server(server.name, server.url)
    if server.headers and server.url.startswith("http:") and not address.is_loopback:
        host = single_line(address.host)
        console.say(tr("warning: headers are sent unencrypted to {host}: use https", host=host))


def _absolute(words: Sequence[str]) -> tuple[str, ...]:
    """A command with the whole path of a program that is named by one: chats start elsewhere."""
    program, *arguments = words
    if "/" in program:
        program = str(expanded(program).absolute())
    return (program, *arguments)


def _pair(text: str, mark: str, flag: str) -> tuple[str, str]:
    name, found, value = text.partition(mark)
    if not found or not name.strip():
        raise UsageError(
            tr(
                "{flag} takes NAME{mark}VALUE, not `{text}`",
                flag=flag,
                mark=mark,
                text=single_line(text),
            )
        )
    return name.strip(), value.strip() if mark == ":" else value
