"""What `tchat privacy` shows: what left this machine, what is stored, and what may leave it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tchat.cli.console import Console
from tchat.cli.output.columns import print_json, print_rows
from tchat.egress.egress_log import PURPOSES, EgressLog, HostTotal
from tchat.encryption.stored_kinds import Content
from tchat.errors import StorageError, StoreLocked, TchatError
from tchat.humanize import size_text, when
from tchat.privacy.processes import TchatProcess, find_processes
from tchat.privacy.stored_data import Protection, StoredData, find_data, other_entries
from tchat.sanitize import printable, single_line
from tchat.settings import Settings, load
from tchat.translation import N_, joined, tr, trn

if TYPE_CHECKING:
    from tchat.tools.mcp.config import ServerConfig

STORED_HEADER = (N_("WHAT"), N_("SIZE"), N_("STATE"))
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
PROTECTIONS: Mapping[Protection, str] = {
    Protection.ENCRYPTED: N_("encrypted"),
    Protection.CLEAR: N_("in clear"),
    Protection.MIXED: N_("partly in clear"),
    Protection.NOTHING: "",
}
LOG_HEADER = (
    *(N_("TIME"), N_("FOR"), N_("NAME"), N_("HOST"), N_("SENT"), N_("RECEIVED"), N_("SESSION")),
)


# What left


def print_log(console: Console, egress: EgressLog, *, as_json: bool) -> None:
    """Print every request that is logged for itself.

    Raises:
        StoreLocked: The log is locked.
    """
    requests = list(egress.requests())
    if as_json:
        records = [
            {
                "time": each.time.isoformat(),
                "for": each.purpose.value,
                "name": each.name,
                "host": each.host,
                "sent": each.sent,
                "received": each.received,
                "session": each.session or None,
                "ended": each.is_ended,
            }
            for each in requests
        ]
        print_json(console, records)
        return
    rows = [
        (
            each.time.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            tr(PURPOSES[each.purpose]),
            each.name,
            each.host,
            _bytes(each.sent),
            _bytes(each.received),
            each.session,
        )
        for each in requests
    ]
    print_rows(console, LOG_HEADER, rows, empty=tr("nothing has left this machine"))


def _bytes(count: int | None) -> str:
    return "" if count is None else size_text(count) or "0 B"


def _totals(egress: EgressLog) -> Sequence[HostTotal] | None:
    """What left, by host; None where the log is locked."""
    try:
        return egress.totals()
    except StoreLocked:
        return None


def _sentence(totals: Sequence[HostTotal] | None) -> str:
    if totals is None:
        return tr("The store is locked, and with it the log of what left this machine.")
    if not totals:
        return tr("Nothing has left this machine since this log began.")
    sent = sum(each.sent for each in totals)
    since = min(each.first for each in totals)
    return trn(
        "{count:,} host was sent {size} in all since {day}.",
        "{count:,} hosts were sent {size} in all since {day}.",
        len(totals),
        size=size_text(sent) or "0 B",
        day=since.astimezone().date().isoformat(),
    )


# The report


def print_report(console: Console, egress: EgressLog) -> None:
    """Print one screen for a person; what is locked is left out."""
    totals = _totals(egress)
    console.out(console.in_lines(_sentence(totals)))
    for each in totals or ():
        console.out("  " + printable(_host_line(each)))
    console.out("")
    console.out(tr("Stored in {folder}:", folder=printable(str(console.paths.config))))
    print_rows(
        console,
        STORED_HEADER,
        [stored_cells(each) for each in find_data(console.paths) if each.files],
    )
    console.out(_counts_line(console))
    if others := other_entries(console.paths):
        names = printable(", ".join(single_line(each.name, 40) for each in others[:5]))
        console.out(tr("Not tchat's own: {names}", names=names))
    console.out("")
    for line in (*_process_lines(), *_setting_lines(console)):
        console.out(console.in_lines(printable(single_line(line, 400))))


def _host_line(total: HostTotal) -> str:
    text = tr(
        "{host}: {times}, sent {sent}, received {received}; first {first}, last {last} "
        "({purposes})",
        host=total.host,
        times=trn("{count:,} request", "{count:,} requests", total.requests),
        sent=_bytes(total.sent),
        received=_bytes(total.received),
        first=total.first.astimezone().date().isoformat(),
        last=when(total.last.timestamp()),
        purposes=joined([tr(PURPOSES[each]) for each in sorted(total.purposes)]),
    )
    if total.uncounted:
        text += "; " + tr("bytes of {count:,} not counted", count=total.uncounted)
    return text


def stored_cells(data: StoredData) -> Sequence[str]:
    """A row about one kind of file."""
    if data.kind.content in (Content.WORDS, Content.CONFIGURATION):
        told = tr(PROTECTIONS[data.protection])
    else:
        told = tr("no words")
    return tr(data.kind.title), size_text(data.size) or "0 B", told


def _counts(console: Console) -> tuple[int, int] | None:
    """Sessions and messages; None where the store is locked."""
    from tchat.cli.sessions import sessions_to_read

    encryption = console.paths.encryption
    if encryption is not None and not encryption.unlock_unattended():
        return None
    with closing(sessions_to_read(console)) as store:
        sessions = list(store.sessions())
        return len(sessions), sum(each.messages for each in sessions)


def _counts_line(console: Console) -> str:
    try:
        counts = _counts(console)
    except StorageError as error:
        return console.in_lines(printable(error.message))
    if counts is None:
        return tr("How many sessions there are, a locked store does not tell.")
    sessions, messages = counts
    return tr(
        "{sessions} with {messages}.",
        sessions=trn("{count:,} session", "{count:,} sessions", sessions),
        messages=trn("{count:,} message", "{count:,} messages", messages),
    )


def _process_lines() -> Iterator[str]:
    found = find_processes()
    if found is None:
        yield tr(
            "Which processes of tchat run and what they have open is not known on this system."
        )
        return
    others = [each for each in found if not each.is_own]
    if not others:
        yield tr("No other process of tchat runs now.")
    for each in others:
        yield tr("Process {pid}: {sockets}", pid=each.pid, sockets=_sockets_text(each))


def _sockets_text(process: TchatProcess) -> str:
    if process.sockets is None:
        return tr("hides what it has open")
    if not process.sockets:
        return tr("no connection")
    return joined([each.remote or tr("listens at {address}", address=each.local)
                   for each in process.sockets])  # fmt: skip


def _settings(console: Console) -> tuple[Settings, Mapping[str, ServerConfig]]:
    from tchat.tools.mcp.config import read_servers

    settings = load(console.paths, console.environ).settings
    return settings, read_servers(console.paths.mcp_file)


def _setting_lines(console: Console) -> Iterator[str]:
    """What may leave from now on."""
    try:
        settings, servers = _settings(console)
    except TchatError as error:
        yield tr("What may leave is not known: {reason}", reason=error.message)
        return
    model = settings.server or settings.rpc
    yield (
        tr("The model runs elsewhere: {model}", model=model)
        if model
        else tr("The model runs in this process.")
    )
    tools = settings.tools
    if tools.enabled:
        yield tr("Tools that are on: {names}", names=", ".join(tools.enabled))
    if tools.allow:
        yield tr("Allowed without asking: {rules}", rules=", ".join(tools.allow))
    if tools.network:
        yield tr("Programs that tools start may use the network; that is not logged.")
    used = [each for each in servers.values() if each.is_enabled] if tools.mcp else []
    for each in used:
        yield tr("MCP server {name}: {target}", name=each.short_name, target=each.target)
    yield (
        tr("What goes to servers and tools elsewhere is redacted.")
        if settings.redact_outgoing
        else tr("What goes to servers and tools elsewhere is not redacted (redact_outgoing).")
    )
    if not settings.save_oneshots:
        yield tr("One-shot prompts are not stored (save_oneshots).")
    for name, value in _variables(console).items():
        yield f"{name}: {value}"


def _variables(console: Console) -> dict[str, str]:
    """The hub's address and the proxies, by host: the rest may hold a password."""
    found = {}
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", *PROXIES):
        value = console.environ.get(name) or console.environ.get(name.lower()) or ""
        if value:
            found[name] = _host_of(value) if name != "HF_HUB_OFFLINE" else value
    return found


def _host_of(url: str) -> str:
    try:
        return urlsplit(url if "://" in url else f"http://{url}").hostname or "?"
    except ValueError:
        return "?"


def report_record(console: Console, egress: EgressLog) -> dict[str, Any]:
    """The same for JSON; None stands for what is locked, or what the system does not tell.

    Raises:
        TchatError: The configuration cannot be read.
    """
    totals, processes = _totals(egress), find_processes()
    try:
        counts = _counts(console)
    except StorageError:
        counts = None
    settings, servers = _settings(console)
    encryption = console.paths.encryption
    return {
        "left": None if totals is None else [_total_record(each) for each in totals],
        "lock": None if encryption is None else encryption.state.value,
        "stored": [
            {
                "kind": each.kind.name,
                "content": each.kind.content.value,
                "paths": [str(path) for path in each.paths],
                "files": each.files,
                "size": each.size,
                "protection": each.protection.value,
            }
            for each in find_data(console.paths)
        ],
        "other": [str(path) for path in other_entries(console.paths)],
        "sessions": counts[0] if counts else None,
        "messages": counts[1] if counts else None,
        "processes": None if processes is None else [_process_record(each) for each in processes],
        "tools": list(settings.tools.enabled),
        "allow": list(settings.tools.allow),
        "network": settings.tools.network,
        "mcp": {
            name: each.target
            for name, each in servers.items()
            if each.is_enabled and settings.tools.mcp
        },
        "model": settings.model,
        "redact_outgoing": settings.redact_outgoing,
        "save_oneshots": settings.save_oneshots,
        "variables": _variables(console),
    }


def _total_record(total: HostTotal) -> dict[str, Any]:
    return {
        "host": total.host,
        "for": sorted(each.value for each in total.purposes),
        "requests": total.requests,
        "sent": total.sent,
        "received": total.received,
        "uncounted": total.uncounted,
        "first": total.first.isoformat(),
        "last": total.last.isoformat(),
    }


def _process_record(process: TchatProcess) -> dict[str, Any]:
    sockets = process.sockets
    return {
        "pid": process.pid,
        "own": process.is_own,
        "sockets": None
        if sockets is None
        else [{"local": each.local, "remote": each.remote or None} for each in sockets],
    }
