"""``tchat models``: one file a command, or a small family of them."""

from __future__ import annotations

from tchat.cli.group import group
from tchat.cli.models.listing import ls
from tchat.cli.models.naming import alias, default, register
from tchat.cli.models.pull import pull
from tchat.cli.models.search import search

app = group("Find, get, judge, keep and remove model files.")
for command in (ls, pull, search, default, register):
    app.command()(command)
app.add_typer(alias, name="alias")
