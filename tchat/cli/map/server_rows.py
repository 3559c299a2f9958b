"""Rows that servers answer: a pool of them, asked for their models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import combinations, islice
from typing import TYPE_CHECKING, Any, TypeVar

from tchat.chat.server_model import open_server_model
from tchat.cli.console import Console
from tchat.cli.output.status import TerminalStatus, print_notice
from tchat.engine.binding import Cancel
from tchat.engine.engine_thread import run_on_engine_thread
from tchat.errors import UsageError
from tchat.models.model_sampling import with_model_sampling
from tchat.sanitize import single_line
from tchat.servers.pool import PooledServer, ServerPool
from tchat.settings import Settings
from tchat.translation import tr, trn

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")
MOST_SERVERS = 1000
TAIL = 4  # characters of the name of a call that stand for the models
MOST_TRIED = 1000  # sets of models of one size that may have answered before


@dataclass(frozen=True, slots=True)
class ServerRows:
    """An open pool.

    Attributes:
        models: The names of the models that answer, sorted, each once.
        has_unknown: Whether a server does not answer yet, whose model is not known so.
    """

    pool: ServerPool
    models: tuple[str, ...]
    has_unknown: bool
    _cancel: Cancel

    def call(self, name: str) -> str:
        """The call ``name`` with these models."""
        return name[:-TAIL] + _tail(self.models)

    def resumes(self, call: str, earlier: str) -> bool:
        """Whether ``call`` goes on with ``earlier``, for which other servers may have been up.

        It had some of the models, or others that a server may have which does not answer now.
        """
        if call[:-TAIL] != earlier[:-TAIL]:
            return False
        some = (each for size in range(1, len(self.models)) for each in self._some(size))
        return self.has_unknown or any(earlier.endswith(_tail(each)) for each in some)

    def _some(self, size: int) -> Iterator[tuple[str, ...]]:
        return islice(combinations(self.models, size), MOST_TRIED)

    def run(self, console: Console, work: Callable[[ServerPool, TerminalStatus], T]) -> T:
        """Run ``work``, which signals stop.

        Raises:
            Interrupted: A signal stopped it.
        """
        return run_on_engine_thread(lambda: _with_status(console, self.pool, work), self._cancel)


def _tail(models: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(models).encode()).hexdigest()[:TAIL]


def _with_status(
    console: Console, pool: ServerPool, work: Callable[[ServerPool, TerminalStatus], T]
) -> T:
    with TerminalStatus(console) as status:
        return work(pool, status)


def split_names(text: str) -> tuple[str, ...]:
    """The servers in ``--servers``, each once.

    Raises:
        UsageError: There is none, or too many.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(names) or len(names) > MOST_SERVERS:
        raise UsageError(
            tr("--servers takes names of servers, separated by commas"),
            tr("for example --servers lab,gpu; see `tchat servers ls`"),
        )
    return names


@contextmanager
def open_server_rows(
    names: Sequence[str],
    in_flight: int,
    settings: Settings,
    console: Console,
    schema: Mapping[str, Any] | None = None,
) -> Iterator[ServerRows]:
    """Ask the servers ``names``, each as ``-m`` takes it, for their models.

    Args:
        names: Of the servers.
        in_flight: Rows at a time for each; 0 for what its kind takes.
        settings: Those of the rows.
        console: Gets a line for each server.
        schema: The JSON schema that replies must have.

    Raises:
        UsageError: One is not described correctly, or its key is missing.
        ServerError: None answers.
        Interrupted: A signal stopped it.
    """
    cancel = Cancel()
    with ExitStack() as opened:
        servers = []
        for name in names:
            own = replace(settings, model=name)
            backend, metadata = open_server_model(own, console.paths, cancel)
            opened.callback(backend.close)
            backend.schema = schema
            own = with_model_sampling(own, console.paths, metadata)
            servers.append(PooledServer(backend, own.sampling))
        pool = ServerPool(servers, cancel, in_flight)

        def ask(pool: ServerPool, status: TerminalStatus) -> None:
            status.show(tr("asking {servers}", servers=", ".join(each.name for each in servers)))
            for notice in pool.open():
                print_notice(console, status, notice)

        run_on_engine_thread(lambda: _with_status(console, pool, ask), cancel)
        up = [each for each in servers if each.error is None]
        for each in up:
            _print_server(console, pool, each)
        known = {each.backend.description.model.id for each in up}
        if len(known) > 1:
            console.notice(
                tr("the models have different names: {names}", names=_listed(sorted(known)))
            )
        yield ServerRows(pool, tuple(sorted(known)), len(up) < len(servers), cancel)


def _print_server(console: Console, pool: ServerPool, server: PooledServer) -> None:
    limit = pool.limit_of(server)
    console.notice(
        trn(
            "{name}: {count} row at a time goes to {model} on {host}",
            "{name}: {count} rows at a time go to {model} on {host}",
            limit,
            name=server.name,
            model=single_line(server.backend.description.model.id, 80),
            host=server.backend.server.host,
        )
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(single_line(name, 80) for name in names)
