"""``tchat models default`` and ``register``."""

from __future__ import annotations

from pathlib import Path

import typer

from tchat.cli.console import Console
from tchat.settings import find_key
from tchat.settings.write import set_value


def default(
    ctx: typer.Context,
    name: str = typer.Argument(..., help="A model, as `-m` takes it"),
) -> None:
    """Make a model the one that is used without -m."""
    from tchat.models.resolve import resolve

    console: Console = ctx.obj
    resolve(name)
    key = find_key("model")
    set_value(console.paths.config_file, key, name)
    if key.variable in console.environ:
        console.say(f"warning: the environment variable {key.variable} still wins over it")


def register(
    ctx: typer.Context,
    files: list[Path] = typer.Argument(..., metavar="PATH...", help="GGUF files; they stay there"),
) -> None:
    """Keep GGUF files in the list, where they lie."""
    from tchat.models.models_file import register as keep

    console: Console = ctx.obj
    keep(console.paths, files)
