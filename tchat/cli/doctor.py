"""``tchat doctor``: check this installation."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import typer

from tchat.cli.app import JSON, single_command
from tchat.cli.console import Console
from tchat.cli.output.columns import fields, print_json, print_rows
from tchat.errors import ExitCode, TchatError
from tchat.humanize import size_text
from tchat.sanitize import single_line
from tchat.settings import Settings, load
from tchat.translation import N_, tr, trn

PACKAGES = ("typer", "rich", "textual", "jinja2", "numpy")

app = single_command()


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; a problem has the exit code of its error."""

    area: str
    name: str
    text: str
    problem: int = ExitCode.OK


@app.command()
def doctor(ctx: typer.Context, as_json: bool = JSON) -> int:
    """Check this installation: engine, memory, models, storage, terminal.

    Exits with the code of the first problem, or 0.
    """
    console: Console = ctx.obj
    findings = list(examine(console))
    if as_json:
        print_json(
            console, [{**fields(f, "area", "name", "text"), "ok": not f.problem} for f in findings]
        )
    else:
        rows = [
            (f.area, tr("problem") if f.problem else tr("ok"), f.name, f.text) for f in findings
        ]
        print_rows(console, (N_("AREA"), N_("STATE"), N_("WHAT"), N_("FOUND")), rows, whole=True)
    return next((int(f.problem) for f in findings if f.problem), 0)


def examine(console: Console) -> Iterator[Finding]:
    """All findings; each examination's failure is a finding itself."""
    yield from _versions()
    yield from _guarded(tr("engine"), "llama.cpp", _engine)
    yield from _places(console)
    settings = Settings()
    try:
        settings, warnings, _ = load(console.paths, console.environ)
        yield from (Finding(tr("settings"), tr("warning"), line) for line in warnings)
    except TchatError as error:
        yield Finding(tr("settings"), tr("settings"), str(error), error.exit_code)
    yield from _guarded(tr("lock"), tr("store"), lambda: _lock(console, settings))
    yield from _guarded(tr("sessions"), tr("database"), lambda: _sessions(console))
    yield from _guarded(tr("snapshots"), tr("index"), lambda: _snapshots(console))
    yield from _guarded(tr("model"), settings.model, lambda: _model(console, settings))


def _guarded(area: str, name: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except TchatError as error:
        yield Finding(area, name, str(error), error.exit_code)
    except (ImportError, OSError) as error:
        yield Finding(area, name, f"{type(error).__name__}: {error}", ExitCode.UNEXPECTED)


def _versions() -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    from tchat import __version__

    yield Finding(tr("version"), "tchat", __version__)
    yield Finding(
        tr("version"),
        "python",
        tr("{version} at {path}", version=platform.python_version(), path=sys.executable),
    )
    yield Finding(
        tr("version"),
        tr("system"),
        f"{platform.system()} {platform.release()} {platform.machine()}",
    )
    for name in PACKAGES:
        try:
            yield Finding(tr("version"), name, version(name))
        except PackageNotFoundError:
            yield Finding(tr("version"), name, tr("is not installed"), ExitCode.UNEXPECTED)


def _engine() -> Iterator[Finding]:
    from tchat.engine.binding import backend_names, build_facts
    from tchat.engine.build import (
        build_command,
        build_gain,
        build_summary,
        examine_build,
        gpu_make,
        processor_flags,
        with_backends,
    )
    from tchat.engine.rpc.workers import has_rpc, rpc_build_command

    facts = build_facts()
    for name, text in facts.items():
        found = tr(text)
        if name == "rpc" and not has_rpc():
            found = tr(
                "no; for models over several machines, build it: {command}",
                command=rpc_build_command(),
            )
        yield Finding(tr("engine"), tr(name), found)
    build = examine_build(facts["features"], processor_flags(), gpu_make())
    yield Finding(tr("engine"), tr("build"), build_summary(build))
    yield Finding(tr("engine"), tr("gpu backends"), ", ".join(build.gpu_backends) or tr("none"))
    if build.absent:
        text = tr(
            "this build needs {sets}, which this processor lacks; install: {command}",
            sets=", ".join(build.absent),
            command=build_command(with_backends("", backend_names()), facts["llama-cpp-python"]),
        )
        yield Finding(tr("engine"), tr("processor"), text, ExitCode.UNEXPECTED)
    if build.better_options is not None:
        options = with_backends(build.better_options, backend_names())
        command = build_command(options, facts["llama-cpp-python"])
        yield Finding(
            tr("engine"),
            tr("better build"),
            tr("{gain}: {command}", gain=build_gain(build), command=command),
        )


def _places(console: Console) -> Iterator[Finding]:
    for name, path in console.paths:
        fault = _unwritable(path)
        text = fault or str(path)
        if not fault and not path.exists():
            text = tr("{path} (not there yet)", path=path)
        yield Finding(tr("path"), tr(name), text, ExitCode.STORAGE if fault else ExitCode.OK)


def _unwritable(path: Path) -> str:
    """That ``path`` could not be written, or the empty string; the nearest folder there decides."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    return "" if os.access(there, os.W_OK) else tr("{path} cannot be written", path=path)


def _lock(console: Console, settings: Settings) -> Iterator[Finding]:
    """Whether the store is encrypted, and whether the screen locks itself."""
    encryption = console.paths.encryption
    if encryption is None:
        yield Finding(tr("lock"), tr("store"), tr("in clear; `tchat lock on` encrypts it"))
        return
    if encryption.state != "on":
        text = tr("not encrypted to its end; `tchat lock status` tells more")
        yield Finding(tr("lock"), tr("store"), text, ExitCode.STORAGE)
        return
    yield Finding(tr("lock"), tr("store"), tr("encrypted; `tchat lock status` tells more"))
    minutes = settings.lock_after
    if not encryption.has_passphrase:
        text = tr("not locked while it is open: there is no passphrase")
    elif minutes:
        text = trn("locks itself after {count:,} minute without use",
                   "locks itself after {count:,} minutes without use", minutes)  # fmt: skip
    else:
        text = tr("locked by hand only; `tchat config set lock_after 10` sets minutes")
    yield Finding(tr("lock"), tr("screen"), text)


def _is_locked(console: Console) -> bool:
    """Whether nobody unlocked the store: no examination asks for a passphrase."""
    encryption = console.paths.encryption
    return encryption is not None and not encryption.is_unlocked


def _sessions(console: Console) -> Iterator[Finding]:
    import sqlite3

    from tchat.sessions.store import SessionStore

    yield Finding(tr("sessions"), "sqlite", sqlite3.sqlite_version)
    if _is_locked(console):
        yield Finding(tr("sessions"), tr("database"), tr("not looked into: it is locked"))
    elif console.paths.sessions_db.exists():
        with SessionStore(console.paths.sessions_db, console.paths.encryption) as store:
            yield Finding(tr("sessions"), tr("database"), _sessions_text(len(store.sessions())))


def _snapshots(console: Console) -> Iterator[Finding]:
    from tchat.chat.preload import restore_status, snapshot_store

    if _is_locked(console):
        yield Finding(tr("snapshots"), tr("index"), tr("not looked into: it is locked"))
        return
    with closing(snapshot_store(console.paths)) as store:
        store.key.known()
        if store.key.fault:
            remedy = (
                tr("it is replaced at the next use")
                if store.key.is_replaceable
                else tr("move it away")
            )
            text = tr(
                "{file} {fault}; {remedy}",
                file=store.key.file,
                fault=store.key.fault,
                remedy=remedy,
            )
            yield Finding(tr("snapshots"), tr("key"), text, ExitCode.STORAGE)
        sessions = len({held.session for held in store.sessions()})  # one for each of its models
        size = store.size()
        yield Finding(
            tr("snapshots"),
            tr("saved"),
            tr("{sessions}, {size:,.0f} MB", sessions=_sessions_text(sessions), size=size / 1e6),
        )
        for known in store.models():
            yield Finding(tr("snapshots"), single_line(known.name, 80), restore_status(known))


def _sessions_text(count: int) -> str:
    return trn("{count:,} session", "{count:,} sessions", count)


def _model(console: Console, settings: Settings) -> Iterator[Finding]:
    if settings.server:
        told = tr("{name}: see `tchat servers test`", name=single_line(settings.model, 80))
        yield Finding(tr("model"), tr("server"), told)
        return
    from tchat.chat.model import probe_command
    from tchat.engine.binding import build_name
    from tchat.models.metadata import MetadataCache
    from tchat.models.resolve import resolve_chosen
    from tchat.models.verify import require_loadable

    path = resolve_chosen(settings, console.paths, console.environ)
    yield Finding(tr("model"), tr("file"), str(path))
    with MetadataCache(console.paths) as store:
        metadata = store.metadata(path)
        summary = trn(
            "{name}, {architecture}, {quantization}, {size}, {count:,} token",
            "{name}, {architecture}, {quantization}, {size}, {count:,} tokens",
            metadata.context_length,
            name=metadata.name,
            architecture=metadata.architecture,
            quantization=metadata.quantization,
            size=size_text(metadata.size),
        )
        yield Finding(tr("model"), tr("header"), summary)
        require_loadable(metadata, store, probe_command, build=build_name())
    yield Finding(tr("model"), tr("verdict"), tr("loads and answers"))
