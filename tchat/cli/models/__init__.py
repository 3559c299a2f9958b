"""``tchat models``."""

from __future__ import annotations

from tchat.cli.app import command_group
from tchat.cli.models.catalogue import catalogue
from tchat.cli.models.hub import pull, search
from tchat.cli.models.local import add, alias, default, du, dupes, ls, register, set_
from tchat.cli.models.remove import rm
from tchat.cli.models.show import check, show
from tchat.cli.models.update import update

app = command_group("Find, download, check and remove model files.")
for command in (ls, catalogue, search, show, pull, update, check, rm, dupes, du, default, add):
    app.command()(command)
app.command(hidden=True)(register)
app.command("set", context_settings={"ignore_unknown_options": True})(set_)
app.add_typer(alias, name="alias")
