"""Addresses of RPC workers: ``HOST:PORT``, in a list with commas."""

from __future__ import annotations

import re

from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.translation import tr

DEFAULT_PORT = 50052  # llama.cpp's own
MAX_WORKERS = 16  # GGML_RPC_MAX_SERVERS
_ENDPOINT = re.compile(r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}))(?::(?P<port>[0-9]{1,5}))?")
_LOOPBACK = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}")


def parse_endpoints(text: str) -> tuple[str, ...]:
    """The addresses in ``text``, each with its port; empty for an empty text.

    llama.cpp takes names and IPv4 addresses.

    Raises:
        UsageError: One is no address, there are two of one, or too many.
    """
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    found = tuple(map(_endpoint, parts))
    if len(set(found)) < len(found):
        raise UsageError(
            tr("`rpc` names a worker twice: {text}", text=single_line(text, 80)),
            tr("name each worker once"),
        )
    if len(found) > MAX_WORKERS:
        raise UsageError(
            tr("`rpc` names {count} workers", count=len(found)),
            tr("llama.cpp takes {most} at most", most=MAX_WORKERS),
        )
    return found


def _endpoint(part: str) -> str:
    match = _ENDPOINT.fullmatch(part)
    port = int(match["port"] or DEFAULT_PORT) if match else 0
    if match is None or not 0 < port < 1 << 16:
        raise UsageError(
            tr("`{part}` is not the HOST:PORT of a worker", part=single_line(part, 80)),
            tr("write for example 127.0.0.1:{port}", port=DEFAULT_PORT),
        )
    return f"{match['host']}:{port}"


def is_loopback(host: str) -> bool:
    """Whether ``host``, with or without a port, is this machine by an address that stays in it."""
    return _LOOPBACK.fullmatch(host.partition(":")[0]) is not None


def is_loopback_name(host: str) -> bool:
    """Whether ``host``, without a port, is this machine, by its name or address alone."""
    name = host.strip("[]").removesuffix(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    from ipaddress import ip_address

    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
