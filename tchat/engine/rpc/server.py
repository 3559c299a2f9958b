"""Offer this machine's devices to other machines: llama.cpp's RPC server."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tchat.engine.binding import Device, describe_devices, ggml_function
from tchat.engine.threads import default_threads
from tchat.errors import NetworkError, UsageError
from tchat.sanitize import single_line
from tchat.translation import tr

_CPU = 0  # enum ggml_backend_dev_type
_ABORT_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_char_p)


class RpcServer:
    """The devices that a worker offers, and the server; `serve` needs a process of its own.

    Attributes:
        devices: All GPUs, or else the CPU; or those of ``names``.

    Raises:
        UsageError: There is no such device.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._handles = _choose(names)
        self.devices: tuple[Device, ...] = describe_devices(self._handles)

    def serve(
        self,
        host: str,
        port: int,
        *,
        threads: int = 0,
        cache: Path | None = None,
        on_abort: Callable[[str], None],
    ) -> None:
        """Serve one client after another; returns only where it cannot.

        Args:
            host: An IPv4 address.
            port: A port.
            threads: CPU threads; 0 for all physical cores.
            cache: Keeps large tensors, so that a model is not sent again.
            on_abort: Called with llama.cpp's reason before it ends the process.
        """
        from tchat.engine.rpc.workers import rpc_function

        callback = _ABORT_CALLBACK(lambda reason: on_abort(reason.decode("utf-8", "replace")))
        ggml_function("ggml_set_abort_callback", ctypes.c_void_p, _ABORT_CALLBACK)(callback)
        pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
        start = rpc_function("ggml_backend_rpc_start_server", None, text, text, size, size, pointer)
        handles = (pointer * len(self._handles))(*self._handles)
        folder = os.fsencode(cache) if cache else None
        count = threads or default_threads()
        start(f"{host}:{port}".encode(), folder, count, len(self._handles), handles)


def require_free_port(host: str, port: int) -> None:
    """Raise an error where no server can listen; llama.cpp would not say why.

    Raises:
        NetworkError: The port is in use or not allowed, or the address is not of this machine.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise NetworkError(
                tr(
                    "no worker can listen at {host}:{port}: {error}",
                    host=single_line(host, 80),
                    port=port,
                    error=error.strerror or error,
                ),
                tr("choose another --port, or end the program that has it"),
            ) from error


def _choose(names: Sequence[str]) -> list[int]:
    pointer, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    kind_of: Any = ggml_function("ggml_backend_dev_type", ctypes.c_int, pointer)
    count = ggml_function("ggml_backend_dev_count", size)()
    get = ggml_function("ggml_backend_dev_get", pointer, size)
    name_of = ggml_function("ggml_backend_dev_name", text, pointer)
    known = {name_of(handle).decode(): handle for handle in map(get, range(count))}
    for name in names:
        if name not in known:
            raise UsageError(
                tr("there is no device {name}", name=single_line(name, 80)),
                tr("this machine has {names}", names=", ".join(known)),
            )
    chosen = [known[name] for name in names]
    # ACCEL devices, such as BLAS, work for the CPU and hold no model.
    gpus = [handle for handle in known.values() if kind_of(handle) in (1, 2)]
    return chosen or gpus or [each for each in known.values() if kind_of(each) == _CPU][:1]
