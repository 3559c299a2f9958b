"""``tchat privacy``: what is stored, what left this machine, what runs now; and removing it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from tchat.cli.app import DRY_RUN, JSON, command_group
from tchat.cli.console import Console, drop_typed_ahead
from tchat.cli.output.columns import print_json, print_rows
from tchat.cli.privacy.report import (
    STORED_HEADER,
    print_log,
    print_report,
    report_record,
    stored_cells,
)
from tchat.egress.egress_log import open_egress_log
from tchat.errors import StoreLocked, UsageError
from tchat.humanize import size_text
from tchat.privacy.stored_data import StoredData
from tchat.sanitize import printable
from tchat.translation import N_, tr, trn

if TYPE_CHECKING:
    from tchat.privacy.wipe import Wiped

app = command_group("Show what is stored and what left this machine, or remove it.", alone=True)

WORD = "wipe"  # to be typed before everything is removed
REMAINS = (
    N_(
        "On an SSD, in snapshots of the file system and in your backups, older copies may remain "
        "for a time."
    ),
    N_(
        "Exports, answers that you saved or copied, the terminal's scrollback and the shell's "
        "history are not tchat's: they stay."
    ),
    N_("What servers and tools were sent, they have."),
)


@app.callback(invoke_without_command=True)
def privacy(
    ctx: typer.Context,
    log: bool = typer.Option(False, "--log", help="List every request that left this machine"),
    as_json: bool = JSON,
) -> None:
    """Show what is stored, what left this machine and where it went, and what may leave it.

    Requests to this machine itself are not counted, and neither is what programs send that tools
    start. Bytes are those of HTTP without TLS around it.
    """
    if ctx.invoked_subcommand is not None:
        return
    console: Console = ctx.obj
    egress = open_egress_log(console.paths)
    if log:
        print_log(console, egress, as_json=as_json)
    elif as_json:
        print_json(console, report_record(console, egress))
    else:
        print_report(console, egress)
    with suppress(StoreLocked):  # the report says so
        for damage in egress.damage():
            console.say(damage)
    if problem := egress.take_problem():
        console.say(problem)


# Removing everything


@app.command()
def wipe(
    ctx: typer.Context,
    *,
    everything: bool = typer.Option(
        False, "--all", help="Also the configuration: settings, prompts, themes, tools, MCP servers"
    ),
    models: bool = typer.Option(False, "--models", help="Also the models downloaded from the hub"),
    yes: bool = typer.Option(False, "-y", "--yes", help="Do not ask"),
    dry_run: bool = DRY_RUN,
) -> None:
    """Remove all sessions, snapshots, histories, logs, judges and backups.

    Downloaded models go first, with --models; then the keys of an encrypted store, so that copies
    of it cannot be read either. If it is interrupted, run it again.
    """
    from tchat.privacy.wipe import ALL, DATA, require_alone, to_be_wiped
    from tchat.privacy.wipe import wipe as remove

    console: Console = ctx.obj
    contents = ALL if everything else DATA
    found = to_be_wiped(console.paths, contents)
    if dry_run:
        print_rows(console, STORED_HEADER, [stored_cells(each) for each in found])
        console.say(tr("nothing was removed"))
        return
    require_alone(console.paths)
    if not yes:
        _require_word(console, found, models=models)
        require_alone(console.paths)  # the answer may have taken long
    freed = _remove_models(console) if models else None
    _tell_wiped(console, remove(console.paths, contents), freed)


def _require_word(console: Console, found: Sequence[StoredData], *, models: bool) -> None:
    """Let the user type a word.

    Raises:
        UsageError: There is no terminal, or another answer.
    """
    if not console.stdin_is_terminal or console.stdin is None:
        raise UsageError(tr("this needs a confirmation"), tr("add --yes"))
    drop_typed_ahead(console)
    names = [tr(each.kind.title) for each in found]
    if models:
        names.append(tr("downloaded models"))
    console.say(tr("This removes, for ever: {what}", what=", ".join(names) or tr("nothing")))
    console.stderr.write(tr("Type {word} to do it:", word=WORD) + " ")
    console.stderr.flush()
    if console.stdin.readline().strip().decode("utf-8", "replace") != WORD:
        raise UsageError(tr("nothing was changed"))


def _remove_models(console: Console) -> int:
    """Remove the models from the hub; returns the bytes that this frees."""
    from tchat.cli.models.local import open_library
    from tchat.models.sources.source import HUB

    freed = 0
    with open_library(console) as library:
        rows = [row for row in library.models() if row.owner == HUB]
        for row in rows:
            plan = library.plan_removal(str(row.path))
            library.remove(plan)
            freed += plan.freed
    return freed


def _tell_wiped(console: Console, wiped: Wiped, freed: int | None) -> None:
    console.say(
        trn(
            "removed {count:,} file, {size}",
            "removed {count:,} files, {size}",
            wiped.files,
            size=size_text(wiped.size) or "0 B",
        )
    )
    if wiped.left:
        console.say(
            tr(
                "Links were removed, and what they led to stays; remove it if it is yours: {names}",
                names=printable(", ".join(map(str, wiped.left))),
            )
        )
    if freed is not None:
        console.say(tr("removed the downloaded models, {size}", size=size_text(freed) or "0 B"))
    if wiped.is_key_destroyed:
        console.say(
            tr(
                "The keys are gone: what was encrypted cannot be read any more, unless somebody "
                "has a copy of lock.json and the passphrase or the recovery key."
            )
        )
    for line in REMAINS:
        console.say(tr(line))
