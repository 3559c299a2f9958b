"""The engine of a model that is split over the workers of other machines."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, cast

from tchat.chat.machine import require_memory
from tchat.chat.preload import engine_options
from tchat.egress.egress_log import Purpose, open_egress_log
from tchat.engine.binding import Cancel, Device
from tchat.engine.events import Event, Notice
from tchat.engine.rpc.engine import RpcEngine
from tchat.engine.rpc.process import EngineProcess
from tchat.engine.rpc.workers import INSECURE, require_loopback, require_rpc
from tchat.errors import ModelInvalid
from tchat.models.verify import refusal_text
from tchat.settings.endpoints import is_loopback, parse_endpoints
from tchat.translation import joined, tr

if TYPE_CHECKING:
    from tchat.engine.engine import Engine
    from tchat.models.metadata import ModelMetadata
    from tchat.paths import Paths
    from tchat.settings import Settings


def open_rpc_engine(
    settings: Settings,
    paths: Paths,
    metadata: ModelMetadata,
    draft: ModelMetadata | None,
    cancel: Cancel,
) -> Generator[Event, None, Engine]:
    """Connect to the workers of ``settings`` and check their memory; the model is not loaded yet.

    The file is not probed: it is loaded in a child process anyway.

    Raises:
        NetworkError: A worker is not there, does not answer, or has another version.
        UsageError: An address is not safe.
        ModelError: This build has no RPC backend, or the file is no chat model.
        DoesNotFit: The machines together have too little memory for it.
        InterruptedError: ``cancel`` was set.
    """
    options = engine_options(settings, metadata, draft)
    require_loopback(options.rpc, insecure=settings.insecure_address)
    require_rpc()
    if metadata.refusal:
        raise ModelInvalid(refusal_text(metadata), tr("choose a language model"))
    if exposed := [endpoint for endpoint in options.rpc if not is_loopback(endpoint)]:
        text = tr(
            "the chat goes to {names} in the clear: {why}", names=joined(exposed), why=tr(INSECURE)
        )
        yield Notice("model", text)
        if problem := _log_connections(paths, exposed):
            yield Notice("storage", problem)
    process = EngineProcess(options.rpc, cancel)
    try:
        workers = yield from process.connect()
        require_memory(settings, metadata, workers)
    except BaseException:
        process.close()
        raise
    # It has what a chat uses of an engine; what it refuses, it refuses with the reason.
    return cast("Engine", RpcEngine(options, cancel, process))


def _log_connections(paths: Paths, endpoints: Iterable[str]) -> str:
    """Log what leaves this machine; returns why that cannot be done, or nothing."""
    egress = open_egress_log(paths)
    for endpoint in endpoints:
        if not is_loopback(endpoint):
            egress.note_connection(Purpose.RPC, endpoint.partition(":")[0])
    return egress.take_problem()


def worker_devices(settings: Settings, paths: Paths) -> tuple[Device, ...]:
    """The devices of the workers of ``settings``, with what is free on them now.

    Raises:
        NetworkError: A worker is not there, does not answer, or has another version.
        UsageError: An address is not safe.
        ModelError: This build has no RPC backend.
    """
    endpoints = parse_endpoints(settings.rpc)
    require_loopback(endpoints, insecure=settings.insecure_address)
    require_rpc()
    _log_connections(paths, endpoints)
    process = EngineProcess(endpoints, Cancel())
    connecting = process.connect()
    try:
        while True:
            next(connecting)
    except StopIteration as end:
        devices: tuple[Device, ...] = end.value
        return devices
    finally:
        process.close()
