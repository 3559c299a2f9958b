"""``tchat models set``: how one model is loaded."""

from __future__ import annotations

import typer

from tchat.cli.console import Console
from tchat.models.model_settings import MODEL_SETTINGS
from tchat.settings import renamed

MODEL = typer.Argument(..., metavar="MODEL", help="Model name or path, as for -m")


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
