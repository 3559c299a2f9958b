"""What the commands share: the library of this user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tchat.cli.console import Console

if TYPE_CHECKING:
    from tchat.models.library import Library

JSON = typer.Option(False, "--json", help="Print JSON")
YES = typer.Option(False, "-y", "--yes", help="Do not ask")


def open_library(console: Console) -> Library:
    """The user's model files."""
    from tchat.engine.llama import build_name
    from tchat.models.library import Library

    return Library(console.paths, console.environ, build=build_name())
