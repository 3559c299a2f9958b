"""``tchat tools``: ls, test, log, undo, new."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

import typer

from tchat.chat.editor import edit_file
from tchat.chat.mcp_servers import ChatServers
from tchat.chat.tool_list import ListedTool, effects_text, list_tools, source_text
from tchat.chat.tool_setup import open_changes, open_executor, open_log
from tchat.cli.app import DRY_RUN, JSON, command_group
from tchat.cli.console import Console, confirm
from tchat.cli.output.columns import print_json, print_rows
from tchat.engine.binding import Cancel
from tchat.engine.engine_thread import run_on_engine_thread
from tchat.errors import ExitCode, UsageError
from tchat.humanize import size_text
from tchat.paths import user_paths, write_private
from tchat.sanitize import revealed
from tchat.settings import load
from tchat.step_text import short_arguments
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.settings import Settings
    from tchat.tools.executor import ToolResult

app = command_group("List and try the tools that a model can call, and see what was called.")

LATEST = 50  # calls that are listed
SKELETON = '''\
"""A tool for models, see `tchat help tools`: it runs as you, with all that you may do."""

description = "What it does, for the model."
# The JSON schema of its arguments.
parameters = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}
# What a call may do: "reads files", "writes files", "runs programs", "network".
effects = []


def call(arguments):
    return arguments["text"].upper()
'''


def _complete(incomplete: str) -> list[str]:
    paths = user_paths()
    listed = list_tools(load(paths).settings, paths)
    return [each.name for each in listed if each.name.startswith(incomplete)]


NAME = typer.Argument(..., help="Name of a tool, see `tchat tools ls`", autocompletion=_complete)


@app.command()
def ls(ctx: typer.Context, as_json: bool = JSON) -> None:
    """List all tools, and which are on."""
    console: Console = ctx.obj
    listed = list_tools(_settings(console), console.paths)
    if as_json:
        print_json(console, [_record(each) for each in listed])
        return
    header = (N_("NAME"), N_("STATE"), N_("FROM"), N_("EFFECTS"), N_("DESCRIPTION"))
    print_rows(console, header, [_row(each) for each in listed])


@app.command("test")
def call_tool(
    ctx: typer.Context,
    name: str = NAME,
    arguments: str = typer.Argument("{}", help="Its arguments, a JSON object"),
    as_json: bool = JSON,
) -> int:
    """Call a tool as a model would: by the same rules, and logged.

    A tool that only reads runs at once. Exit code: 0 done, 1 failed, 7 refused.
    """
    console: Console = ctx.obj
    values = _arguments(arguments)
    result = _called(console, name, values)
    if as_json:
        print_json(console, _result_record(name, values, result))
    elif not result.failed:
        console.out(revealed(result.content))
    if result.is_refused:
        console.say(result.content)
        return ExitCode.REFUSED
    if result.failed:
        console.say(result.content)
        return ExitCode.UNEXPECTED
    return ExitCode.OK


@app.command()
def log(
    ctx: typer.Context,
    count: int = typer.Option(LATEST, "-n", metavar="N", min=1, help="List the latest N calls"),
    as_json: bool = JSON,
) -> None:
    """List the calls of tools: when, with what, who allowed or refused them, what came of it."""
    console: Console = ctx.obj
    calls: dict[str, dict[str, Any]] = {}
    for line in open_log(console.paths).lines():
        number = str(line.get("id"))
        if line.get("event") == "call":
            calls[number] = line
        elif number in calls:
            kept = ("failed", "sha256", "size", "milliseconds")
            calls[number]["result"] = {key: line.get(key) for key in kept}
    latest = list(calls.values())[-count:]
    if as_json:
        print_json(console, latest)
        return
    header = (N_("TIME"), N_("TOOL"), N_("VERDICT"), N_("BY"), N_("RESULT"), N_("ARGUMENTS"))
    rows = [_log_row(each) for each in latest]
    print_rows(console, header, rows, empty=tr("no tool was called yet"))


@app.command()
def undo(
    ctx: typer.Context,
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask for confirmation"),
    dry_run: bool = DRY_RUN,
) -> None:
    """Restore the file that a tool changed last."""
    console: Console = ctx.obj
    changes = open_changes(console.paths)
    path = revealed(str(changes.history.last().path))
    if dry_run:
        console.out(path)
        return
    if not yes:
        shown = revealed(changes.preview_undo()).split("\n")
        confirm(console, shown, tr("Restore {path}?", path=path))
    changes.undo()
    console.say(tr("{path} is as it was before", path=path))


@app.command()
def new(
    ctx: typer.Context,
    name: str = typer.Argument(..., help="Name of the new tool"),
) -> None:
    """Write a tool of your own: a Python file with a function, opened in the editor."""
    console: Console = ctx.obj
    from tchat.tools.tool import NAME as ALLOWED
    from tchat.tools.user_tools import file_tool_names, load_file_tool

    if not ALLOWED.fullmatch(name):
        raise UsageError(
            tr("`{name}` is no name of a tool", name=name), tr("use letters, digits, _ and -")
        )
    folder = console.paths.tools
    path = folder / f"{name}.py"
    if name in file_tool_names(folder):
        raise UsageError(tr("there is a tool {name} already", name=name), tr("choose another name"))
    write_private(path, SKELETON.encode())
    if console.stdin_is_terminal:
        edit_file(path, console.environ)
    load_file_tool(folder, name)
    console.say(tr("the tool {name} is in {path}: tchat -T {name}", name=name, path=path))


def _settings(console: Console) -> Settings:
    loaded = load(console.paths, console.environ)
    for warning in loaded.warnings:
        console.say(tr("warning: {warning}", warning=warning))
    return loaded.settings


def _called(console: Console, name: str, arguments: Mapping[str, Any]) -> ToolResult:
    """What comes of a call, on a thread that Ctrl+C can stop."""
    from tchat.cli.approval_question import TerminalApproval, can_ask
    from tchat.sessions.store import SessionStore

    cancel = Cancel()
    ask = TerminalApproval(console, cancel) if can_ask(console) else None
    settings, servers = _settings(console), ChatServers(console.paths)
    with SessionStore(console.paths.sessions_db) as store, closing(servers):
        found = servers.find_tools(settings, [name])
        if found.problems:
            raise UsageError(found.problems[0])
        executor = open_executor(
            settings,
            console.paths,
            store,
            ask=ask,
            names=[name],
            typed=[name],
            more=found.tools,
            cancel=cancel,
        )
        return run_on_engine_thread(lambda: executor.run(name, arguments), cancel)


def _arguments(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise UsageError(
            tr("the arguments are no JSON object"),
            tr("for example {value}", value="""'{"expression": "17*23"}'"""),
        )
    return values


def _row(tool: ListedTool) -> tuple[str, ...]:
    state = tr("on") if tool.is_on else tr("off")
    described = tool.problem or tool.description
    return (tool.name, state, source_text(tool), effects_text(tool), described)


def _record(tool: ListedTool) -> dict[str, object]:
    return {
        "name": tool.name,
        "on": tool.is_on,
        "from": tool.source.value,
        "server": tool.server or None,
        "effects": [each.value for each in tool.effects],
        "description": tool.description,
        "problem": tool.problem or None,
    }


def _result_record(name: str, arguments: Mapping[str, Any], result: ToolResult) -> dict[str, Any]:
    decision = result.decision
    state = "refused" if result.is_refused else "failed" if result.failed else "done"
    return {
        "name": name,
        "arguments": dict(arguments),
        "state": state,
        "decided_by": decision.by.value if decision is not None else None,
        "result": result.content,
        "seconds": round(result.seconds, 3),
    }


def _log_row(call: Mapping[str, Any]) -> tuple[str, ...]:
    result, arguments = call.get("result"), call.get("arguments")
    came = ""
    if isinstance(result, dict):
        size = size_text(result["size"]) if isinstance(result.get("size"), int) else ""
        came = tr("failed") if result.get("failed") else f"{size} {result.get('milliseconds')} ms"
    return (
        str(call.get("time", "")),
        str(call.get("tool", "")),
        str(call.get("verdict", "")),
        str(call.get("by", "")),
        came.strip(),
        short_arguments(arguments) if isinstance(arguments, dict) else "…",
    )
