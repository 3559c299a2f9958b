"""``tchat models rm``, ``dupes`` and ``du``: disk space of model files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.console import Console, confirm
from tchat.cli.models.library import JSON, YES, open_library, report_default_change
from tchat.cli.output.columns import print_json, print_rows
from tchat.cli.output.status import TerminalStatus
from tchat.humanize import size_text
from tchat.sanitize import single_line

if TYPE_CHECKING:
    from tchat.models.disk import DuplicateSet, RemovalPlan
    from tchat.models.library import Library

NOTHING = "nothing"


def rm(
    ctx: typer.Context,
    models: list[str] = typer.Argument(
        ..., metavar="MODEL...", help="Model names or paths, as for -m"
    ),
    yes: bool = YES,
    as_json: bool = JSON,
) -> None:
    """Delete downloaded models; remove added files from the list."""
    console: Console = ctx.obj
    with open_library(console) as library:
        plans = [library.plan_removal(name) for name in dict.fromkeys(models)]
        if not yes:
            lines = [line for plan in plans for line in _planned(plan)]
            confirm(console, lines, f"Remove, and free {_total(plans)}?")
        with report_default_change(console):
            for plan in plans:
                library.remove(plan)
            if as_json:
                print_json(console, [_removal(plan) for plan in plans])
            else:
                console.say(f"removed {len(plans)}, freed {_total(plans)}")


def dupes(
    ctx: typer.Context,
    link: bool = typer.Option(False, "--link", help="Replace copies by hard links"),
    yes: bool = YES,
    as_json: bool = JSON,
) -> None:
    """Find duplicate model files, and what hard links would save."""
    from tchat.models.disk import replace_with_links as put_links

    console: Console = ctx.obj
    with open_library(console) as library:
        found = _find_duplicates(library, console)
    if as_json:
        print_json(console, [_copies(copies) for copies in found])
    else:
        print_rows(console, ("SIZE", "OWNER", "NAME", "FILE"), list(_listed(found)))
    linkable = [copies for copies in found if copies.saved]
    if not link:
        if linkable:
            console.say(f"`tchat models dupes --link` would free {_saved(linkable)}")
        return
    if not linkable:
        console.say("there are no duplicates that hard links could replace")
        return
    if not yes:
        confirm(console, [], f"Replace copies by hard links, and free {_saved(linkable)}?")
    for copies in linkable:
        put_links(copies)
    console.say(f"freed {_saved(linkable)}")


def du(ctx: typer.Context, as_json: bool = JSON) -> None:
    """Show disk usage of model files, by owner."""
    console: Console = ctx.obj
    with open_library(console) as library:
        parts = library.usage()
    if as_json:
        fields = ("owner", "models", "size", "unfinished")
        print_json(console, [{name: getattr(part, name) for name in fields} for part in parts])
        return
    rows: list[tuple[str, ...]] = [
        (part.owner, f"{part.models:,}", size_text(part.size), size_text(part.unfinished))
        for part in parts
    ]
    total = sum(part.size for part in parts), sum(part.unfinished for part in parts)
    rows.append(("all", f"{sum(part.models for part in parts):,}", *map(size_text, total)))
    print_rows(console, ("OWNER", "MODELS", "SIZE", "UNFINISHED"), rows)


def _planned(plan: RemovalPlan) -> Iterator[str]:
    name = single_line(plan.name)
    if plan.registered is not None:
        place = single_line(str(plan.registered))
        yield f"{name}: taken out of the list; the file stays at {place}"
        return
    yield f"{name}: frees {size_text(plan.freed) or NOTHING}"
    for blob in plan.shared:
        yield f"  {single_line(blob.name)} stays: other names lead to it"


def _total(plans: Iterable[RemovalPlan]) -> str:
    return size_text(sum(plan.freed for plan in plans)) or NOTHING


def _saved(found: Iterable[DuplicateSet]) -> str:
    return size_text(sum(copies.saved for copies in found)) or NOTHING


def _find_duplicates(library: Library, console: Console) -> list[DuplicateSet]:
    line = TerminalStatus(console)
    events = library.duplicates()
    try:
        while True:
            event = next(events)
            if line.due:
                line.show(f"reading {size_text(event.done)} of {size_text(event.total)}")
    except StopIteration as ended:
        found: list[DuplicateSet] = ended.value
        return found
    finally:
        line.erase()


def _listed(found: Sequence[DuplicateSet]) -> Iterator[Sequence[str]]:
    for copies in found:
        for copy in copies.files:
            yield size_text(copies.size), copy.owner, copy.name, str(copy.path)


def _removal(plan: RemovalPlan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "freed": plan.freed,
        "removed": [str(path) for path in (*plan.blobs, *plan.links)],
        "shared": [str(path) for path in plan.shared],
        "unregistered": str(plan.registered) if plan.registered else None,
    }


def _copies(copies: DuplicateSet) -> dict[str, Any]:
    return {
        "sha256": copies.sha256,
        "size": copies.size,
        "wasted": copies.wasted,
        "saved_by_links": copies.saved,
        "files": [
            {"name": copy.name, "owner": copy.owner, "path": str(copy.path)}
            for copy in copies.files
        ],
    }
