"""Rows over a cluster of Ray: workers that each hold an engine, on the nodes that have room."""

from __future__ import annotations

import importlib
import logging
import socket
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tchat.cli.console import Console
from tchat.cli.map.ray_worker import RowWorker, SentFile
from tchat.cli.map.spread import Chunk, WorkerLost
from tchat.egress.egress_log import Purpose, open_egress_log
from tchat.engine.batch import BatchOptions, BatchResult
from tchat.errors import NetworkError, TchatError, UsageError
from tchat.models.metadata import MetadataCache
from tchat.models.model_sampling import with_model_sampling
from tchat.models.models_file import settings_for
from tchat.models.resolve import resolve_chosen
from tchat.sanitize import single_line
from tchat.settings import Settings
from tchat.translation import tr, trn

CONNECT_SECONDS = 10.0
LONGEST_REASON = 160  # characters of what Ray says


@dataclass(frozen=True, slots=True)
class RayRequest:
    """The flags: the address, how many workers (0: as many as there is room for), their CPUs."""

    address: str
    workers: int = 0
    cpus: int = 1


def import_ray() -> Any:
    """The package.

    Raises:
        UsageError: It is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise UsageError(
            tr("--ray needs the package `ray`"), tr("install it: pip install 'tchat[ray]'")
        ) from None


@contextmanager
def open_fleet(
    request: RayRequest,
    settings: Settings,
    options: BatchOptions,
    console: Console,
) -> Iterator[RayFleet]:
    """Join the cluster, and start the workers.

    Raises:
        UsageError: Ray is not installed, or there is no room for a worker.
        ModelError: The model is not there.
        NetworkError: The cluster cannot be reached.
    """
    ray = import_ray()
    path = resolve_chosen(settings, console.paths)
    with MetadataCache(console.paths) as cache:
        metadata = cache.metadata(path)
    settings = settings_for(settings, console.paths, path)
    sampling = with_model_sampling(settings, console.paths, metadata).sampling
    settings = replace(settings, threads=request.cpus, draft_model="")
    files = [SentFile.of(each) for each in (path, *metadata.parts)]
    _join(ray, request.address)
    try:
        egress = open_egress_log(console.paths)
        for host in _hosts(ray, request.address):
            egress.note_connection(Purpose.RAY, host)
        if problem := egress.take_problem():
            console.notice(problem)
        total = ray.cluster_resources()
        gpus = 1 if total.get("GPU") else 0
        room = int(total.get("CPU", 0)) // request.cpus
        count = request.workers or (min(room, int(total["GPU"])) if gpus else room)
        if not room:
            raise UsageError(
                tr("no node has {cpus} CPUs for a worker", cpus=request.cpus),
                tr("give a smaller --cpus-per-worker"),
            )
        actor = ray.remote(num_cpus=request.cpus, num_gpus=gpus)(RowWorker)
        fleet = RayFleet(
            ray, lambda: actor.remote(files, settings, replace(options, sampling=sampling)), files
        )
        fleet.start(count)
        console.notice(
            trn(
                "{count} worker on {nodes}",
                "{count} workers on {nodes}",
                count,
                nodes=trn("{count} node", "{count} nodes", _nodes(ray)),
            )
        )
        try:
            yield fleet
        finally:
            fleet.close()
    finally:
        ray.shutdown()


def _hosts(ray: Any, address: str) -> set[str]:
    """Where files and rows go: to the address that was named, else to the other nodes."""
    if address == "local":
        return set()
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        return {host}
    own = ray.util.get_node_ip_address()
    return {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]} - {own}


def _nodes(ray: Any) -> int:
    return sum(bool(node["Alive"]) for node in ray.nodes())


def _join(ray: Any, address: str) -> None:
    options = {"include_dashboard": False} if address == "local" else {}
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdecimal():  # Ray itself waits for minutes where nothing listens
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (RuntimeError, ValueError, OverflowError, OSError) as error:
        raise NetworkError(
            tr(
                "cannot join the Ray cluster {address}: {reason}",
                address=single_line(address, 80),
                reason=single_line(str(error), LONGEST_REASON),
            ),
            tr("start one with `ray start --head`, or run --ray local"),
        ) from None


class RayFleet:
    """The workers of a cluster, as a `Fleet`.

    Args:
        ray: The package.
        make: Starts an actor.
        files: The model's.
    """

    def __init__(self, ray: Any, make: Any, files: Sequence[SentFile]) -> None:
        self._ray, self._make, self._files = ray, make, files
        self._starting: dict[Any, Any] = {}  # actors by the reference to their start
        self._ready: list[Any] = []
        self._pieces: list[list[Any]] | None = None

    def start(self, count: int) -> None:
        """Start ``count`` more workers; each is ready once its model is loaded."""
        for _ in range(count):
            actor = self._make()
            self._starting[actor.load.remote(None)] = actor

    def close(self) -> None:
        """End all workers."""
        for actor in (*self._ready, *self._starting.values()):
            self._ray.kill(actor)

    def ready(self) -> Collection[Any]:
        """The workers that have their model."""
        for ref in self._done(list(self._starting), 0):
            actor = self._starting.pop(ref)
            try:
                loaded = self._ray.get(ref)
            except self._ray.exceptions.RayError:
                self.start(1)  # its node died
                continue
            if isinstance(loaded, TchatError):
                raise loaded
            if loaded:
                self._ready.append(actor)
            else:
                self._starting[actor.load.remote(self._sent())] = actor
        return self._ready

    def submit(self, worker: Any, chunk: Chunk) -> Any:
        """Let ``worker`` answer ``chunk``."""
        return worker.answer.remote(chunk)

    def wait(self, handles: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Those that have an outcome."""
        return self._done(handles, seconds)

    def results(self, worker: Any, handle: Any) -> Sequence[BatchResult]:
        """The outcome of a handle."""
        try:
            found: Sequence[BatchResult] | TchatError = self._ray.get(handle)
        except self._ray.exceptions.RayError as error:
            if worker in self._ready:
                self._ready.remove(worker)
                self._ray.kill(worker)  # it may live on where only the network failed
                self.start(1)  # where there is room, as soon as there is
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise WorkerLost(single_line(reason[0], LONGEST_REASON)) from None
        if isinstance(found, TchatError):
            raise found
        return found

    def _done(self, refs: Sequence[Any], seconds: float) -> Sequence[Any]:
        if not refs:
            return ()
        done: Sequence[Any] = self._ray.wait([*refs], num_returns=1, timeout=seconds)[0]
        return done

    def _sent(self) -> list[list[Any]]:
        """References to the pieces of the model, which Ray moves to each node once."""
        if self._pieces is None:
            self._pieces = [
                [self._ray.put(piece) for piece in each.pieces()] for each in self._files
            ]
        return self._pieces
