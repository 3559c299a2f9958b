"""``tchat tools``: ls, test, deny, log, undo, new."""

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
from tchat.cli.app import JSON, command_group
from tchat.cli.console import Console, confirm
from tchat.cli.output.columns import print_json, print_rows
from tchat.engine.binding import Cancel
from tchat.engine.engine_thread import run_on_engine_thread
from tchat.errors import ExitCode, TchatError, UsageError
from tchat.humanize import size_text
from tchat.paths import user_paths
from tchat.private_files import write_private
from tchat.sanitize import revealed, single_line
from tchat.settings import Settings, find_key, load
from tchat.settings.load import set_value
from tchat.step_text import short_arguments
from tchat.translation import N_, tr

if TYPE_CHECKING:
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
        console.out(revealed(result.content.removesuffix("\n")))
    if result.is_refused:
        console.say(result.content)
        if result.decision is not None and result.decision.by.value == "nobody":
            console.say(tr("a rule in tools.allow allows such calls, see `tchat help tools`"))
        return ExitCode.REFUSED
    if result.failed:
        console.say(result.content)
        return ExitCode.UNEXPECTED
    return ExitCode.OK


@app.command()
def deny(
    ctx: typer.Context,
    what: list[str] = typer.Argument(
        ..., help="Files and folders, or rules such as `run_command(rm *)`"
    ),
) -> None:
    """Keep all tools from files and folders, or refuse calls by a rule; adds to tools.deny.

    Programs that run_command starts outside the sandbox can still open the files.
    """
    console: Console = ctx.obj
    from tchat.chat.tool_setup import denying_rule, require_valid_rules

    key = find_key("tools.deny")
    before = load(console.paths, {}).settings.tools.deny
    rules = tuple(dict.fromkeys((*before, *(denying_rule(each) for each in what))))
    require_valid_rules(key.put(Settings(), rules), console.paths)
    set_value(console.paths.config_file, key, json.dumps(rules))
    for rule in rules[len(before) :]:
        console.say(tr("`{rule}` is denied now", rule=single_line(rule)))
    if key.variable in console.environ:
        console.say(
            tr("warning: the environment variable {variable} overrides it", variable=key.variable)
        )


@app.command()
def log(
    ctx: typer.Context,
    count: int = typer.Option(LATEST, "-n", metavar="N", min=1, help="List the latest N calls"),
    as_json: bool = JSON,
) -> None:
    """List the calls of tools: when, with what, who allowed or refused them, what came of it."""
    console: Console = ctx.obj
    calls: dict[str, dict[str, Any]] = {}
    logged = open_log(console.paths)
    for damage in logged.damage():
        console.say(damage)
    for line in logged.lines():
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
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Print the path of the file; restore nothing"
    ),
    forget: bool = typer.Option(
        False, "--forget", help="Give up the last change, so that the one before can be undone"
    ),
) -> None:
    """Restore the file that a tool changed last."""
    console: Console = ctx.obj
    if forget:
        _forget_change(console, yes=yes, dry_run=dry_run)
        return
    from tchat.tools.tool import ToolError

    try:
        changes = open_changes(console.paths)
    except UsageError as error:
        raise _with_way_on(console, error) from error
    path = revealed(str(changes.history.last().path))
    if dry_run:
        console.out(path)
        return
    try:
        if not yes:
            shown = revealed(changes.preview_undo()).split("\n")
            confirm(console, shown, tr("Restore {path}?", path=path))
        changes.undo()
    except ToolError as error:
        raise _with_way_on(console, error) from error
    console.say(tr("{path} is as it was before", path=path))


@app.command()
def new(
    ctx: typer.Context,
    name: str = typer.Argument(..., help="Name of the new tool"),
) -> None:
    """Write a tool of your own: a Python file with a function, opened in the editor."""
    console: Console = ctx.obj
    from tchat.tools.registry import BUILT_IN
    from tchat.tools.tool import NAME as ALLOWED
    from tchat.tools.user_tools import file_tool_names, load_file_tool

    if not ALLOWED.fullmatch(name):
        raise UsageError(
            tr("`{name}` is no name of a tool", name=name), tr("use letters, digits, _ and -")
        )
    folder = console.paths.tools
    path = folder / f"{name}.py"
    if name in BUILT_IN:
        raise UsageError(tr("there is a tool {name} already", name=name), tr("choose another name"))
    if name in file_tool_names(folder):
        there = next(each for each in (folder / f"{name}.toml", path) if each.exists())
        raise UsageError(
            tr("there is a tool {name} already", name=name),
            tr("edit or remove {path}, or choose another name", path=single_line(str(there))),
        )
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
    with (
        SessionStore(console.paths.sessions_db, console.paths.encryption) as store,
        closing(servers),
    ):
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


def _forget_change(console: Console, *, yes: bool, dry_run: bool) -> None:
    """Remove the last change from the history; the file stays as it is."""
    from tchat.tools.undo_history import UndoHistory

    history = UndoHistory(console.paths.tool_undo, console.paths.encryption)
    entry = history.last()
    path = revealed(str(entry.path))
    if dry_run:
        console.out(path)
        return
    if not yes:
        shown = [tr("What {path} held before is removed.", path=path)]
        confirm(console, shown, tr("Give up this change?"))
    history.discard(entry)
    console.say(tr("the change of {path} is given up; the file is as it was left", path=path))


def _with_way_on(console: Console, error: TchatError) -> UsageError:
    """``error`` of an undo, with how to go on where there is an older change."""
    from tchat.tools.undo_history import UndoHistory

    if not UndoHistory(console.paths.tool_undo, console.paths.encryption).entries():
        return UsageError(error.message, error.hint)
    way = tr("`tchat tools undo --forget` gives this change up")
    return UsageError(error.message, f"{error.hint}; {way}" if error.hint else way)


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
