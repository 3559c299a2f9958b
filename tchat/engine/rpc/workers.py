"""The RPC backend of this build, and the devices of its workers."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from typing import Any

from tchat.engine.binding import Device, backend, backend_names, describe_devices, ggml_function
from tchat.errors import ModelError, UsageError
from tchat.sanitize import single_line
from tchat.settings.endpoints import is_loopback
from tchat.translation import N_, tr

INSECURE = N_("llama.cpp's RPC has no authentication and no encryption")


def has_rpc() -> bool:
    """Whether this build of llama.cpp has the RPC backend."""
    return bool(backend().lib.llama_supports_rpc())


def rpc_build_command() -> str:
    """The shell command that builds what there is now, and the RPC backend."""
    from importlib.metadata import version

    from tchat.engine.build import RPC_OPTION, build_command, with_backends

    return build_command(with_backends(RPC_OPTION, backend_names()), version("llama-cpp-python"))


def require_rpc() -> None:
    """Raise ModelError with the command that brings a build with the RPC backend.

    Raises:
        ModelError: This build has none.
    """
    if has_rpc():
        return
    command = rpc_build_command()
    raise ModelError(
        tr("this build of llama.cpp has no RPC backend"),
        tr("build it, which takes about ten minutes: {command}", command=command),
    )


def require_loopback(hosts: Iterable[str], *, insecure: bool) -> None:
    """Refuse addresses that anyone on the network could listen to, unless ``insecure``.

    Raises:
        UsageError: One is not of this machine.
    """
    for host in hosts:
        if not insecure and not is_loopback(host):
            name, _, port = host.partition(":")
            tunnel = tr(
                "tunnel to it with `ssh -N -L {port}:127.0.0.1:{port} {name}` and name "
                "127.0.0.1:{port}, or add --insecure-address",
                port=port,
                name=single_line(name, 80),
            )
            raise UsageError(
                tr(
                    "{host} is not a loopback address; {why}",
                    host=single_line(host, 80),
                    why=tr(INSECURE),
                ),
                tunnel
                if port
                else tr("let others tunnel to 127.0.0.1 with `ssh -L`, or add --insecure-address"),
            )


def rpc_function(name: str, result: Any, *arguments: Any) -> Any:
    """A function of the RPC backend, which a build of many libraries does not export elsewhere."""
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    registry = ggml_function("ggml_backend_reg_by_name", pointer, text)(b"RPC")
    address_of = ggml_function("ggml_backend_reg_get_proc_address", pointer, pointer, text)
    return ctypes.CFUNCTYPE(result, *arguments)(address_of(registry, name.encode()))


def register_workers(endpoints: Sequence[str]) -> tuple[Device, ...]:
    """Connect to the workers; a model loaded from now on is split over their devices too.

    llama.cpp ends this process where a worker does not answer as it should, and waits for ever for
    one that does not answer at all.
    """
    pointer = ctypes.c_void_p
    add = rpc_function("ggml_backend_rpc_add_server", pointer, ctypes.c_char_p)
    register = ggml_function("ggml_backend_register", None, pointer)
    count = ggml_function("ggml_backend_reg_dev_count", ctypes.c_size_t, pointer)
    get = ggml_function("ggml_backend_reg_dev_get", pointer, pointer, ctypes.c_size_t)
    handles: list[int] = []
    for endpoint in endpoints:
        registry = add(endpoint.encode())
        if not registry:
            raise ModelError(
                tr("the worker {endpoint} offers no device", endpoint=endpoint),
                tr("see its output"),
            )
        register(registry)
        handles += (get(registry, index) for index in range(count(registry)))
    return describe_devices(handles)
