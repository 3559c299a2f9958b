"""The GPUs that this build of llama.cpp can use, with their memory (``ggml-backend.h``)."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

from tchat.engine.binding import backend

_GPU, _INTEGRATED = 1, 2  # enum ggml_backend_dev_type


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU.

    Attributes:
        name: For example ``CUDA0``.
        description: What its maker calls it.
        free: Bytes of its memory that are free.
        total: Bytes of its memory.
        shared: Whether that memory is the machine's own.
    """

    name: str
    description: str
    free: int
    total: int
    shared: bool


def devices() -> tuple[Device, ...]:
    """The GPUs in llama.cpp's order; none for a build without one.

    Raises:
        ModelError: llama.cpp cannot be loaded.
    """
    lib = backend().lib
    if not lib.llama_supports_gpu_offload():
        return ()
    ggml = _GgmlDevices(lib._lib)
    return tuple(
        ggml.device(handle)
        for index in range(ggml.count())
        if ggml.kind(handle := ggml.get(index)) in (_GPU, _INTEGRATED)
    )


class _GgmlDevices:
    """Functions of ggml that the binding does not declare; they lie in libraries beside its own."""

    def __init__(self, lib: Any) -> None:
        pointer = ctypes.c_void_p
        self.count = _declared(lib.ggml_backend_dev_count, ctypes.c_size_t)
        self.get = _declared(lib.ggml_backend_dev_get, pointer, ctypes.c_size_t)
        self.kind = _declared(lib.ggml_backend_dev_type, ctypes.c_int, pointer)
        self._name = _declared(lib.ggml_backend_dev_name, ctypes.c_char_p, pointer)
        self._description = _declared(lib.ggml_backend_dev_description, ctypes.c_char_p, pointer)
        size = ctypes.POINTER(ctypes.c_size_t)
        self._memory = _declared(lib.ggml_backend_dev_memory, None, pointer, size, size)

    def device(self, handle: Any) -> Device:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._memory(handle, ctypes.byref(free), ctypes.byref(total))
        return Device(
            name=(self._name(handle) or b"").decode("utf-8", "replace"),
            description=(self._description(handle) or b"").decode("utf-8", "replace"),
            free=free.value,
            total=total.value,
            shared=self.kind(handle) == _INTEGRATED or sys.platform == "darwin",
        )


def _declared(function: Any, result: Any, *arguments: Any) -> Any:
    function.restype, function.argtypes = result, list(arguments)
    return function
