"""``tchat models pull``."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.console import Console
from tchat.cli.listing import print_json
from tchat.cli.models.desk import JSON
from tchat.cli.status import StatusLine
from tchat.errors import Interrupted, ModelNotFound
from tchat.models.words import size_text
from tchat.sanitize import single_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tchat.models.pull_events import Pulled, PullEvent


def pull(
    ctx: typer.Context,
    name: str = typer.Argument(..., help="user/repo, user/repo:QUANT, or a file's URL on the hub"),
    as_json: bool = JSON,
) -> None:
    """Download a model from the hub; an interrupted download goes on where it was."""
    from tchat.models.hub import Hub
    from tchat.models.hub_cache import HubCache, cache_folder
    from tchat.models.hub_name import parse_hub_name
    from tchat.models.pull import pull as begin

    console: Console = ctx.obj
    hub = Hub(console.environ)
    named = parse_hub_name(name, hub.endpoint)
    if named is None:
        raise ModelNotFound(
            f"{single_line(name, 80)!r} is no name on the hub",
            "name a model as user/repo or user/repo:QUANT; `tchat models search WORDS` finds some",
        )
    events = begin(named, hub, HubCache(cache_folder(console.environ)))
    pulled = _follow(events, name, console)
    if as_json:
        print_json(console, _record(pulled))
        return
    if console.stderr_is_terminal:
        console.say(_summary(pulled))
    console.out(single_line(str(pulled.paths[0]), 4096))


def _follow(events: Iterator[PullEvent], name: str, console: Console) -> Pulled:
    """Show ``events`` on a terminal and return the last one.

    Raises:
        Interrupted: Ctrl-C was pressed; what came is kept.
    """
    from tchat.cli.models.pull_status import in_words
    from tchat.models.pull_events import Pulled, Pulling, Unasked

    line, done = StatusLine(console), 0
    try:
        for event in events:
            if isinstance(event, Pulled):
                return event
            if isinstance(event, Pulling):
                done = event.done
            if isinstance(event, Unasked) and console.stderr_is_terminal:
                console.say(f"{event.reason}; what is here is complete")
            elif line.due:
                line.show(in_words(event))
    except KeyboardInterrupt:
        line.erase()
        kept = f"{size_text(done)} are kept; " if done else ""
        console.say(f"stopped; {kept}`tchat models pull {single_line(name)}` goes on from there")
        raise Interrupted(signal.SIGINT) from None
    finally:
        line.erase()
    raise AssertionError("a pull ends with Pulled or raises")


def _summary(pulled: Pulled) -> str:
    what = f"{single_line(pulled.model.name)} ({size_text(pulled.model.size)})"
    if not pulled.fetched:
        return f"{what} is here"
    rate = size_text(round(pulled.fetched / max(pulled.seconds, 0.001)))
    return f"{what} came in {pulled.seconds:.0f} s, {rate}/s, and its SHA-256 is right"


def _record(pulled: Pulled) -> dict[str, Any]:
    model = pulled.model
    return {
        "name": model.name,
        "repo": model.first.repo,
        "commit": model.first.commit,
        "quantization": model.quantization or None,
        "size": model.size,
        "path": str(pulled.paths[0]),
        "files": [
            {"name": file.name, "path": str(path), "size": file.size, "sha256": file.sha256 or None}
            for file, path in zip(model.files, pulled.paths, strict=True)
        ],
        "fetched": pulled.fetched,
        "seconds": round(pulled.seconds, 3),
    }
