"""``tchat cache``: ls, prune, clear."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.app import DRY_RUN, JSON, command_group
from tchat.cli.console import Console
from tchat.cli.output.columns import fields, iso, print_json, print_rows
from tchat.cli.sessions import open_sessions, sessions_to_read
from tchat.errors import UsageError
from tchat.humanize import size_text, when
from tchat.sanitize import printable, single_line
from tchat.settings import load
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.engine.snapshots.index import ModelRecord, SessionSnapshot
    from tchat.engine.snapshots.store import SnapshotStore
    from tchat.sessions.store import SessionStore

app = command_group("Show and remove KV cache snapshots, which reopen sessions at once.")

HEADER = (N_("SESSION"), N_("MODEL"), N_("TOKENS"), N_("SIZE"), N_("USED"), N_("TITLE"))


@app.command()
def ls(ctx: typer.Context, as_json: bool = JSON) -> None:
    """List sessions with a KV cache snapshot, most recently used first.

    A prefix that sessions share counts for each. Names models whose sessions are processed again.
    """
    console: Console = ctx.obj
    with _snapshots(console) as store, sessions_to_read(console) as sessions:
        snapshots = [(each, _title(sessions, each.session)) for each in store.sessions()]
        size, counts, models = store.size(), dict(store.counts()), store.models()
    limit = _limit(console)
    if as_json:
        found = {"size": size, "limit": limit, "counts": counts}
        found["sessions"] = [_record(*each) for each in snapshots]
        found["models"] = [_model_record(each) for each in models]
        print_json(console, found)
        return
    cells = [_cells(*each) for each in snapshots]
    print_rows(console, HEADER, cells, empty=tr("there is no snapshot yet"))
    if console.stdout_is_terminal:
        place = printable(str(console.paths.snapshots))
        used, most = _size(size), _size(limit)
        console.out(tr("{size} of {limit} in {path}", size=used, limit=most, path=place))
        from tchat.chat.preload import restore_status

        for each in models:
            if not each.exact:
                told = tr("{name}: {reason}", name=each.name, reason=restore_status(each))
                console.out(printable(single_line(told)))


@app.command()
def prune(ctx: typer.Context, dry_run: bool = DRY_RUN, as_json: bool = JSON) -> None:
    """Remove snapshots of deleted sessions, and what exceeds kv_cache_disk_mb."""
    console: Console = ctx.obj
    if dry_run:
        with _snapshots(console) as store, open_sessions(console) as sessions:
            gone = [each for each in store.sessions() if not _is_there(sessions, each.session)]
            size = store.size()
        freed = min(size, sum(each.size for each in gone))
        freed += max(0, size - freed - _limit(console))
        _tell_dry(console, freed, size, as_json=as_json)
        return
    with _snapshots(console) as store, open_sessions(console) as sessions:
        before = store.size()
        store.sweep(lambda session: _is_there(sessions, session))
        store.shrink(_limit(console))
        after = store.size()
    _tell(console, before - after, after, as_json=as_json)


@app.command()
def clear(
    ctx: typer.Context,
    yes: bool = typer.Option(False, "-y", "--yes", help="Accepted; clear never asks"),  # noqa: ARG001
    dry_run: bool = DRY_RUN,
    as_json: bool = JSON,
) -> None:
    """Remove all snapshots; sessions are kept, and processed again when continued."""
    console: Console = ctx.obj
    with _snapshots(console) as store:
        if dry_run:
            _tell_dry(console, store.size(), store.size(), as_json=as_json)
            return
        freed = store.clear()
    _tell(console, freed, 0, as_json=as_json)


def _snapshots(console: Console) -> AbstractContextManager[SnapshotStore]:
    from tchat.chat.preload import snapshot_store

    return closing(snapshot_store(console.paths))


def _limit(console: Console) -> int:
    from tchat.chat.preload import MEGABYTE

    return load(console.paths, console.environ)[0].kv_cache_disk_mb * MEGABYTE


def _is_there(sessions: SessionStore, session: str) -> bool:
    try:
        return sessions.get(session).id == session
    except UsageError:
        return False


def _title(sessions: SessionStore, session: str) -> str:
    return sessions.get(session).title if _is_there(sessions, session) else tr("(deleted)")


def _tell(console: Console, freed: int, left: int, *, as_json: bool) -> None:
    if as_json:
        print_json(console, {"freed": freed, "size": left})
    else:
        console.out(tr("freed {freed}, {left} left", freed=_size(freed), left=_size(left)))


def _tell_dry(console: Console, would_free: int, size: int, *, as_json: bool) -> None:
    """Tell what about would be freed: sessions can share a part of what is saved."""
    if as_json:
        print_json(console, {"would_free": would_free, "size": size})
        return
    console.out(tr("would free about {freed} of {size}", freed=_size(would_free), size=_size(size)))


def _size(size: int) -> str:
    return size_text(size) or "0 B"


def _cells(snapshot: SessionSnapshot, title: str) -> tuple[str, ...]:
    tokens, size = f"{snapshot.tokens:,}", _size(snapshot.size)
    return (snapshot.session, snapshot.model, tokens, size, when(snapshot.used), title)


def _model_record(known: ModelRecord) -> dict[str, Any]:
    return {
        "model": known.name,
        "exact": known.restores,
        "reason": known.reason,
        "checked_at": iso(known.checked) if known.checked else None,
    }


def _record(snapshot: SessionSnapshot, title: str) -> dict[str, Any]:
    known = fields(snapshot, "model", "tokens", "size")
    return {"session": snapshot.session, "title": title, **known, "used_at": iso(snapshot.used)}
