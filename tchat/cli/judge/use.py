"""``tchat judge use``: what a game came to becomes the model's default, or is so no more."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tchat.cli.console import Console
from tchat.cli.judge.common import MODEL, settings_for_model
from tchat.errors import UsageError
from tchat.sanitize import single_line

if TYPE_CHECKING:
    from tchat.judge.discriminator import JudgeFolder

SETTING = "control_vector"


def use(
    ctx: typer.Context,
    name: str = typer.Argument("", metavar="[NAME]", help="Name of a game, see `tchat judge show`"),
    off: bool = typer.Option(False, "--off", help="Stop steering the model"),
    scale: float = typer.Option(
        1.0, "--scale", min=-10, max=10, help="Scale of the control vector"
    ),
    model: str = MODEL,
) -> None:
    """Steer a model by the control vector of a game; --off stops it.

    Saved as a setting of the model in models.toml. Without a name, shows what is in force.
    """
    from tchat.judge.discriminator import judge_folder
    from tchat.models.metadata import read_metadata
    from tchat.models.model_settings import model_setting, set_model_setting, settings_for
    from tchat.models.resolve import resolve_chosen

    console: Console = ctx.obj
    if off and name:
        raise UsageError("a NAME and --off exclude each other", "leave one out")
    if scale != 1.0 and not (name and math.isfinite(scale)):
        raise UsageError("--scale is a number, on the vector of a game", "name the game before it")
    settings = settings_for_model(console, model)
    path = resolve_chosen(settings, console.paths, console.environ)
    key = model_setting(SETTING)
    if off:
        set_model_setting(console.paths, settings.model, path, key, None)
    elif name:
        vector = _vector(judge_folder(read_metadata(path), console.paths), name)
        entry = str(vector) if scale == 1.0 else f"{vector}:{scale:g}"
        set_model_setting(console.paths, settings.model, path, key, entry)
    if name and key.variable in console.environ:
        console.say(f"warning: the environment variable {key.variable} still wins over it")
    steered = settings_for(settings, console.paths, path).control_vector
    told = ", ".join(map(single_line, steered)) or "nothing; games: tchat judge show"
    console.out(f"{single_line(path.name)} is steered by {told}")


def _vector(folder: JudgeFolder, name: str) -> Path:
    """The control vector of a game.

    Raises:
        UsageError: There is none.
    """
    vector = folder.vector(name)
    if not vector.is_file():
        have = [single_line(each) for each in folder.games() if folder.vector(each).is_file()]
        raise UsageError(
            f"there is no control vector of a game called {single_line(name)}",
            f"these are: {', '.join(have)}" if have else "play one: tchat judge duel --data FILE",
        )
    return vector
