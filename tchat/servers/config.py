"""The servers in ``config.toml``, and the names by which their models go.

::

    [servers.gpu]
    url = "https://gpu.example.org:8000/v1"
    model = "Qwen/Qwen3-32B"
    key_env = "GPU_API_KEY"

`gpu` is then the model of this name there, and `gpu/NAME` any other. A URL with a model behind it,
`http://host:8000/NAME`, needs no entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from tchat.errors import UsageError
from tchat.paths import Paths
from tchat.sanitize import single_line
from tchat.settings.endpoints import is_loopback_name
from tchat.settings.keys import did_you_mean
from tchat.settings.load import EDIT_HINT, parse_toml, read_text, rewrite
from tchat.settings.schema import SERVERS, has_url_scheme
from tchat.translation import N_, tr

TIMEOUT = 300.0  # seconds without a byte: a long prompt may take minutes before the first one
LONGEST_TIMEOUT = 86_400.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LONGEST_URL = 2048
RESERVED = frozenset({"starter", "http", "https"})  # the default model, and beginnings of URLs
# Names under which a key might be written in clear.
CLEAR_KEYS = frozenset({"key", "api_key", "token", "api_token", "password", "secret"})
KEY_HINT = N_("name the variable that holds it as key_env, or keep it in the keyring: "
              "tchat servers add NAME URL --keyring")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Server:
    """A server; its attributes are the keys of its table.

    Attributes:
        url: Base URL, as far as ``/v1``.
        model: The model that its name alone stands for; empty for the only one there.
        key_env: The environment variable with its API key; empty for none.
        keyring: Whether the key is in the system's keyring.
        timeout: Seconds without a byte until it is given up.
        private: Whether private sessions may be sent to it.
        kind: What it is, by its name in `tchat.servers.kinds`; empty to find out.
        ctx_size: Tokens of context, where it does not tell; 0 for what it tells.
        insecure: Whether the key may be sent to it over plain HTTP.
        redact: Whether personal data and secrets are replaced before they are sent to it.
    """

    name: str
    url: str
    model: str = ""
    key_env: str = ""
    keyring: bool = False
    timeout: float = TIMEOUT
    private: bool = False
    kind: str = ""
    ctx_size: int = 0
    insecure: bool = False
    redact: bool = False

    @property
    def host(self) -> str:
        """Its host and port, for messages."""
        return single_line(urlsplit(self.url).netloc, 100)

    @property
    def is_loopback(self) -> bool:
        """Whether it runs on this machine."""
        return is_loopback_name(urlsplit(self.url).hostname or "")


class ServerModel(NamedTuple):
    """A model on a server; an empty name is the only one there."""

    server: Server
    model: str


def find_server_model(name: str, servers: Mapping[str, Any], origin: str) -> ServerModel | None:
    """The server and the model that ``name`` stands for; None if it names no server.

    Args:
        name: What ``-m`` names.
        servers: The table ``[servers]`` of ``config.toml``.
        origin: Its file, for messages.

    Raises:
        UsageError: It names one that is not described correctly.
    """
    if has_url_scheme(name):
        return _model_at_url(name)
    head, _, model = name.partition("/")
    if head not in servers:
        return None
    server = parse_server(head, servers[head], origin)
    return ServerModel(server, model or server.model)


def _model_at_url(url: str) -> ServerModel:
    parts = require_url(url)
    path = parts.path.strip("/")
    base, is_versioned, model = f"/{path}".partition("/v1")
    if not is_versioned or model[:1] not in ("", "/"):
        base, model = "", path
    address = f"{parts.scheme}://{parts.netloc}{base}/v1"
    return ServerModel(Server(parts.netloc, address), unquote(model.strip("/")))


def require_url(url: str) -> SplitResult:
    """The parts of the URL of a server.

    Raises:
        UsageError: It is no URL of a server, or holds what does not belong there.
    """
    shown = single_line(re.sub(r"([?#]).+", r"\1…", re.sub(r"//[^/@]*@", "//…@", url)), 100)
    hint = tr("write it like https://host:8000/v1")
    try:
        url.encode("ascii")
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except (ValueError, UnicodeError):
        host, port = None, None
    if not host or len(url) > LONGEST_URL or re.search(r"[\x00-\x20\x7f\\]", url) or port == 0:
        raise UsageError(tr("{url} is not the URL of a server", url=shown), hint)
    if parts.scheme not in ("http", "https"):
        raise UsageError(tr("{url} is not the URL of a server", url=shown), hint)
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            tr("the URL of a server must not hold a user name or password"), tr(KEY_HINT)
        )
    if parts.query or parts.fragment:
        raise UsageError(tr("the URL of a server must not hold a query: {url}", url=shown), hint)
    return parts


def base_url(url: str) -> str:
    """The base URL of a server, checked; ``/v1`` is added where there is no path."""
    parts = require_url(url)
    path = parts.path.rstrip("/") or "/v1"
    for ending in ("/chat/completions", "/models"):
        path = path.removesuffix(ending)
    return f"{parts.scheme}://{parts.netloc}{path}"


def parse_server(name: str, table: object, origin: str) -> Server:
    """The server ``name`` of its table.

    Raises:
        UsageError: Something in it is wrong; ``origin`` is where.
    """
    where = tr("`{servers}.{name}` (in {origin})", servers=SERVERS, name=name, origin=origin)
    require_name(name)
    if not isinstance(table, Mapping):
        raise UsageError(tr("{where} must be a table", where=where), tr(EDIT_HINT))
    kinds = {each.name: type(each.default) for each in fields(Server) if each.name != "name"}
    kinds["url"] = str
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in CLEAR_KEYS:
            raise UsageError(
                tr("{where} holds `{key}`: keys are not kept in clear", where=where, key=key),
                tr(KEY_HINT),
            )
        if key not in kinds:
            raise UsageError(
                tr("{where}: there is no `{key}`", where=where, key=single_line(key, 40)),
                did_you_mean(key, kinds) or tr(EDIT_HINT),
            )
        number = kinds[key] is float and type(value) is int
        if not number and type(value) is not kinds[key]:
            raise UsageError(
                tr("{where}: `{key}` is of the wrong type", where=where, key=key), tr(EDIT_HINT)
            )
        values[key] = float(value) if number else value
    if not values.get("url"):
        raise UsageError(tr("{where} has no url", where=where), tr(EDIT_HINT))
    values["url"] = base_url(values["url"])
    return require_server(Server(name, **values), where)


def require_server(server: Server, where: str) -> Server:
    """The server, if its values can be used.

    Raises:
        UsageError: One cannot.
    """
    from tchat.servers.kinds import KINDS

    if server.kind and server.kind not in KINDS:
        raise UsageError(
            tr("{where}: kind is one of {kinds}", where=where, kinds=", ".join(KINDS)),
            did_you_mean(server.kind, KINDS),
        )
    if not 0 < server.timeout <= LONGEST_TIMEOUT:
        raise UsageError(
            tr("{where}: timeout is a number of seconds above 0", where=where), tr(EDIT_HINT)
        )
    if server.ctx_size < 0:
        raise UsageError(tr("{where}: ctx_size is a number of tokens", where=where), tr(EDIT_HINT))
    if server.key_env and not VARIABLE.fullmatch(server.key_env):
        # It may be the key itself, so it is not repeated.
        raise UsageError(
            tr("{where}: key_env is the name of an environment variable", where=where),
            tr("for example OPENAI_API_KEY"),
        )
    if server.key_env and server.keyring:
        raise UsageError(
            tr("{where}: key_env and keyring exclude each other", where=where), tr("leave one out")
        )
    return server


def require_name(name: str) -> None:
    """Check the name of a server.

    Raises:
        UsageError: It has characters that such a name has not, or means something else.
    """
    if name.lower() in RESERVED:
        raise UsageError(
            tr("a server cannot be called {name}", name=name),
            tr("prompts meant for the model in this process would go there; choose another name"),
        )
    if not NAME.fullmatch(name):
        raise UsageError(
            tr("{name!r} is no name for a model server", name=single_line(name, 64)),
            tr("use letters, digits, dots, dashes and underscores"),
        )


def server_tables(paths: Paths) -> Mapping[str, Any]:
    """The table ``[servers]`` of the user's ``config.toml``.

    Raises:
        UsageError: The file is not TOML, or this is no table.
        StorageError: It cannot be read.
    """
    path = paths.config_file
    found = parse_toml(read_text(path), path).get(SERVERS, {})
    if not isinstance(found, Mapping):
        raise UsageError(
            tr(
                "`{section}` (in {path}) must be a table, written [{section}]",
                section=SERVERS,
                path=path,
            )
        )
    return found


def read_servers(paths: Paths) -> dict[str, Server]:
    """The user's servers by name; errors as of `server_tables` and `parse_server`."""
    origin = str(paths.config_file)
    return {name: parse_server(name, table, origin) for name, table in server_tables(paths).items()}


def find_server(name: str, paths: Paths) -> Server:
    """The server called ``name``.

    Raises:
        UsageError: There is none, or it is not described correctly.
    """
    tables = server_tables(paths)
    if name not in tables:
        raise UsageError(
            tr("no model server is called {name}", name=single_line(name, 64)),
            did_you_mean(name, tables) or tr("`tchat servers ls` lists them"),
        )
    return parse_server(name, tables[name], str(paths.config_file))


def save_server(paths: Paths, server: Server) -> None:
    """Write ``server`` to ``config.toml``, in place of one of its name; comments are kept."""

    def change(document: Any) -> None:
        import tomlkit

        tables = document.setdefault(SERVERS, tomlkit.table(is_super_table=True))
        table = tomlkit.table()
        for each in fields(Server):
            value = getattr(server, each.name)
            if each.name != "name" and (each.name == "url" or value != each.default):
                table[each.name] = value
        tables[server.name] = table

    rewrite(paths.config_file, change)


def remove_server(paths: Paths, name: str) -> None:
    """Remove the server ``name`` from ``config.toml``."""

    def change(document: Any) -> None:
        tables = document[SERVERS]
        tables.pop(name)
        if not tables:
            document.pop(SERVERS)

    rewrite(paths.config_file, change)
