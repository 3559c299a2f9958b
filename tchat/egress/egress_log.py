"""The egress log: each request that leaves this machine, with time, host and bytes.

JSON Lines, only readable by the user. A request has a line before anything is sent and one after
its answer; both have its ``id``. They hold what it is for and where it goes, and nothing of what is
said: no path, no query, no text, no key. Of a private session not even its id is there.

Requests to this machine itself are not logged. A log that is full is kept as ``.1``; what leaves
that is added up by host first, so that the first request is known for ever.

A request is not held back where the log cannot be written, on a full disk or with a locked store:
the user asked for the request, and would lose a reply for a line about it. It is told once.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tchat.encryption.stored_file import StoredFile
from tchat.errors import StorageError, StoreLocked
from tchat.paths import Paths
from tchat.private_files import acquire_lock, writing
from tchat.sanitize import single_line
from tchat.settings.endpoints import is_loopback_name
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption

STORED_AS = "egress log"  # the purpose of its files
MAX_SIZE = 1 << 20  # bytes; then the file is kept as `.1`, and a new one begins
LONGEST_HOST = 260  # characters of a host that are logged, its port included


class Purpose(StrEnum):
    """What a request is for."""

    SERVER = "server"  # a model on a server
    HUB = "hub"  # a listing or a search
    DOWNLOAD = "download"  # of a model from the hub
    TOOL = "tool"
    MCP = "mcp"  # an MCP server over HTTP
    RPC = "rpc"  # a worker of llama.cpp
    RAY = "ray"  # a cluster


PURPOSES: Mapping[Purpose, str] = {
    Purpose.SERVER: N_("model on a server"),
    Purpose.HUB: N_("search of the hub"),
    Purpose.DOWNLOAD: N_("model download"),
    Purpose.TOOL: N_("tool"),
    Purpose.MCP: N_("MCP server"),
    Purpose.RPC: N_("RPC worker"),
    Purpose.RAY: N_("Ray cluster"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressRequest:
    """A request that left this machine.

    ``sent`` and ``received`` are bytes, of HTTP without TLS around it; None where they are not
    counted. ``is_ended``: its answer ended, or failed. ``session``: the chat it was made for, if
    that is stored.
    """

    time: datetime
    purpose: Purpose
    host: str
    name: str
    session: str
    sent: int | None
    received: int | None
    is_ended: bool


@dataclass(slots=True, kw_only=True)
class HostTotal:
    """All requests to a host, added up; ``uncounted`` are those whose bytes are not known."""

    host: str
    first: datetime
    last: datetime
    purposes: set[Purpose] = field(default_factory=set)
    requests: int = 0
    sent: int = 0
    received: int = 0
    uncounted: int = 0

    def add(self, request: EgressRequest) -> None:
        """Count one more request."""
        self.first, self.last = min(self.first, request.time), max(self.last, request.time)
        self.purposes.add(request.purpose)
        self.requests += 1
        self.sent += request.sent or 0
        self.received += request.received or 0
        self.uncounted += request.sent is None


class Transfer:
    """One request while it runs; its bytes are counted here."""

    def __init__(self, write: Callable[[Mapping[str, Any]], None] | None, sent: int | None) -> None:
        self.sent, self.received = sent, 0
        self._write = write

    def end(self) -> None:
        """Log the bytes; only the first call does."""
        write, self._write = self._write, None
        if write is not None:
            write({"sent": self.sent, "received": self.received})


class EgressLog:
    """Writes to ``path``; several threads and processes may do so at once.

    Args:
        path: The file.
        encryption: Of the store that it belongs to. A line unlocks it only where nobody is asked.
        now: The time.
    """

    def __init__(
        self,
        path: Path,
        encryption: Encryption | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._path, self._encryption, self._now = path, encryption, now
        self._problem: str | None = None  # empty once it was told

    def begin(
        self,
        purpose: Purpose,
        host: str,
        *,
        name: str = "",
        session: str = "",
        sent: int | None = 0,
    ) -> Transfer:
        """Log a request before it is sent; one to this machine is not logged.

        Args:
            purpose: What it is for.
            host: Where it goes, without a port.
            name: Of the server, the tool or the repository.
            session: The session that it is made for; empty for none, and of a private one.
            sent: Bytes that will be sent; None where they are not counted.
        """
        if is_loopback_name(host):
            return Transfer(None, sent)
        request = secrets.token_hex(8)
        self._add(
            {
                "id": request,
                "for": purpose.value,
                "host": single_line(host, LONGEST_HOST),
                **({"name": single_line(name, 100)} if name else {}),
                **({"session": session} if session else {}),
                **({} if sent is None else {"sent": sent}),
            }
        )
        return Transfer(lambda values: self._add({"id": request, **values}), sent)

    def note_connection(self, purpose: Purpose, host: str, *, name: str = "") -> None:
        """Log a connection whose bytes are not counted: another library holds it."""
        self.begin(purpose, host, name=name, sent=None)

    def take_problem(self) -> str:
        """Why requests are not logged, the first time; else empty."""
        problem = self._problem or ""
        if problem:
            self._problem = ""
        return problem

    # Reading

    def requests(self) -> Iterator[EgressRequest]:
        """Those logged one by one, oldest first; lines that cannot be read are left out.

        Raises:
            StorageError: The log is locked.
        """
        paths = (self._older, self._path)
        yield from _joined(line for path in paths for line in self._lines(path))

    def totals(self) -> list[HostTotal]:
        """All requests ever, by host; the one asked last is the first.

        Raises:
            StorageError: The log is locked.
        """
        totals, _ = self._read_totals()
        _add_up(totals, self.requests())
        return sorted(totals.values(), key=lambda each: each.last, reverse=True)

    def damage(self) -> Iterator[str]:
        """Which lines are damaged, or in clear in an encrypted store, and so left out of the rest.

        Raises:
            StorageError: The log is locked.
        """
        for path in (self._older, self._path):
            with suppress(OSError):
                if damage := self._stored(path).damage():
                    yield damage

    def files(self) -> tuple[Path, ...]:
        """The files of the log, there or not."""
        return self._path, self._older, self._sums

    # Writing

    @property
    def _older(self) -> Path:
        return self._path.with_name(f"{self._path.name}.1")

    @property
    def _sums(self) -> Path:
        return self._path.with_name(f"{self._path.stem}-hosts.json")

    def _add(self, values: Mapping[str, Any]) -> None:
        line = json.dumps({"time": self._now().isoformat(timespec="milliseconds"), **values})
        try:
            if self._encryption is not None and not self._encryption.unlock_silently():
                raise StoreLocked(tr("the store is locked"))
            self._try_rotating()
            self._stored(self._path).append_line(line.encode())
        except StorageError as error:
            self._set_problem(
                tr("what leaves this machine is not logged: {reason}", reason=error.message)
            )

    def _set_problem(self, text: str) -> None:
        """Let ``text`` be told, unless another problem was."""
        if self._problem is None:
            self._problem = text

    def _try_rotating(self) -> None:
        """Begin a new file where this one is full; if that fails, it goes on growing."""
        try:
            with writing(self._path):
                if self._path.is_file() and self._path.stat().st_size > MAX_SIZE:
                    self._rotate()
        except (StorageError, NotImplementedError) as error:
            reason = getattr(error, "message", str(error))
            self._set_problem(
                tr("the log of what leaves this machine only grows: {reason}", reason=reason)
            )

    def _rotate(self) -> None:
        """Begin a new file, after adding up what leaves the older one."""
        lock = acquire_lock(self._path.with_name(f"{self._path.name}.lock"), 0)
        if lock is None:
            return  # another process does it
        try:
            if self._path.stat().st_size <= MAX_SIZE:
                return
            older = list(self._lines(self._older))
            totals, last = self._read_totals()
            # A process that was killed here has added them up already.
            if older and older[-1].get("id") != last:
                ends = (each for each in self._lines(self._path) if "for" not in each)
                _add_up(totals, _joined((*older, *ends)))
                self._write_totals(totals, str(older[-1].get("id")))
            self._path.replace(self._older)
        finally:
            lock.release()

    def _stored(self, path: Path) -> StoredFile:
        return StoredFile(path, self._encryption, STORED_AS)

    def _lines(self, path: Path) -> Iterator[dict[str, Any]]:
        if not path.is_file():
            return
        for line in self._stored(path).lines():
            with suppress(ValueError):
                if isinstance(found := json.loads(line), dict) and isinstance(found.get("id"), str):
                    yield found

    def _read_totals(self) -> tuple[dict[str, HostTotal], str]:
        """The totals of what left the log, and the id of its last line.

        Damaged ones are told, and begin again.

        Raises:
            StorageError: They are locked.
        """
        try:
            found = json.loads(self._stored(self._sums).read())
            totals = {each["host"]: _total_of(each) for each in found["hosts"]}
            return totals, str(found["last"])
        except FileNotFoundError:
            return {}, ""
        except StoreLocked:
            raise
        except (StorageError, OSError) as error:
            reason = getattr(error, "message", str(error))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            reason = tr("{path} is damaged", path=self._sums)
        self._set_problem(
            tr("the sums of what left this machine begin again: {reason}", reason=reason)
        )
        return {}, ""

    def _write_totals(self, totals: Mapping[str, HostTotal], last: str) -> None:
        hosts = [
            {
                "host": each.host,
                "first": each.first.isoformat(),
                "last": each.last.isoformat(),
                "for": sorted(each.purposes),
                "requests": each.requests,
                "sent": each.sent,
                "received": each.received,
                "uncounted": each.uncounted,
            }
            for each in totals.values()
        ]
        self._stored(self._sums).write(json.dumps({"last": last, "hosts": hosts}).encode())


def open_egress_log(paths: Paths) -> EgressLog:
    """The log of this user."""
    return EgressLog(paths.egress_log, paths.encryption)


def _joined(lines: Iterable[Mapping[str, Any]]) -> Iterator[EgressRequest]:
    """The requests, each of its lines before and after."""
    begun: dict[str, Mapping[str, Any]] = {}
    ended: dict[str, Mapping[str, Any]] = {}
    for line in lines:
        (begun if "for" in line else ended)[line["id"]] = line
    for number, line in begun.items():
        end = ended.get(number)
        with suppress(ValueError, TypeError, KeyError, OverflowError):
            yield EgressRequest(
                time=_time(line["time"]),
                purpose=Purpose(line["for"]),
                host=str(line["host"]),
                name=str(line.get("name", "")),
                session=str(line.get("session", "")),
                sent=_count((end or line).get("sent")),
                received=_count(end.get("received")) if end else None,
                is_ended=end is not None,
            )


def _total_of(record: Mapping[str, Any]) -> HostTotal:
    """The total that ``record`` holds; raises what wrong ones raise."""
    counts = [_count(record[name]) for name in ("requests", "sent", "received", "uncounted")]
    requests, sent, received, uncounted = (each for each in counts if each is not None)
    return HostTotal(
        host=str(record["host"]),
        first=_time(record["first"]),
        last=_time(record["last"]),
        purposes={Purpose(name) for name in record["for"]},
        requests=requests,
        sent=sent,
        received=received,
        uncounted=uncounted,
    )


def _time(text: str) -> datetime:
    """A time with its zone, so that it can be compared."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _add_up(totals: dict[str, HostTotal], requests: Iterable[EgressRequest]) -> None:
    for each in requests:
        if each.host not in totals:
            totals[each.host] = HostTotal(host=each.host, first=each.time, last=each.time)
        totals[each.host].add(each)
