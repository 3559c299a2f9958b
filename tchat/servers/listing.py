"""The models of all servers: of `config.toml`, and of Ollama and LM Studio on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tchat.egress.egress_log import EgressLog
from tchat.errors import TchatError
from tchat.servers.api_key import find_key
from tchat.servers.config import Server
from tchat.servers.connection import ServerConnection, Stopped
from tchat.servers.description import kind_of, read_models

SECONDS = 3.0  # for one server
PARALLEL = 8
# Programs that serve models on this machine: their folder at home, and where they listen.
LOCAL = (
    (".ollama", "ollama", "http://127.0.0.1:11434"),
    (".lmstudio", "lm-studio", "http://127.0.0.1:1234"),
)


@dataclass(frozen=True, slots=True)
class ServedRow:
    """A model on a server.

    Attributes:
        name: What ``-m`` takes.
        server: Its server.
        kind: The title of what the server is.
        context: Tokens of context; 0 where the list of models does not tell.
    """

    name: str
    server: Server
    kind: str
    context: int


@dataclass(frozen=True, slots=True)
class Listing:
    """The models of servers, and the errors of those that could not be asked."""

    rows: tuple[ServedRow, ...]
    errors: tuple[TchatError, ...]


def local_servers(
    known: Sequence[Server], environ: Mapping[str, str] = os.environ
) -> Iterator[tuple[str, Server]]:
    """Servers on this machine that belong to programs installed here, with the head of names.

    Not those among the ``known``.
    """
    home = Path(environ.get("HOME") or "/nonexistent")
    hosts = {server.host.replace("localhost", "127.0.0.1") for server in known}
    for folder, name, url in LOCAL:
        server = Server(name, f"{url}/v1", kind=name, timeout=SECONDS)
        if server.host not in hosts and (home / folder).is_dir():
            yield url, server


def list_models(
    servers: Sequence[Server],
    egress: EgressLog,
    environ: Mapping[str, str] = os.environ,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Listing:
    """Ask all servers for their models, side by side; ``egress`` logs it.

    A program on this machine that does not serve at the moment is no error.
    """

    def ask(head: str, server: Server) -> tuple[ServedRow, ...] | TchatError:
        try:
            connection = ServerConnection(server, egress, find_key(server, environ))
            try:
                models = read_models(connection, is_stopped, SECONDS)
                kind = kind_of(connection, models)
            finally:
                connection.close()
        except Stopped:
            return ()
        except TchatError as error:
            return error
        return tuple(
            ServedRow(f"{head}/{each.id}", server, kind.title, server.ctx_size or each.context)
            for each in models
        )

    local = list(local_servers(servers, environ))
    asked = [*((server.name, server) for server in servers), *local]
    if not asked:
        return Listing((), ())
    with ThreadPoolExecutor(PARALLEL) as pool:
        found = list(pool.map(lambda pair: ask(*pair), asked))
    rows = [row for each in found if not isinstance(each, TchatError) for row in each]
    errors = [each for each in found[: len(servers)] if isinstance(each, TchatError)]
    return Listing(tuple(rows), tuple(errors))
