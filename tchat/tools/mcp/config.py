"""The file ``mcp.json``: which MCP servers there are, in the form that other programs use too.

::

    {"mcpServers": {
        "files": {"command": "npx", "args": ["-y", "some-server"], "env": {"KEY": "${KEY}"}},
        "search": {"url": "https://example.org/mcp", "headers": {"Authorization": "Bearer …"}}
    }}

``${NAME}``, ``${NAME:-default}`` and ``${env:NAME}`` stand for environment variables. Keys that
tchat does not know are kept.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tchat.errors import StorageError, UsageError
from tchat.paths import expanded
from tchat.private_files import write_private
from tchat.sanitize import single_line
from tchat.settings.endpoints import is_loopback_name
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.tools.outgoing import OutgoingArguments

MAX_FILE = 1 << 20  # bytes
MAX_SERVERS = 32
SECTION = "mcpServers"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_NOT_IN_TOOL_NAMES = re.compile(r"[^A-Za-z0-9-]+")
_LONGEST_PREFIX = 40  # of the 64 characters of a tool's name
HIDDEN = "…"  # stands for a secret
_SECRET_NAME = re.compile(
    r"(?i)pass(word|phrase|wd)?$|secret|token|api[_-]?key|access[_-]?key|auth"
)
_USER = re.compile(r"(?<=://)[^/@\s]*@")
_QUERY = re.compile(r"(\bhttps?://[^\s?#]*[?#])\S+")
_REMOTE_TYPES = ("http", "streamable-http", "streamable_http", "streamableHttp")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """An MCP server of the user.

    Attributes:
        name: As the file has it.
        command: The program that is the server, with its arguments; empty for one elsewhere.
        env: Variables for the program.
        cwd: The folder that it starts in; empty for the current one.
        url: Where the server is, if it is not started here.
        headers: HTTP headers for it.
        is_enabled: Whether chats use it.
        redact: Whether personal data and secrets in calls are replaced, wherever it runs.
        problem: Why tchat cannot use it; empty where it can.
    """

    name: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_enabled: bool = True
    redact: bool = False
    problem: str = ""

    @property
    def short_name(self) -> str:
        """The name for ``@NAME:URI`` and in front of tools: letters, digits, ``_``, ``-``, ``.``"""
        return _NOT_IN_NAMES.sub("_", self.name)[:64].strip("_") or "server"

    @property
    def tool_prefix(self) -> str:
        """What the names of its tools begin with.

        The name of a server has no ``__`` there: rules for one server are about no other.
        """
        plain = _NOT_IN_TOOL_NAMES.sub("_", self.short_name)[:_LONGEST_PREFIX].strip("_")
        return f"{plain or 'server'}__"

    @property
    def transport(self) -> str:
        """``stdio`` or ``http``."""
        return "http" if self.url else "stdio"

    @property
    def outgoing(self) -> OutgoingArguments | None:
        """How calls are redacted; None for a server on this machine, unless the user wants it."""
        from tchat.tools.outgoing import OutgoingArguments, redact_all

        is_here = not self.url or is_loopback_name(urlsplit(self.url).hostname or "")
        return None if is_here and not self.redact else OutgoingArguments(redact_all, self.redact)

    @property
    def target(self) -> str:
        """The address, or the command as one line, with ``…`` in place of secrets."""
        import shlex

        if self.url:
            return self.shown_url
        words = self.shown_command
        return " ".join(word if HIDDEN in word else shlex.quote(word) for word in words)

    @property
    def shown_url(self) -> str:
        """The address with ``…`` in place of a user name, a password and a query."""
        return _without_query_and_user(self.url)

    @property
    def shown_command(self) -> tuple[str, ...]:
        """The command with ``…`` in place of what looks like a secret, or is called one."""
        from tchat.redaction.secret_keys import find_secret_keys

        shown, is_secret = [], False
        for word in self.command:
            text = _without_query_and_user(word)
            for span in sorted(find_secret_keys(text), key=lambda each: -each.start):
                text = text[: span.start] + HIDDEN + text[span.end :]
            name, equals, value = text.partition("=")
            if _SECRET_NAME.search(name) and equals and not value.startswith("${"):
                text = f"{name}={HIDDEN}"
            shown.append(HIDDEN if is_secret and not word.startswith(("-", "${")) else text)
            is_secret = word.startswith("-") and not equals and bool(_SECRET_NAME.search(word))
        return tuple(shown)

    def with_variables(self, environ: Mapping[str, str] = os.environ) -> ServerConfig:
        """This server with environment variables in place of ``${NAME}``.

        Raises:
            UsageError: A variable is not set and has no default.
        """

        def value(text: str) -> str:
            return _VARIABLE.sub(lambda match: self._variable(match, environ), text)

        return ServerConfig(
            self.name,
            _expanded(tuple(map(value, self.command))),
            {name: value(text) for name, text in self.env.items()},
            str(expanded(value(self.cwd))) if self.cwd else "",
            value(self.url),
            {name: value(text) for name, text in self.headers.items()},
            self.is_enabled,
            self.redact,
        )

    def _variable(self, match: re.Match[str], environ: Mapping[str, str]) -> str:
        name, default = match.groups()
        found = environ.get(name, default)
        if found is None:
            raise UsageError(
                tr(
                    "the MCP server {name} needs the environment variable {variable}",
                    name=single_line(self.name),
                    variable=name,
                ),
                tr("set it, or write ${{{variable}:-default}} in mcp.json", variable=name),
            )
        return found


def _without_query_and_user(text: str) -> str:
    return _QUERY.sub(rf"\1{HIDDEN}", _USER.sub(f"{HIDDEN}@", text))


def _expanded(command: tuple[str, ...]) -> tuple[str, ...]:
    return (str(expanded(command[0])), *command[1:]) if command else ()


def read_servers(path: Path) -> dict[str, ServerConfig]:
    """The servers of ``mcp.json`` by name; empty where there is no such file.

    Raises:
        UsageError: It is not in the expected form, or others may change it.
        StorageError: It cannot be read.
    """
    return _checked(_document(path), path)


def _checked(document: Mapping[str, Any], path: Path) -> dict[str, ServerConfig]:
    entries = _entries(document, path)
    servers = {name: _server(name, entry, path) for name, entry in entries.items()}
    if len(servers) > MAX_SERVERS:
        raise _wrong(path, tr("it has more than {most} MCP servers", most=MAX_SERVERS))
    known: dict[str, str] = {}
    for server in servers.values():
        names = (server.short_name, server.tool_prefix)
        other = next((known[each] for each in names if each in known), None)
        known |= dict.fromkeys(names, server.name)
        if other is not None:
            raise _wrong(
                path,
                tr(
                    "`{name}` and `{other}` are too much alike",
                    name=single_line(server.name),
                    other=single_line(other),
                ),
            )
    return servers


def find_server(path: Path, name: str) -> ServerConfig:
    """The server called ``name``.

    Raises:
        UsageError: There is none; names those that there are.
        StorageError: The file cannot be read.
    """
    servers = read_servers(path)
    if name in servers:
        return servers[name]
    by_short_name = {each.short_name: each for each in servers.values()}
    if name in by_short_name:
        return by_short_name[name]
    raise UsageError(
        tr("there is no MCP server `{name}`", name=single_line(name)),
        tr("there are {names}", names=", ".join(map(single_line, servers)))
        if servers
        else tr("add one with `tchat mcp add`"),
    )


def add_server(path: Path, server: ServerConfig) -> None:
    """Add ``server`` to ``mcp.json``; everything else in the file is kept.

    Raises:
        UsageError: Its name is not usable or taken, or the file is not in the expected form.
        StorageError: The file cannot be read or written.
    """
    if not _NAME.fullmatch(server.name):
        raise UsageError(
            tr("`{name}` cannot be the name of an MCP server", name=single_line(server.name)),
            tr("use letters, digits, _, - and ., at most 64"),
        )
    document = _document(path)
    entries = _entries(document, path)
    if server.name in entries:
        raise UsageError(
            tr("there is an MCP server {name} already", name=server.name),
            tr("`tchat mcp rm {name}` removes it", name=server.name),
        )
    changed = {**document, SECTION: {**entries, server.name: _entry(server)}}
    _checked(changed, path)  # a file that cannot be used takes all servers from all chats
    _write(path, changed)


def remove_server(path: Path, name: str) -> str:
    """Remove a server from ``mcp.json``, and return its name; the rest of the file is kept.

    Raises:
        UsageError: There is none of that name, or the file is not in the expected form.
        StorageError: The file cannot be read or written.
    """
    document = _document(path)
    entries = dict(_entries(document, path))
    if name not in entries:  # the file need not be usable for one that is there
        name = find_server(path, name).name
    del entries[name]
    _write(path, {**document, SECTION: entries})
    return name


def _write(path: Path, document: Mapping[str, Any]) -> None:
    write_private(path, f"{json.dumps(document, indent=2, ensure_ascii=False)}\n".encode())


def _entry(server: ServerConfig) -> dict[str, Any]:
    if server.url:
        entry: dict[str, Any] = {"url": server.url}
    else:
        entry = {"command": server.command[0], "args": list(server.command[1:])}
    for key, value in (("env", server.env), ("cwd", server.cwd), ("headers", server.headers)):
        if value:
            entry[key] = dict(value) if isinstance(value, Mapping) else value
    return entry


def _document(path: Path) -> dict[str, Any]:
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode) or info.st_size > MAX_FILE:
            raise _wrong(path, tr("it is no file of at most {most} KB", most=MAX_FILE >> 10))
        if os.name == "posix" and info.st_mode & stat.S_IWOTH:
            # Whoever writes to it starts programs as the user.
            raise _wrong(path, tr("others may change it: chmod o-w {path}", path=path))
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(
            tr("cannot read {path}: {reason}", path=path, reason=error.strerror),
            tr("check its permissions"),
        ) from error
    except UnicodeDecodeError:
        raise _wrong(path, tr("it is not UTF-8")) from None
    try:
        document = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise _wrong(path, single_line(str(error))) from None
    if not isinstance(document, dict):
        raise _wrong(path, tr("it is no JSON object"))
    return document


def _entries(document: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    entries = document.get(SECTION, {})
    if not isinstance(entries, dict):
        raise _wrong(path, tr("`{key}` is no JSON object", key=SECTION))
    return entries


def _server(name: str, entry: object, path: Path) -> ServerConfig:
    shown = single_line(name, 64)
    if not isinstance(entry, dict):
        raise _wrong(path, tr("`{name}` is no JSON object", name=shown))
    command, url = entry.get("command", ""), entry.get("url") or entry.get("serverUrl") or ""
    if not isinstance(command, str) or not isinstance(url, str) or bool(command) == bool(url):
        raise _wrong(path, tr("`{name}` needs either a `command` or a `url`", name=shown))
    kind = single_line(str(entry.get("type", "")), 40)
    problem = ""
    if url and kind not in ("", *_REMOTE_TYPES):
        # Others in the file are used all the same.
        problem = tr(
            "the MCP server {name} has the type {type}; tchat knows stdio and http",
            name=shown,
            type=kind,
        )
    if url and not url.startswith(("http://", "https://", "${")):
        raise _wrong(path, tr("the `url` of `{name}` is no http address", name=shown))
    cwd = entry.get("cwd") or ""
    if not isinstance(cwd, str):
        raise _wrong(path, tr("`{key}` of `{name}` must be text", key="cwd", name=shown))
    return ServerConfig(
        name=name,
        command=(command, *_texts(entry, "args", shown, path)) if command else (),
        env=_variables(entry, "env", shown, path),
        cwd=cwd,
        url=url,
        headers=_variables(entry, "headers", shown, path),
        is_enabled=entry.get("disabled") is not True and entry.get("enabled") is not False,
        redact=entry.get("redact") is True,
        problem=problem,
    )


def _texts(entry: Mapping[str, Any], key: str, name: str, path: Path) -> Sequence[str]:
    values = entry.get(key) or []
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise _wrong(path, tr("`{key}` of `{name}` must be a list of texts", key=key, name=name))
    return values


def _variables(entry: Mapping[str, Any], key: str, name: str, path: Path) -> dict[str, str]:
    values = entry.get(key) or {}
    if not isinstance(values, dict) or any(
        not isinstance(each, str | int | float) for each in values.values()
    ):
        raise _wrong(path, tr("`{key}` of `{name}` must hold texts by name", key=key, name=name))
    return {each: str(value) for each, value in values.items()}


def _wrong(path: Path, reason: str) -> UsageError:
    return UsageError(
        tr("{path} cannot be used: {reason}", path=path, reason=reason),
        tr("correct it, or move it away"),
    )
