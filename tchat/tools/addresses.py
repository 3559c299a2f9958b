"""Which network addresses tools may connect to: public ones only."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

# IPv6 forms that carry an IPv4 address in their last 32 bits: NAT64, and "IPv4-compatible" ones.
_CARRIERS = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
# Local-use NAT64, and addresses that are documented or deprecated rather than routed.
_NOT_ROUTED = (IPv6Network("64:ff9b:1::/48"), IPv6Network("fec0::/10"), IPv6Network("100::/64"))
SocketAddress = tuple[socket.AddressFamily, tuple[Any, ...]]


def is_public(address: str) -> bool:
    """Whether a numeric address is reached over the internet, whatever form it has.

    Private, loopback, link-local, multicast and reserved addresses are not, nor are IPv6 addresses
    that carry one of these.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if "%" in address:
        return False  # an address with a zone is a link's
    if isinstance(parsed, IPv4Address):
        return _is_global(parsed)
    if any(parsed in each for each in _NOT_ROUTED):
        return False
    carried = _carried(parsed)
    return _is_global(parsed if carried is None else carried)


def addresses_of(host: str, port: int) -> list[SocketAddress]:
    """What a host's name resolves to, in the system's order.

    Raises:
        OSError: It resolves to nothing.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, tuple(address)) for family, _, _, _, address in found]


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


def _carried(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        # Its server and client; a private one of either is enough to refuse.
        return next((each for each in address.teredo if not _is_global(each)), address.teredo[1])
    if any(address in each for each in _CARRIERS):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None
