"""``tchat models ls``, ``dupes``, ``du``, ``default``, ``add``, ``alias`` and ``set``.

The model files on this disk, and what you chose for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.app import JSON, command_group
from tchat.cli.console import Console, confirm
from tchat.cli.output.columns import fields, iso, print_json, print_rows
from tchat.cli.output.status import TerminalStatus, show_events
from tchat.errors import TchatError, UsageError
from tchat.humanize import count_text, size_text, when
from tchat.models.models_file import MODEL_SETTINGS
from tchat.sanitize import single_line
from tchat.settings import find_key, load, renamed, spell
from tchat.settings.keys import did_you_mean
from tchat.settings.load import set_value
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.models.disk import DuplicateSet
    from tchat.models.files import HashProgress
    from tchat.models.library import Library, LibraryModel
    from tchat.servers.listing import ServedRow

YES = typer.Option(False, "-y", "--yes", help="Do not ask for confirmation")


def open_library(console: Console) -> Library:
    """Open the model library."""
    from tchat.engine.binding import build_name
    from tchat.models.library import Library

    return Library(console.paths, console.environ, build=build_name())


def default_path(console: Console) -> Path | None:
    """The file of the default model; None if there is none."""
    from tchat.models.resolve import resolve

    try:
        settings = load(console.paths, console.environ).settings
        return resolve(settings.model, console.paths, console.environ)
    except TchatError:
        return None


@contextmanager
def report_default_change(console: Console) -> Iterator[None]:
    """At the end of a block, report a change of the default model."""
    before = default_path(console)
    yield
    after = default_path(console)
    if before is None or after == before:
        return
    name = single_line(load(console.paths, console.environ).settings.model)
    if after is None:
        console.say(
            tr(
                "the default model {name} is gone; choose another: tchat models default starter",
                name=name,
            )
        )
    else:
        console.say(
            tr("the default model {name} is now {after}", name=name, after=single_line(str(after)))
        )


HEADER = (
    *(N_("FAMILY"), N_("WEIGHTS"), N_("QUANT"), N_("CONTEXT"), N_("SIZE"), N_("LAST USED")),
    *(N_("DEFAULT"), N_("VERDICT")),
)


def ls(
    ctx: typer.Context,
    everything: bool = typer.Option(False, "-a", "--all", help="Include models of other programs"),
    as_json: bool = JSON,
) -> None:
    """List the models; --all includes those of Ollama, LM Studio, others, and servers.

    Marks the default model.
    """
    console: Console = ctx.obj
    with open_library(console) as library:
        rows = library.models(all=everything)
    default = _default_of(rows, console)
    workers = {row.path: _workers_of(row, console) for row in rows}
    served = _served(console) if everything else ()
    chosen = load(console.paths, console.environ).settings.model if served else ""
    if as_json:
        found = [
            {**record(row), "rpc": workers[row.path], "default": row is default} for row in rows
        ]
        found += [{**_served_record(row), "default": row.name == chosen} for row in served]
        print_json(console, found)
        return
    lead = (N_("NAME"), N_("OWNER")) if everything else (N_("NAME"),)
    cells = [
        _cells(row, workers[row.path], owner=everything, default=row is default) for row in rows
    ]
    cells += [_served_cells(row, default=row.name == chosen) for row in served]
    print_rows(console, (*lead, *HEADER), cells, whole=True)


def _served(console: Console) -> Sequence[ServedRow]:
    """The models of servers; says which cannot be asked."""
    from tchat.egress.egress_log import open_egress_log
    from tchat.servers.config import read_servers
    from tchat.servers.listing import list_models

    egress = open_egress_log(console.paths)
    listing = list_models([*read_servers(console.paths).values()], egress, console.environ)
    if problem := egress.take_problem():
        console.notice(problem)
    for error in listing.errors:
        console.say(tr("warning: {warning}", warning=error.message))
    return listing.rows


def _served_cells(row: ServedRow, *, default: bool) -> Sequence[str]:
    context = f"{row.context:,}" if row.context else ""
    marked = tr("default") if default else ""
    blank = ("",) * 3
    return (row.name, row.server.name, *blank, context, "", "", marked, tr("on a server"))


def _served_record(row: ServedRow) -> dict[str, Any]:
    """A row for a program, with the keys of `record`."""
    known = {"name": row.name, "path": None, "owner": row.server.name, "kind": "server"}
    unknown = ("family", "parameters", "quantization", "size", "last_used")
    return {
        **known,
        **dict.fromkeys(unknown),
        "context": row.context or None,
        "parts": [],
        "verdict": "on a server",
        "rpc": "",
        "url": row.server.url,
    }


def _default_of(rows: Sequence[LibraryModel], console: Console) -> LibraryModel | None:
    """The row of the default model; None where it is in none."""
    path = default_path(console)
    if path is None:
        return None
    at = next((row for row in rows if row.path == path), None)
    return at or next((row for row in rows if row.path.resolve() == path.resolve()), None)


def _workers_of(row: LibraryModel, console: Console) -> str:
    """The workers that a model is split over, with commas; empty for none."""
    from tchat.models.models_file import settings_for

    try:
        settings = load(console.paths, console.environ).settings
    except UsageError:
        return ""  # told where a setting is needed
    return settings_for(settings, console.paths, row.path).rpc


def _cells(row: LibraryModel, workers: str, *, owner: bool, default: bool) -> Sequence[str]:
    metadata = row.metadata
    verdict = row.verdict
    if workers:
        verdict = tr("{verdict}, over {workers}", verdict=verdict, workers=workers)
    return (
        row.name,
        *([tr(row.owner)] if owner else []),
        metadata.architecture if metadata else "",
        count_text(metadata.parameters) if metadata else "",
        metadata.quantization if metadata else "",
        f"{metadata.context_length:,}" if metadata and metadata.context_length else "",
        size_text(metadata.size) if metadata else "",
        when(row.last_used) if row.last_used else "",
        tr("default") if default else "",
        verdict,
    )


def record(row: LibraryModel) -> dict[str, Any]:
    """A row for a program."""
    metadata = row.metadata
    return {
        "name": row.name,
        "path": str(row.path),
        "owner": row.owner,
        "kind": metadata.kind if metadata else None,
        "family": metadata.architecture if metadata else None,
        "parameters": metadata.parameters if metadata else None,
        "quantization": metadata.quantization if metadata else None,
        "context": metadata.context_length if metadata else None,
        "size": metadata.size if metadata else None,
        "parts": [str(part) for part in metadata.parts] if metadata else [],
        "last_used": iso(row.last_used) if row.last_used else None,
        "verdict": row.verdict,
    }


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
        nothing = tr("there are no duplicate model files")
        header = (N_("SIZE"), N_("OWNER"), N_("NAME"), N_("FILE"))
        print_rows(console, header, list(_listed(found)), empty=nothing)
    linkable = [copies for copies in found if copies.saved]
    if not link:
        if linkable:
            console.say(
                tr("`tchat models dupes --link` would free {linkable}", linkable=_saved(linkable))
            )
        return
    if not linkable:
        console.say(tr("there are no duplicates that hard links could replace"))
        return
    if not yes:
        confirm(
            console, [], tr("Replace copies by hard links, and free {size}?", size=_saved(linkable))
        )
    for copies in linkable:
        put_links(copies)
    console.say(tr("freed {linkable}", linkable=_saved(linkable)))


def du(ctx: typer.Context, as_json: bool = JSON) -> None:
    """Show disk usage of model files, by owner."""
    console: Console = ctx.obj
    with open_library(console) as library:
        parts = library.usage()
    if as_json:
        print_json(
            console, [fields(each, "owner", "models", "size", "unfinished") for each in parts]
        )
        return
    rows: list[tuple[str, ...]] = [
        (tr(part.owner), f"{part.models:,}", size_text(part.size), size_text(part.unfinished))
        for part in parts
    ]
    total = sum(part.size for part in parts), sum(part.unfinished for part in parts)
    rows.append((tr("all"), f"{sum(part.models for part in parts):,}", *map(size_text, total)))
    print_rows(console, (N_("OWNER"), N_("MODELS"), N_("SIZE"), N_("UNFINISHED")), rows)


def _saved(found: Iterable[DuplicateSet]) -> str:
    return size_text(sum(copies.saved for copies in found)) or tr("nothing")


def _find_duplicates(library: Library, console: Console) -> list[DuplicateSet]:
    def show(event: HashProgress) -> None:
        if line.due:
            line.show(
                tr(
                    "reading {done} of {total}",
                    done=size_text(event.done),
                    total=size_text(event.total),
                )
            )

    with TerminalStatus(console) as line:
        return show_events(library.duplicates(), show)


def _listed(found: Sequence[DuplicateSet]) -> Iterator[Sequence[str]]:
    for copies in found:
        for copy in copies.files:
            yield size_text(copies.size), tr(copy.owner), copy.name, str(copy.path)


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


MODEL = typer.Argument(..., metavar="MODEL", help="Model name or path, as for -m")
ALIAS = typer.Argument(..., metavar="NAME", help="Alias")

alias = command_group("Manage aliases of models: ls, set, rm.")


def default(
    ctx: typer.Context,
    model: str = typer.Argument(
        "", metavar="[MODEL]", help="Model name or path, as for -m (default: show the default)"
    ),
) -> None:
    """Set the default model, or show it."""
    from tchat.models.resolve import resolve

    console: Console = ctx.obj
    if not model:
        settings = load(console.paths, console.environ).settings
        chosen = settings.model
        if settings.server:
            print_rows(console, (N_("NAME"), N_("SERVER")), [(chosen, settings.server)])
            return
        path = resolve(chosen, console.paths, console.environ)
        print_rows(console, (N_("NAME"), N_("FILE")), [(chosen, str(path))])
        return
    set_default(console, model)


def set_default(console: Console, model: str) -> None:
    """Make a model the default, and say so."""
    from tchat.models.resolve import resolve

    key, target = find_key("model"), model
    settings = load(console.paths, console.environ).settings
    if not replace(settings, model=model).server:
        path = resolve(model, console.paths, console.environ)
        # A relative path would mean something else in another folder.
        target = str(path.absolute()) if path == Path(model) else model
    set_value(console.paths.config_file, key, target)
    console.say(tr("the default model is now {model}", model=single_line(model)))
    if key.variable in console.environ:
        console.say(
            tr("warning: the environment variable {variable} overrides it", variable=key.variable)
        )


PLACES = typer.Argument(..., metavar="PATH...", help="GGUF files or folders")
FORGET = typer.Option(False, "--forget", help="Remove them from the list")


def add(ctx: typer.Context, places: list[Path] = PLACES, forget: bool = FORGET) -> None:
    """Add GGUF files or folders to the list; the files are not moved."""
    from tchat.models import models_file

    console: Console = ctx.obj
    change = models_file.forget if forget else models_file.register
    with report_default_change(console):
        change(console.paths, places)
    names = single_line(", ".join(map(str, places)))
    if forget:
        console.say(tr("removed {names}; the files were not touched", names=names))
    else:
        console.say(tr("added {names}; the files were not touched", names=names))


def register(ctx: typer.Context, places: list[Path] = PLACES, forget: bool = FORGET) -> None:
    """The former name of `tchat models add`."""
    console: Console = ctx.obj
    console.notice(tr("`models register` is now called `models add`; the old name still works"))
    add(ctx, places, forget)


@alias.command("ls")
def alias_ls(ctx: typer.Context, as_json: bool = JSON) -> None:
    """List the aliases."""
    from tchat.models.models_file import aliases

    console: Console = ctx.obj
    known = aliases(console.paths)
    if as_json:
        print_json(console, known)
        return
    print_rows(
        console, (N_("NAME"), N_("MODEL")), sorted(known.items()), empty=tr("there is no alias yet")
    )


@alias.command("set")
def alias_set(ctx: typer.Context, name: str = ALIAS, model: str = MODEL) -> None:
    """Set an alias of a model."""
    from tchat.models.models_file import set_alias
    from tchat.models.name_lookup import require_alias
    from tchat.models.resolve import resolve

    console: Console = ctx.obj
    require_alias(name)
    path = resolve(model, console.paths, console.environ)
    target = str(path.absolute()) if path == Path(model) else model
    set_alias(console.paths, name, target)
    console.say(tr("{name} is now an alias of {target}", name=name, target=single_line(target)))


@alias.command("rm")
def alias_rm(ctx: typer.Context, name: str = ALIAS) -> None:
    """Remove an alias; the model is kept."""
    from tchat.models.models_file import aliases, set_alias

    console: Console = ctx.obj
    known = aliases(console.paths)
    if name not in known:
        raise UsageError(tr("there is no alias `{name}`", name=name), did_you_mean(name, known))
    with report_default_change(console):
        set_alias(console.paths, name, None)
    console.say(tr("removed the alias {name}", name=name))


def _complete(incomplete: str) -> list[str]:
    return [name for name in MODEL_SETTINGS if name.startswith(incomplete)]


def set_(
    ctx: typer.Context,
    model: str = MODEL,
    name: str = typer.Argument(
        ..., help="Setting name, such as cache_type", autocompletion=_complete
    ),
    value: str = typer.Argument("", help="Value; without one, removes the setting"),
) -> None:
    """Save a setting of one model in models.toml; comments are kept."""
    from tchat.models.models_file import model_setting, set_model_setting
    from tchat.models.resolve import resolve

    console: Console = ctx.obj
    key = model_setting(name)
    if notice := renamed(name):
        console.notice(notice)
    path = resolve(model, console.paths, console.environ)
    saved = set_model_setting(console.paths, model, path, key, value or None)
    shown = single_line(model)
    if saved is None:
        told = tr(
            "{model}: {name} is not set; the general setting applies", model=shown, name=key.name
        )
    else:
        told = tr(
            "{model}: {name} = {value} is saved for this model",
            model=shown,
            name=key.name,
            value=single_line(spell(saved)),
        )
    console.say(told)
    if key.variable in console.environ:
        console.say(
            tr("warning: the environment variable {variable} overrides it", variable=key.variable)
        )
