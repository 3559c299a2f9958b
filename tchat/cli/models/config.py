"""``tchat models set``: how one model is loaded."""

from __future__ import annotations

import typer

from tchat.cli.console import Console
from tchat.models.model_settings import MODEL_SETTINGS
from tchat.settings import renamed

MODEL = typer.Argument(..., metavar="MODEL", help="A model, as `-m` takes it")


def _complete(incomplete: str) -> list[str]:
    return [name for name in MODEL_SETTINGS if name.startswith(incomplete)]


def set_(
    ctx: typer.Context,
    model: str = MODEL,
    name: str = typer.Argument(
        ..., help="A setting of a model, such as cache_type", autocompletion=_complete
    ),
    value: str = typer.Argument("", help="The value; without one, all models' value holds again"),
) -> None:
    """Write a setting of one model into models.toml; comments stay."""
    from tchat.models.model_settings import model_setting, set_model_setting
    from tchat.models.resolve import resolve

    console: Console = ctx.obj
    key = model_setting(name)
    if notice := renamed(name):
        console.notice(notice)
    path = resolve(model, console.paths, console.environ)
    set_model_setting(console.paths, model, path, key, value or None)
    if key.variable in console.environ:
        console.say(f"warning: the environment variable {key.variable} still wins over it")
