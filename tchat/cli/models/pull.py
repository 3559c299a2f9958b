"""``tchat models pull``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.console import Console
from tchat.cli.models.library import JSON
from tchat.cli.output.columns import print_json
from tchat.humanize import size_text
from tchat.sanitize import single_line

if TYPE_CHECKING:
    from tchat.models.hub.pull import Pulled


def pull(
    ctx: typer.Context,
    name: str = typer.Argument(
        ..., help="user/repo, user/repo:QUANT, the URL of a file on the hub, or a catalogue name"
    ),
    yes: bool = typer.Option(
        False, "-y", "--yes", help="Download without asking, even if it does not fit"
    ),
    as_json: bool = JSON,
) -> None:
    """Download a model from the hub; resumes an interrupted download.

    Default quantization: the largest that fits this machine. Asks before downloading one that does
    not fit, unless --yes.
    """
    from tchat.chat.throughput import measured_machine
    from tchat.cli.models.pull_output import PullOutput
    from tchat.models.hub.api import HubApi
    from tchat.models.hub.cache import HubCache, cache_folder
    from tchat.models.hub.pull import pull as begin
    from tchat.models.metadata import MetadataCache
    from tchat.models.name_lookup import resolve_remote

    console: Console = ctx.obj
    named = resolve_remote(name, console.paths, console.environ)
    cache = HubCache(cache_folder(console.environ))
    hub = HubApi(console.environ)
    output = PullOutput(name, console, yes=yes)
    with MetadataCache(console.paths) as store:
        events = begin(
            named, hub, cache, hashes=store, machine=lambda: measured_machine(console.paths)
        )
        pulled = output.follow(events)
    if as_json:
        print_json(console, {**_record(pulled), **output.judgement})
        return
    if console.stderr_is_terminal:
        console.say(_summary(pulled))
    console.out(single_line(str(pulled.paths[0]), 4096))


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
