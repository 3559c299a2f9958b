"""``tchat models rm``: delete models by name, or those that were not used for long."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.app import DRY_RUN, JSON
from tchat.cli.console import Console, confirm
from tchat.cli.models.local import YES, default_path, open_library, report_default_change
from tchat.cli.output.columns import print_json
from tchat.errors import UsageError
from tchat.humanize import size_text, when
from tchat.sanitize import single_line
from tchat.translation import tr, trn

if TYPE_CHECKING:
    from tchat.models.disk import RemovalPlan
    from tchat.models.library import Library, LibraryModel

DAY = 86_400.0
DAYS = {"d": 1, "w": 7, "y": 365}
_AGE = re.compile(r"(\d{1,5})([dwy]?)")


def rm(
    ctx: typer.Context,
    *,
    models: list[str] = typer.Argument(
        None, metavar="[MODEL]...", help="Model names or paths, as for -m"
    ),
    unused: str = typer.Option(
        "",
        "--unused",
        metavar="AGE",
        help="Downloaded models not used for so long, like 90d, 12w or 1y; not the default model",
    ),
    dry_run: bool = DRY_RUN,
    yes: bool = YES,
    as_json: bool = JSON,
) -> None:
    """Delete downloaded models; remove added files from the list."""
    console: Console = ctx.obj
    if bool(models) == bool(unused):
        raise UsageError(
            tr("name models, or use --unused"), tr("for example {call}", call="--unused 90d")
        )
    with open_library(console) as library:
        if unused:
            found = _unused_models(library, parse_age(unused), console)
            plans = [library.plan_removal(str(row.path)) for row in found]
            notes = [_last_use(row) for row in found]
        else:
            plans = [library.plan_removal(name) for name in dict.fromkeys(models)]
            notes = [""] * len(plans)
        if not plans:
            console.say(tr("no model was unused for so long"))
            if as_json:
                print_json(console, [])
            return
        lines = [
            line for plan, note in zip(plans, notes, strict=True) for line in _told(plan, note)
        ]
        if dry_run:
            _show_plans(console, plans, lines, as_json=as_json)
            return
        if not yes:
            confirm(console, lines, tr("Remove, and free {size}?", size=_total(plans)))
        with report_default_change(console):
            for plan in plans:
                library.remove(plan)
            if as_json:
                print_json(console, [_removal(plan) for plan in plans])
                return
            console.say(
                trn(
                    "removed {count:,} model, freed {size}",
                    "removed {count:,} models, freed {size}",
                    len(plans),
                    size=_total(plans),
                )
            )


def parse_age(text: str) -> float:
    """The seconds of an age such as ``90d``, ``12w`` or ``1y``; a number alone counts days.

    Raises:
        UsageError: It is none.
    """
    match = _AGE.fullmatch(text.strip().lower())
    if match is None:
        raise UsageError(
            tr("{text!r} is no age", text=single_line(text, 40)),
            tr("for example {call}", call="--unused 90d"),
        )
    return int(match[1]) * DAYS.get(match[2], 1) * DAY


def _unused_models(library: Library, age: float, console: Console) -> list[LibraryModel]:
    """The models from the hub that were neither used nor downloaded for so long."""
    from tchat.models.sources.source import HUB

    default, before = default_path(console), time.time() - age
    kept = default.resolve() if default is not None else None
    rows = (row for row in library.models() if row.owner == HUB)
    return [row for row in rows if _last_time(row) < before and row.path.resolve() != kept]


def _last_time(row: LibraryModel) -> float:
    """When it was used last, or downloaded."""
    if row.last_used is not None:
        return row.last_used
    try:
        return row.path.stat().st_mtime
    except OSError:  # a broken link
        return 0.0


def _last_use(row: LibraryModel) -> str:
    if row.last_used is None:
        return tr("never used")
    return tr("last used: {when}", when=when(row.last_used))


def _show_plans(
    console: Console, plans: list[RemovalPlan], lines: list[str], *, as_json: bool
) -> None:
    """Print what would be removed."""
    if as_json:
        print_json(console, [_removal(plan) for plan in plans])
        return
    for line in lines:
        console.out(line)
    console.say(tr("nothing was removed; it would free {size}", size=_total(plans)))


def _told(plan: RemovalPlan, note: str) -> Iterator[str]:
    name = single_line(plan.name)
    if plan.registered is not None:
        path = single_line(str(plan.registered))
        yield tr("{name}: taken out of the list; the file stays at {path}", name=name, path=path)
        return
    text = tr("{name}: frees {size}", name=name, size=size_text(plan.freed) or tr("nothing"))
    yield f"{text} ({note})" if note else text
    for blob in plan.shared:
        name = single_line(blob.name)
        yield "  " + tr("{name} stays: other names lead to it", name=name)


def _total(plans: Iterable[RemovalPlan]) -> str:
    return size_text(sum(plan.freed for plan in plans)) or tr("nothing")


def _removal(plan: RemovalPlan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "freed": plan.freed,
        "removed": [str(path) for path in (*plan.blobs, *plan.links)],
        "shared": [str(path) for path in plan.shared],
        "unregistered": str(plan.registered) if plan.registered else None,
    }
