"""``tchat servers``: add, ls, rm, test."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.app import DRY_RUN, JSON, command_group
from tchat.cli.console import Console
from tchat.cli.output.columns import fields, print_json, print_rows
from tchat.errors import UsageError
from tchat.paths import user_paths
from tchat.sanitize import printable
from tchat.servers.config import (
    TIMEOUT,
    Server,
    base_url,
    find_server,
    read_servers,
    remove_server,
    require_name,
    require_server,
    save_server,
    server_tables,
)
from tchat.servers.kinds import KINDS
from tchat.settings.schema import has_url_scheme
from tchat.translation import N_, tr, trn

if TYPE_CHECKING:
    from tchat.servers.description import ServerDescription

app = command_group("Use models on OpenAI-compatible servers: `tchat -m NAME/MODEL`.")


def complete_name(incomplete: str) -> list[str]:
    """Names of servers that begin with ``incomplete``, for the shell."""
    return [name for name in server_tables(user_paths()) if name.startswith(incomplete)]


NAME = typer.Argument(..., help="Name of the model server", autocompletion=complete_name)


@app.command()
def add(
    ctx: typer.Context,
    name: str = typer.Argument(..., help="Name for the model server, for `-m NAME/MODEL`"),
    url: str = typer.Argument(..., help="Base URL, as far as /v1"),
    *,
    model: str = typer.Option("", "-m", "--model", help="Model that NAME alone stands for"),
    key_env: str = typer.Option("", "--key-env", help="Environment variable with the API key"),
    keyring: bool = typer.Option(
        False, "--keyring", help="Ask for the API key and keep it in the system's keyring"
    ),
    timeout: float = typer.Option(
        TIMEOUT, "--timeout", help="Seconds without a byte until it is given up"
    ),
    private: bool = typer.Option(False, "--private", help="Allow it in private sessions"),
    kind: str = typer.Option(
        "",
        "--kind",
        metavar="|".join(KINDS),
        help="What it is; default: find out",
        autocompletion=lambda incomplete: [each for each in KINDS if each.startswith(incomplete)],
    ),
    ctx_size: int = typer.Option(
        0, "--ctx-size", help="Context window in tokens, where it does not tell"
    ),
    insecure: bool = typer.Option(
        False, "--insecure", help="Send the key over plain HTTP to another machine"
    ),
    redact: bool = typer.Option(
        False, "--redact", help="Replace personal data and secrets in what is sent to it"
    ),
) -> None:
    """Add a server to config.toml, or replace one; nothing is sent to it."""
    console: Console = ctx.obj
    require_name(name)
    server = Server(
        name,
        base_url(url),
        model,
        key_env,
        keyring,
        timeout,
        private,
        kind,
        ctx_size,
        insecure,
        redact,
    )
    require_server(server, tr("the server {name}", name=name))
    replaced = name in server_tables(console.paths)  # read before a key is asked for
    if keyring:
        from tchat.servers.api_key import save_key

        save_key(name, _typed_key(console, name))
    save_server(console.paths, server)
    if replaced:
        console.say(tr("the server {name} was there already: its entry is replaced", name=name))
    console.say(
        tr("{name} is saved: `tchat servers test {name}` tries it, `tchat -m {name}` uses it",
           name=name)
    )  # fmt: skip


def _typed_key(console: Console, name: str) -> str:
    """The key that is typed without an echo, or piped in."""
    if console.stdin_is_terminal:
        from getpass import getpass

        question = tr("API key of {name} (not shown):", name=name)
        return getpass(f"{question} ", stream=console.stderr).strip()
    line = console.stdin.readline() if console.stdin else b""
    if not line.strip():
        raise UsageError(
            tr("there is no key on standard input"), tr("pipe it in, or run it in a terminal")
        )
    return line.decode("utf-8", "replace").strip()


@app.command()
def ls(ctx: typer.Context, as_json: bool = JSON) -> None:
    """List the servers of config.toml."""
    console: Console = ctx.obj
    servers = read_servers(console.paths).values()
    if as_json:
        print_json(console, [asdict(server) for server in servers])
        return
    from tchat.chat.outgoing import is_redacted
    from tchat.settings import load

    settings = load(console.paths, console.environ).settings
    rows = [
        (
            server.name,
            server.url,
            server.model,
            server.key_env or (tr("keyring") if server.keyring else ""),
            server.kind,
            tr("yes") if server.private else tr("no"),
            tr("yes") if is_redacted(server, settings) else tr("no"),
        )
        for server in servers
    ]
    header = (
        N_("NAME"),
        N_("URL"),
        N_("MODEL"),
        N_("KEY"),
        N_("KIND"),
        N_("PRIVATE"),
        N_("REDACT"),
    )
    print_rows(
        console,
        header,
        rows,
        empty=tr("there is no model server yet: `tchat servers add NAME URL` adds one"),
    )


@app.command()
def rm(ctx: typer.Context, name: str = NAME, dry_run: bool = DRY_RUN) -> None:
    """Remove a server from config.toml, and its key from the keyring."""
    console: Console = ctx.obj
    server = find_server(name, console.paths)
    if dry_run:
        console.out(printable(f"{server.name}\t{server.url}"))
        return
    if server.keyring:
        from tchat.servers.api_key import delete_key

        delete_key(name)
    remove_server(console.paths, name)
    console.say(tr("{name} is removed", name=name))


@app.command("test")
def check(
    ctx: typer.Context,
    name: str = typer.Argument(
        ..., help="Name or URL of the model server", autocompletion=complete_name
    ),
    as_json: bool = JSON,
) -> None:
    """Ask a server for its kind and its models; no chat is sent."""
    from tchat.egress.egress_log import open_egress_log
    from tchat.engine.prompt import never
    from tchat.servers.api_key import find_key
    from tchat.servers.config import find_server_model
    from tchat.servers.connection import ServerConnection
    from tchat.servers.description import describe_models

    console: Console = ctx.obj
    if has_url_scheme(name):
        found = find_server_model(name, {}, "")
        server = found.server if found else find_server(name, console.paths)
    else:
        server = find_server(name, console.paths)
    egress = open_egress_log(console.paths)
    connection = ServerConnection(server, egress, find_key(server, console.environ))
    started = time.perf_counter()
    try:
        descriptions = describe_models(connection, never)
    finally:
        connection.close()
    seconds = time.perf_counter() - started
    if problem := egress.take_problem():
        console.notice(problem)
    if as_json:
        print_json(console, _record(server, descriptions, seconds))
        return
    rows = [(each.model.id, _context_text(each)) for each in descriptions]
    kind = descriptions[0].kind.title if descriptions else tr("it")
    console.say(
        trn(
            "{name} answers after {seconds:.2f} s: {kind}, {count:,} model",
            "{name} answers after {seconds:.2f} s: {kind}, {count:,} models",
            len(rows),
            name=name,
            seconds=seconds,
            kind=kind,
        )
    )
    print_rows(console, (N_("MODEL"), N_("CONTEXT")), rows, empty=tr("it lists no model"))


def _context_text(description: ServerDescription) -> str:
    return f"{description.model.context:,}" if description.tells_context else ""


def _record(
    server: Server, descriptions: list[ServerDescription], seconds: float
) -> dict[str, Any]:
    kind = descriptions[0].kind if descriptions else None
    return {
        "name": server.name,
        "url": server.url,
        "kind": kind.name if kind else None,
        "seconds": round(seconds, 3),
        "capabilities": asdict(kind.capabilities) if kind else None,
        "models": [
            {
                **fields(each.model, "id", "owner"),
                "context": each.model.context if each.tells_context else None,
            }
            for each in descriptions
        ],
    }
