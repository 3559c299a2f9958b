"""``tchat models default``, ``add``, ``alias`` and ``set``: what you chose for models."""

from __future__ import annotations

from pathlib import Path

import typer

from tchat.cli.app import command_group
from tchat.cli.console import Console
from tchat.cli.models.local import JSON, report_default_change
from tchat.cli.output.columns import print_json, print_rows
from tchat.errors import UsageError
from tchat.models.models_file import MODEL_SETTINGS
from tchat.sanitize import single_line
from tchat.settings import find_key, renamed
from tchat.settings.keys import did_you_mean
from tchat.settings.load import set_value

MODEL = typer.Argument(..., metavar="MODEL", help="Model name or path, as for -m")
ALIAS = typer.Argument(..., metavar="NAME", help="Alias")

alias = command_group("Manage aliases of models: ls, set, rm.")


def default(ctx: typer.Context, model: str = MODEL) -> None:
    """Set the default model."""
    from tchat.models.resolve import resolve

    console: Console = ctx.obj
    path = resolve(model, console.paths, console.environ)
    key = find_key("model")
    # A relative path would mean something else in another folder.
    set_value(
        console.paths.config_file, key, str(path.absolute()) if path == Path(model) else model
    )
    console.say(f"the default model is now {single_line(model)}")
    if key.variable in console.environ:
        console.say(f"warning: the environment variable {key.variable} overrides it")


def add(
    ctx: typer.Context,
    places: list[Path] = typer.Argument(..., metavar="PATH...", help="GGUF files or folders"),
    forget: bool = typer.Option(False, "--forget", help="Remove them from the list"),
) -> None:
    """Add GGUF files or folders to the list; the files are not moved."""
    from tchat.models import models_file

    console: Console = ctx.obj
    change = models_file.forget if forget else models_file.register
    with report_default_change(console):
        change(console.paths, places)


def register(
    ctx: typer.Context,
    places: list[Path] = typer.Argument(..., metavar="PATH...", help="GGUF files or folders"),
    forget: bool = typer.Option(False, "--forget", help="Remove them from the list"),
) -> None:
    """The former name of `tchat models add`."""
    console: Console = ctx.obj
    console.notice("`models register` is now called `models add`; the old name still works")
    add(ctx, places, forget)


@alias.command("ls")
def alias_ls(ctx: typer.Context, as_json: bool = JSON) -> None:
    """List the aliases."""
    from tchat.models.models_file import aliases

    console: Console = ctx.obj
    known = aliases(console.paths)
    if as_json:
        print_json(console, known)
        return
    print_rows(console, ("NAME", "MODEL"), sorted(known.items()))


@alias.command("set")
def alias_set(ctx: typer.Context, name: str = ALIAS, model: str = MODEL) -> None:
    """Set an alias of a model."""
    from tchat.models.models_file import set_alias
    from tchat.models.name_lookup import require_alias
    from tchat.models.resolve import resolve

    console: Console = ctx.obj
    require_alias(name)
    path = resolve(model, console.paths, console.environ)
    set_alias(console.paths, name, str(path.absolute()) if path == Path(model) else model)


@alias.command("rm")
def alias_rm(ctx: typer.Context, name: str = ALIAS) -> None:
    """Remove an alias; the model is kept."""
    from tchat.models.models_file import aliases, set_alias

    console: Console = ctx.obj
    known = aliases(console.paths)
    if name not in known:
        raise UsageError(f"there is no alias `{name}`", did_you_mean(name, known))
    with report_default_change(console):
        set_alias(console.paths, name, None)


def _complete(incomplete: str) -> list[str]:
    return [name for name in MODEL_SETTINGS if name.startswith(incomplete)]


def set_(
    ctx: typer.Context,
    model: str = MODEL,
    name: str = typer.Argument(
        ..., help="Setting name, such as cache_type", autocompletion=_complete
    ),
    value: str = typer.Argument("", help="Value; without one, removes the setting"),
) -> None:
    """Save a setting of one model in models.toml; comments are kept."""
    from tchat.models.models_file import model_setting, set_model_setting
    from tchat.models.resolve import resolve

    console: Console = ctx.obj
    key = model_setting(name)
    if notice := renamed(name):
        console.notice(notice)
    path = resolve(model, console.paths, console.environ)
    set_model_setting(console.paths, model, path, key, value or None)
    if key.variable in console.environ:
        console.say(f"warning: the environment variable {key.variable} overrides it")
