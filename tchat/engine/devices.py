"""What ggml computes on: GPUs with their memory, and the bandwidth of the CPU's memory.

The functions are declared here, since the binding leaves them out (``ggml.h``, ``ggml-backend.h``).
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tchat.engine.binding import backend, ggml_function
from tchat.engine.threads import default_threads

_GPU, _INTEGRATED = 1, 2  # enum ggml_backend_dev_type
# The bandwidth is measured with these.
WIDTH, MATRICES = 4096, 14  # values; 132 MB in all
ROUNDS = 12
NEEDED = 160 << 20  # bytes of memory during the measurement
_F32, _Q4_K = 0, 12  # enum ggml_type

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU.

    Attributes:
        name: For example ``CUDA0``.
        description: The vendor's name of it.
        free: Free bytes of its memory.
        total: Bytes of its memory.
        shared: Whether it shares the machine's memory.
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
    ggml = _GgmlDevices()
    return tuple(
        ggml.device(handle)
        for index in range(ggml.count())
        if ggml.kind(handle := ggml.get(index)) in (_GPU, _INTEGRATED)
    )


class _GgmlDevices:
    """Functions of ``ggml-backend.h``."""

    def __init__(self) -> None:
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        size = ctypes.POINTER(ctypes.c_size_t)
        self.count = ggml_function("ggml_backend_dev_count", ctypes.c_size_t)
        self.get = ggml_function("ggml_backend_dev_get", pointer, ctypes.c_size_t)
        self.kind = ggml_function("ggml_backend_dev_type", ctypes.c_int, pointer)
        self._name = ggml_function("ggml_backend_dev_name", text, pointer)
        self._description = ggml_function("ggml_backend_dev_description", text, pointer)
        self._memory = ggml_function("ggml_backend_dev_memory", None, pointer, size, size)

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


def weights_rate(clock: Clock = time.perf_counter) -> float:
    """Bytes of weights that decoding processes in a second; takes some 0.2 s to measure.

    It limits decoding, and is measured with llama.cpp's own arithmetic: matrices in Q4_K, larger
    than any cache, times a vector. The bandwidth of memory alone would say too much: on two cores
    of a server it is 63 GB/s, of which 35 GB/s can be multiplied. The best of some rounds, with all
    threads and with one, since one thread too many on a busy machine costs most of the speed.

    Returns:
        0 for a build whose arithmetic is in separate libraries.

    Raises:
        ModelError: llama.cpp cannot be loaded.
    """
    try:
        ggml = _GgmlCompute()
    except AttributeError:
        return 0.0
    return ggml.rate({default_threads(), 1}, clock)


class _Params(ctypes.Structure):
    """``ggml_init_params``."""

    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


class _GgmlCompute:
    """Functions of ``ggml.h``.

    Raises:
        AttributeError: The library does not export them.
    """

    def __init__(self) -> None:
        pointer, integer, size = ctypes.c_void_p, ctypes.c_int64, ctypes.c_size_t
        number = ctypes.c_int
        self._init = ggml_function("ggml_init", pointer, _Params)
        self._free = ggml_function("ggml_free", None, pointer)
        self._tensor = ggml_function(
            "ggml_new_tensor_2d", pointer, pointer, number, integer, integer
        )
        self._data = ggml_function("ggml_get_data", pointer, pointer)
        self._size = ggml_function("ggml_nbytes", size, pointer)
        self._multiply = ggml_function("ggml_mul_mat", pointer, pointer, pointer, pointer)
        self._graph = ggml_function("ggml_new_graph", pointer, pointer)
        self._add = ggml_function("ggml_build_forward_expand", None, pointer, pointer)
        self._compute = ggml_function(
            "ggml_graph_compute_with_ctx", number, pointer, pointer, number
        )

    def rate(self, threads: set[int], clock: Clock) -> float:
        context = self._init(_Params(NEEDED, None, False))
        if not context:
            return 0.0
        try:
            graph, size = self._work(context)
            return size / min(
                self._seconds(context, graph, count, clock)
                for count in threads
                for _ in range(ROUNDS)
            )
        finally:
            self._free(context)

    def _work(self, context: int) -> tuple[int, int]:
        """A graph that multiplies all matrices, and their bytes."""
        graph, size = self._graph(context), 0
        vector, _ = self._zeros(context, _F32, 1)
        for _ in range(MATRICES):
            matrix, bytes_ = self._zeros(context, _Q4_K, WIDTH)
            self._add(graph, self._multiply(context, matrix, vector))
            size += bytes_
        return graph, size

    def _zeros(self, context: int, kind: int, rows: int) -> tuple[int, int]:
        """A tensor, written once: pages that never were are all one, and that is in the cache."""
        tensor = self._tensor(context, kind, WIDTH, rows)
        size = self._size(tensor)
        ctypes.memset(self._data(tensor), 0, size)
        return tensor, size

    def _seconds(self, context: int, graph: int, threads: int, clock: Clock) -> float:
        started = clock()
        self._compute(context, graph, threads)
        return clock() - started
