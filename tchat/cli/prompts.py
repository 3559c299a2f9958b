"""``tchat prompts``: ls, show, new, edit, rm."""

from __future__ import annotations

from pathlib import Path

import typer

from tchat.chat.editor import edit_file
from tchat.chat.templates import (
    PromptTemplate,
    find_template,
    list_templates,
    parse_template,
    read_template,
    template_path,
)
from tchat.cli.app import DRY_RUN, JSON, command_group
from tchat.cli.console import Console, read_text
from tchat.cli.output.columns import fields, print_json, print_rows
from tchat.errors import UsageError
from tchat.paths import user_paths
from tchat.private_files import write_private
from tchat.sanitize import printable
from tchat.settings.load import read_text as read_toml
from tchat.translation import N_, tr

app = command_group("Manage named prompt templates, for `tchat -t NAME`.")

SKELETON = '''\
description = ""
# system = "You are …"
# model = "starter"
prompt = """
{input}

What to do with the text above. {{name}} in single braces is a variable: `-p name VALUE`.
"""

# [defaults]
# name = "what `name` is when -p gives no value"

# [sampling]
# temp = 0.2
'''


def complete_name(incomplete: str) -> list[str]:
    """Names of templates that begin with ``incomplete``, for the shell."""
    names = [template.name for template in list_templates(user_paths())[0]]
    return [name for name in names if name.startswith(incomplete)]


NAME = typer.Argument(..., help="Template name", autocompletion=complete_name)


@app.command()
def ls(ctx: typer.Context, as_json: bool = JSON) -> None:
    """List the built-in templates and yours."""
    console: Console = ctx.obj
    templates, broken = list_templates(console.paths)
    for line in broken:
        console.say(tr("warning: {line}", line=line))
    if as_json:
        print_json(console, [_record(template) for template in templates])
        return
    rows = [
        (
            template.name,
            "tchat" if template.is_builtin else tr("yours"),
            ", ".join(template.variables),
            template.shown_description,
        )
        for template in templates
    ]
    print_rows(console, (N_("NAME"), N_("FROM"), N_("VARIABLES"), N_("DESCRIPTION")), rows)


@app.command()
def show(ctx: typer.Context, name: str = NAME, as_json: bool = JSON) -> None:
    """Print the file of a template."""
    console: Console = ctx.obj
    template = find_template(name, console.paths)
    if as_json:
        print_json(console, _record(template))
        return
    console.out(printable(read_toml(template.path)).rstrip("\n"))


@app.command()
def new(
    ctx: typer.Context,
    name: str = typer.Argument(..., help="Name of the new template"),
    source: str = typer.Option("", "--from", help="Start from a copy of this template"),
) -> None:
    """Create a template from standard input, or in the editor."""
    console: Console = ctx.obj
    path = template_path(name, console.paths)
    if path.exists():
        raise UsageError(
            tr("there is already a prompt `{name}`", name=name),
            tr("`tchat prompts edit {name}`", name=name),
        )
    if not console.stdin_is_terminal and not source:
        text = read_text(console)
        parse_template(text, path)
        write_private(path, text.encode())
        console.say(tr("saved the prompt {name}: tchat -t {name}", name=name))
        return
    begin = read_toml(find_template(source, console.paths).path) if source else SKELETON
    _edit_new(console, path, begin)


@app.command()
def edit(ctx: typer.Context, name: str = NAME) -> None:
    """Edit a template in $VISUAL or $EDITOR; editing a built-in one copies it first."""
    console: Console = ctx.obj
    path = template_path(name, console.paths)
    if path.exists():
        edit_file(path, console.environ)
        read_template(path)
    else:
        _edit_new(console, path, read_toml(find_template(name, console.paths).path))


@app.command()
def rm(ctx: typer.Context, name: str = NAME, dry_run: bool = DRY_RUN) -> None:
    """Delete one of your templates."""
    console: Console = ctx.obj
    path = template_path(name, console.paths)
    if not path.exists():
        template = find_template(name, console.paths)
        raise UsageError(
            tr("`{name}` is built in and cannot be deleted", name=template.name),
            tr("`tchat prompts edit {name}` makes your own version of it", name=template.name),
        )
    if dry_run:
        console.out(printable(str(path)))
        return
    path.unlink()


def _edit_new(console: Console, path: Path, begin: str) -> None:
    """Write ``begin`` to ``path`` and open it; nothing stays when the editor cannot be used."""
    write_private(path, begin.encode())
    try:
        edit_file(path, console.environ)
    except UsageError:
        if read_toml(path) == begin:
            path.unlink()
        raise
    read_template(path)


def _record(template: PromptTemplate) -> dict[str, object]:
    return {
        "name": template.name,
        "builtin": template.is_builtin,
        "path": str(template.path),
        **fields(template, "description", "system", "prompt", "model"),
        "variables": list(template.variables),
        "defaults": dict(template.defaults),
        "sampling": dict(template.sampling),
    }
