"""The processes of tchat that run on this machine, and the sockets that they hold.

Read from ``/proc`` where there is one. A process with a locked store hides what it has open, from
its own user too; elsewhere than on Linux sockets are not known.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tchat.paths import expanded

PROC = Path("/proc")
_LISTENING = "0A"  # the state of a TCP socket


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """A socket; ``remote`` is empty for one that only listens at ``local``."""

    local: str
    remote: str


@dataclass(frozen=True, slots=True)
class TchatProcess:
    """A process of tchat.

    ``config`` is its folder, and ``sockets`` are what it has open; None where the system does not
    tell. Sockets without an address, between processes of this machine, are left out.
    """

    pid: int
    is_own: bool
    config: Path | None
    sockets: tuple[OpenSocket, ...] | None


def find_processes(proc: Path = PROC) -> list[TchatProcess] | None:
    """All of this user; None where the system does not tell."""
    if not (proc / "self").exists():
        return None
    found, user, own = [], os.getuid(), os.getpid()
    for entry in proc.iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(OSError):
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            if is_tchat(arguments) and _user_of(entry) == user:
                pid = int(entry.name)
                found.append(TchatProcess(pid, pid == own, _config(entry), _sockets(entry)))
    return sorted(found, key=lambda each: each.pid)


def is_tchat(arguments: Sequence[bytes]) -> bool:
    """Whether a process with these arguments is tchat."""
    first, *others = [os.path.basename(each) for each in arguments[:3]]  # noqa: PTH119
    if first in (b"tchat", b"tchat.exe"):
        return True
    if not first.startswith((b"python", b"pypy")):
        return False
    module = arguments[2] if others[:1] == [b"-m"] and len(arguments) > 2 else b""
    return module.split(b".")[0] == b"tchat" or others[:1] == [b"tchat"]


def _user_of(entry: Path) -> int:
    """Who started a process; its files may belong to root."""
    for line in (entry / "status").read_text("ascii", "replace").splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[1])
    return -1


def _config(entry: Path) -> Path | None:
    """The folder of its configuration, by the variables that it was started with."""
    try:
        lines = (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return None
    variables = dict(line.partition(b"=")[::2] for line in lines)
    if home := variables.get(b"TCHAT_HOME"):
        return expanded(os.fsdecode(home))
    base = variables.get(b"XDG_CONFIG_HOME") or variables.get(b"HOME", b"~") + b"/.config"
    return expanded(os.fsdecode(base)) / "tchat"


def _sockets(entry: Path) -> tuple[OpenSocket, ...] | None:
    try:
        targets = [os.readlink(each) for each in (entry / "fd").iterdir()]  # noqa: PTH115
    except OSError:
        return None
    numbers = {each[8:-1] for each in targets if each.startswith("socket:[")}
    if not numbers:
        return ()
    known: dict[str, OpenSocket] = {}
    for name in ("tcp", "tcp6", "udp", "udp6"):
        with suppress(OSError):
            known |= _table((entry / "net" / name).read_text("ascii", "replace"))
    return tuple(known[number] for number in sorted(numbers) if number in known)


def _table(text: str) -> Mapping[str, OpenSocket]:
    """The sockets of a table of the kernel, by their numbers."""
    found = {}
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9:
            remote = "" if fields[3] == _LISTENING else _address(fields[2])
            found[fields[9]] = OpenSocket(_address(fields[1]), remote)
    return found


def _address(text: str) -> str:
    """``0100007F:1F90`` as ``127.0.0.1:8080``; the kernel writes words of its own byte order."""
    host, _, port = text.partition(":")
    words = [int(host[at : at + 8], 16) for at in range(0, len(host), 8)]
    data = struct.pack(f"={len(words)}I", *words)
    if len(data) == 4:
        return f"{socket.inet_ntop(socket.AF_INET, data)}:{int(port, 16)}"
    return f"[{socket.inet_ntop(socket.AF_INET6, data)}]:{int(port, 16)}"
