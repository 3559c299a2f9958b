"""``tchat models check``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from tchat.cli.console import Console
from tchat.cli.models.library import JSON, open_library
from tchat.cli.output.columns import print_json, print_rows
from tchat.cli.output.status import TerminalStatus
from tchat.humanize import size_text

if TYPE_CHECKING:
    from tchat.models.verify import VerifyProgress, VerifyResult


def check(
    ctx: typer.Context,
    model: str = typer.Argument(..., metavar="MODEL", help="Model name or path, as for -m"),
    quick: bool = typer.Option(False, "--quick", help="Skip the hash of the whole file"),
    as_json: bool = JSON,
) -> int:
    """Check a model file: header, hash, loading, chat template.

    Exits with the code of the first problem, or 0.
    """
    from tchat.chat.model import probe_command

    console: Console = ctx.obj
    with open_library(console) as library:
        events = library.verify(model, probe_command, content=not quick)
        findings = list(_show_progress(events, console))
    if as_json:
        fields = ("topic", "state", "text")
        print_json(console, [{name: getattr(each, name) for name in fields} for each in findings])
    else:
        rows = [(each.topic, each.state, each.text) for each in findings]
        print_rows(console, ("WHAT", "STATE", "FOUND"), rows)
    return next((int(each.code) for each in findings if each.code), 0)


def _show_progress(events: Iterator[VerifyProgress], console: Console) -> Iterator[VerifyResult]:
    """Yield the findings; show progress on a terminal."""
    from tchat.models.files import HashProgress
    from tchat.models.verify import VerifyResult

    line = TerminalStatus(console)
    try:
        for event in events:
            if isinstance(event, VerifyResult):
                yield event
            elif isinstance(event, HashProgress):
                if line.due:
                    line.show(f"reading {size_text(event.done)} of {size_text(event.total)}")
            else:
                line.show("loading it in a process of its own")
    finally:
        line.erase()
