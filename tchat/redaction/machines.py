"""Finds what names machines and their users: host names, IP addresses, names in paths."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from tchat.redaction.sensitive_span import WORD_END, WORD_START, DataKind, SensitiveSpan

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(
    rf"{WORD_START}(?<![.@/\\-])(?:{_LABEL}\.)+[A-Za-z][A-Za-z0-9-]{{1,23}}{WORD_END}(?!-|\.\w|\()"
)
_URL_HOST = re.compile(
    rf"(?<=://)(?:[^\s/@:]*(?::[^\s/@]*)?@)?((?:{_LABEL}\.)+[A-Za-z][A-Za-z0-9-]{{1,23}}){WORD_END}(?!-|\.\w)"
)
_LOGIN = re.compile(
    rf"\b(?:ssh|scp|sftp|rsync|mosh)\s(?:-\S+\s){{0,4}}[a-z_][\w.-]{{0,30}}@({_LABEL}(?:\.{_LABEL})*)(?![\w.-]*@|:[0-9a-f]{{0,4}}:)(?=[:\s'\")\]]|[.,;]?(?:\s|\Z))"
)
_PRIVATE = re.compile(
    r"\.(?:local|lan|internal|intranet|intra|corp|home|localdomain|private|test|home\.arpa|fritz\.box)\Z",
    re.IGNORECASE,
)
# First labels of machines, in names of three labels and more: db1.example.com, not docs.python.org.
_MACHINE = re.compile(
    r"(?:(?:db|sql|pg|mysql|mongo|redis|kafka|srv|server|node|host|web|app|api|mail|smtp|imap|mx|ns|dns|"
    r"vpn|gw|gateway|proxy|jump|bastion|dc|ad|ldap|nas|san|backup|build|ci|jenkins|git|gitlab|stage|"
    r"staging|dev|test|prod|k8s|kube|etcd|gpu|hpc|login|worker|master|mgmt|admin|intranet|printer|"
    r"fileserver|files|share|lab|box|vm|pc|laptop|desktop)[-\w]*?\d+|"
    r"(?:db|srv|vpn|jump|bastion|intranet|intra|internal|corp|prod|infra|staging|ldap|nas|mgmt|jenkins|"
    r"fileserver)|"
    r"[a-z]+(?:-[a-z0-9]+)*-\d+)\Z",
    re.IGNORECASE,
)
_IPV4 = re.compile(rf"{WORD_START}(?<![.-])(?:\d{{1,3}}\.){{3}}\d{{1,3}}{WORD_END}(?!-|\.\d)")
_IPV6 = re.compile(
    rf"{WORD_START}(?<![:.])(?:[0-9A-Fa-f]{{0,4}}:){{2,7}}[0-9A-Fa-f]{{0,4}}{WORD_END}(?!:)"
)
_PREFIX = re.compile(r"/\d{1,3}(?!\d)")  # behind the address of a network
# Ranges of addresses that everyone has.
_RANGES = frozenset(
    ipaddress.ip_network(each)
    for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10")
)
_BEFORE = 32  # characters in front of an address that may say it is a version
_VERSION = re.compile(
    r"(?:\bv|version|release|build|firmware|版本|chapter|section|§|kapitel|chapitre|abschnitt|第|ratio)\s*\Z",
    re.IGNORECASE,
)
# The folder of a user, on Linux, macOS and Windows; the name is what is replaced.
_HOME = re.compile(
    r"(?:(?<![A-Za-z0-9_.])/(?:home|Users|export/home|var/home)/|(?<![A-Za-z0-9])[A-Za-z]:[\\/]+Users[\\/]+|(?<![\w/])~(?=[A-Za-z]))"
    r"([^\s/\\:*?\"'<>|,;)\]]{1,64})"
)
# Who logs in, in the log of sshd.
_LOGGED_IN = re.compile(
    r"\b(?:(?:Accepted|Failed) [a-z/-]{1,32} for (?:invalid user )?|Invalid user |"
    r"(?:authenticating|invalid) user )([A-Za-z_][\w.-]{0,31})(?= )"
)
_NO_USERS = frozenset(
    {"shared", "public", "default", "runner", "user", "username", "you", "name", "me", "root"}
)


def find_hosts(text: str) -> Iterator[SensitiveSpan]:
    """Names of machines and IP addresses, but for loopback and public sites.

    A site is what has no name of a machine in front, such as ``docs.python.org``.
    """
    for pattern in (_HOST, _URL_HOST):
        for match in pattern.finditer(text):
            group = match.lastindex or 0
            if is_machine(match.group(group)):
                yield SensitiveSpan(match.start(group), match.end(group), DataKind.HOST)
    for match in _LOGIN.finditer(text):
        host = match.group(1)
        if "." not in host or is_machine(host):
            yield SensitiveSpan(match.start(1), match.end(1), DataKind.HOST)
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            prefix = _PREFIX.match(text, match.end())
            if prefix is not None and _is_network(match.group() + prefix.group()):
                continue
            before = text[max(0, match.start() - _BEFORE) : match.start()]
            if not _VERSION.search(before) and _is_address(match.group()):
                yield SensitiveSpan(match.start(), match.end(), DataKind.HOST)


def is_machine(host: str) -> bool:
    """Whether a name with dots is one of a machine rather than of a public site."""
    if _PRIVATE.search(host):
        return True
    labels = host.split(".")
    return len(labels) >= 3 and any(_MACHINE.match(each) for each in labels[:-2])


def _is_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or text == "255.255.255.255")


def _is_network(text: str) -> bool:
    """Whether ``text`` is a range that everyone has, such as 10.0.0.0/8."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return False
    return network in _RANGES


def find_users(text: str) -> Iterator[SensitiveSpan]:
    """Names of users in paths, and in logs of logins."""
    for pattern in (_HOME, _LOGGED_IN):
        for match in pattern.finditer(text):
            name = match.group(1).rstrip(".")
            if name.lower() not in _NO_USERS and not name.startswith(("$", "{", "<", "%", "[")):
                yield SensitiveSpan(match.start(1), match.start(1) + len(name), DataKind.USER)
