"""``tchat models update``: newer revisions of downloaded models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.app import JSON
from tchat.cli.console import Console, confirm
from tchat.cli.models.hub import PullOutput
from tchat.cli.models.local import YES, open_library
from tchat.cli.output.columns import print_json, print_rows
from tchat.errors import UsageError
from tchat.humanize import size_text
from tchat.sanitize import single_line
from tchat.translation import N_, tr, trn

if TYPE_CHECKING:
    from tchat.models.hub.api import HubApi
    from tchat.models.hub.cache import HubCache
    from tchat.models.hub.update import ModelRevision
    from tchat.models.library import Library

HEADER = (N_("NAME"), N_("HERE"), N_("ON THE HUB"), N_("TO DOWNLOAD"), N_("STATE"))


def update(
    ctx: typer.Context,
    *,
    models: list[str] = typer.Argument(
        None, metavar="[MODEL]...", help="Downloaded models, as for -m"
    ),
    everything: bool = typer.Option(False, "--all", help="All downloaded models"),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show what is newer; download nothing"),
    yes: bool = YES,
    as_json: bool = JSON,
) -> None:
    """Download newer revisions of models from the hub.

    The old file stays until the new one is here and verified.
    """
    from tchat.egress.egress_log import open_egress_log
    from tchat.models.hub.api import HubApi
    from tchat.models.hub.cache import HubCache, cache_folder
    from tchat.models.hub.update import find_revisions

    console: Console = ctx.obj
    if bool(models) == everything:
        raise UsageError(tr("name models, or use --all"), tr("`tchat models ls` lists them"))
    egress = open_egress_log(console.paths)
    hub, cache = HubApi(egress, console.environ), HubCache(cache_folder(console.environ))
    with open_library(console) as library:
        paths = _paths(library, models)
        revisions = list(find_revisions(paths, hub, cache))
        if not as_json:
            _show(console, revisions)
        newer = [each for each in revisions if each.is_newer]
        if newer and not dry_run:
            if not yes:
                question = trn(
                    "Download {count:,} model, {size}?",
                    "Download {count:,} models, {size}?",
                    len(newer),
                    size=size_text(sum(each.missing for each in newer)) or "0 B",
                )
                confirm(console, [], question)
            for each in newer:
                _pull(each, hub, cache, console)
                if kept := library.remove_replaced(each):
                    console.say(single_line(kept, 1000))
    if problem := egress.take_problem():
        console.notice(problem)
    if as_json:
        print_json(console, [_record(each, updated=not dry_run) for each in revisions])
    problems = [each.problem for each in revisions if each.problem is not None]
    if problems:
        raise problems[0]


def _paths(library: Library, models: Sequence[str]) -> list[Path]:
    """The first files of the models named, or of all from the hub.

    Raises:
        UsageError: One is not from the hub.
    """
    from tchat.models.sources.source import HUB

    rows = [row for row in library.models() if row.owner == HUB]
    if not models:
        return [row.path for row in rows]
    found = [library.find(name) for name in dict.fromkeys(models)]
    for row in found:
        if row.owner != HUB:
            raise UsageError(
                tr("{name} was not downloaded from the hub", name=single_line(row.name)),
                tr("`tchat models ls` lists what was"),
            )
    return [row.path for row in found]


def _show(console: Console, revisions: Sequence[ModelRevision]) -> None:
    rows = [
        (
            each.name,
            size_text(each.here.size),
            size_text(each.there.size) if each.there else "",
            size_text(each.missing) if each.is_newer else "",
            _state(each),
        )
        for each in revisions
    ]
    print_rows(console, HEADER, rows, empty=tr("there is no downloaded model"))


def _state(each: ModelRevision) -> str:
    if each.problem is not None:
        return single_line(each.problem.message)
    if each.there is None:
        return tr("no longer on the hub; it stays here")
    return tr("newer") if each.is_newer else tr("up to date")


def _pull(each: ModelRevision, hub: HubApi, cache: HubCache, console: Console) -> None:
    from tchat.models.hub.pull import pull
    from tchat.models.metadata import MetadataCache

    output = PullOutput(each.name, console, yes=True)
    with MetadataCache(console.paths) as metadata_cache:
        pulled = output.follow(pull(each.hub_name, hub, cache, hashes=metadata_cache))
    name, size = single_line(each.name), size_text(pulled.model.size)
    console.say(tr("{name} is up to date, {size}", name=name, size=size))


def _record(each: ModelRevision, *, updated: bool) -> dict[str, Any]:
    return {
        "name": each.name,
        "commit": each.here.first.commit,
        "size": each.here.size,
        "new_commit": each.there.first.commit if each.there else None,
        "new_size": each.there.size if each.there else None,
        "missing": each.missing if each.is_newer else 0,
        "newer": each.is_newer,
        "updated": each.is_newer and updated,
        "error": each.problem.message if each.problem else None,
    }
