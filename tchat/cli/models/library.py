"""Shared by the commands: the model library, and the default model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from tchat.cli.console import Console
from tchat.errors import TchatError
from tchat.sanitize import single_line
from tchat.settings import load

if TYPE_CHECKING:
    from pathlib import Path

    from tchat.models.library import Library

JSON = typer.Option(False, "--json", help="Print JSON")
YES = typer.Option(False, "-y", "--yes", help="Do not ask for confirmation")


def open_library(console: Console) -> Library:
    """Open the model library."""
    from tchat.engine.binding import build_name
    from tchat.models.library import Library

    return Library(console.paths, console.environ, build=build_name())


def default_path(console: Console) -> Path | None:
    """The file of the default model; None if there is none."""
    from tchat.models.resolve import resolve

    try:
        settings = load(console.paths, console.environ).settings
        return resolve(settings.model, console.paths, console.environ)
    except TchatError:
        return None


@contextmanager
def report_default_change(console: Console) -> Iterator[None]:
    """At the end of a block, report a change of the default model."""
    before = default_path(console)
    yield
    after = default_path(console)
    if before is None or after == before:
        return
    name = single_line(load(console.paths, console.environ).settings.model)
    if after is None:
        console.say(
            f"the default model {name} is gone; choose another: tchat models default starter"
        )
    else:
        console.say(f"the default model {name} is now {single_line(str(after))}")
