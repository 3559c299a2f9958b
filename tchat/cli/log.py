"""``tchat log``: what llama.cpp, MCP servers and failures of tchat left behind."""

from __future__ import annotations

from collections import deque

import typer

from tchat.cli.app import single_command
from tchat.cli.console import Console
from tchat.paths import path_text
from tchat.sanitize import printable
from tchat.translation import tr

app = single_command()


@app.command()
def log(
    ctx: typer.Context,
    lines: int = typer.Option(0, "--lines", "-l", min=0, help="Show the last N lines; 0 is all"),
) -> None:
    """Show the log of llama.cpp, of MCP servers and of unexpected errors.

    In an encrypted store it is encrypted, too.
    """
    console: Console = ctx.obj
    stored = console.paths.log
    try:
        damage, found = stored.damage(), "".join(stored.pieces()).splitlines()
    except FileNotFoundError:
        console.say(tr("there is no log yet: {path}", path=path_text(stored.path)))
        return
    if damage:
        console.say(damage)
    for line in deque(found, maxlen=lines or None):
        console.out(printable(line))
