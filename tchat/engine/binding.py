"""The binding of llama.cpp: loaded once, its log, the flag that stops it, and its devices.

This is the only importer of ``llama_cpp``; other modules get it from `backend`.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import sys
import time
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tchat.engine.threads import default_threads
from tchat.errors import ModelError
from tchat.sanitize import single_line
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.log_file import LogFile

_ERROR, _CONT = 4, 5  # enum ggml_log_level; 1 is DEBUG, 2 INFO, 3 WARN


class LlamaLog:
    """llama.cpp's log: written to a file; the last errors are kept for error messages."""

    def __init__(self) -> None:
        self._errors: deque[str] = deque(maxlen=8)
        self._level = 0
        self._open: Callable[[], LogFile] | None = None
        self._log: LogFile | None = None

    def write_to(self, open_log: Callable[[], LogFile]) -> None:
        """Write to the log that ``open_log`` returns with the first line, truncated if large.

        Where it cannot be written there is no log: that is no reason to refuse an answer.
        """
        self._open, self._log = open_log, None

    def receive(self, level: int, text: bytes) -> None:
        """Add a piece of log; the binding's ``llama_log_callback``."""
        line = text.decode("utf-8", "replace")
        self._level = self._level if level == _CONT else level
        if self._level == _ERROR and line.strip():
            self._errors.append(line.strip())
        if self._open is not None and self._level > 1:
            if self._log is None:
                self._log = self._open()
                self._log.truncate()
            self._log.append(line)

    def clear(self) -> None:
        """Forget the errors, before a call whose failure will be reported."""
        self._errors.clear()

    def errors(self) -> tuple[str, ...]:
        """The last errors since `clear`."""
        return tuple(self._errors)

    def reason(self) -> str:
        """The first error since `clear`: it names the cause, and later ones repeat it."""
        return single_line(self._errors[0], limit=300) if self._errors else tr("no reason given")


class LlamaLibrary:
    """llama.cpp, ready to use: ``lib`` is the binding's module of C functions."""

    def __init__(self) -> None:
        self.log = LlamaLog()
        # Otherwise llama.cpp starts a debugger when it aborts, which writes to stdout.
        os.environ.setdefault("GGML_NO_BACKTRACE", "1")
        with _short_spins():
            self.lib = _import_binding()
        # The C side keeps the pointer, so keep a reference.
        self._callback = self.lib.llama_log_callback(
            lambda level, text, _: self.log.receive(level, text)
        )
        self._no_log = ctypes.cast(libc().abs, self.lib.llama_log_callback)
        self._set_log(self._callback)
        self.lib.llama_backend_init()

    def make_quietly(self, make: Callable[[], Any], cancel: Cancel) -> Any:
        """Call ``make`` without the log; if it returns nothing, call it again with the log.

        Making a model or a context writes a thousand lines of log, nearly all for llama.cpp's own
        developers, and each waits for the GIL: 25 ms on a quiet machine, ten times that beside a
        busy thread.
        """
        self._set_log(self._no_log)
        try:
            made = make()
        finally:
            self._set_log(self._callback)
        if made or cancel.is_set():
            return made
        self.log.clear()
        return make()

    def _set_log(self, callback: Any) -> None:
        self.lib.llama_log_set(callback, ctypes.c_void_p(0))


@cache
def backend() -> LlamaLibrary:
    """The process's one llama.cpp. Loaded at the first call, 35 ms.

    Raises:
        ModelError: llama-cpp-python is not installed or its library does not load.
    """
    try:
        return LlamaLibrary()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise ModelError(
            tr("llama.cpp cannot be loaded: {error}", error=single_line(str(error), limit=300)),
            tr("reinstall it with: pip install --force-reinstall --no-cache-dir llama-cpp-python"),
        ) from error


def ggml_function(name: str, result: Any, *arguments: Any) -> Any:
    """A function of ggml that the binding leaves out; its library exports them too.

    Raises:
        AttributeError: The library does not export it.
    """
    return ctypes.CFUNCTYPE(result, *arguments)((name, backend().lib._lib))


@contextmanager
def _short_spins() -> Iterator[None]:
    """Make libgomp's threads yield their core after 0.3 ms of waiting; it reads this on loading.

    By default its threads spin for 16 ms: beside one busy core of two, single tokens then took up
    to 0.7 s, and beside two up to 6 s. With 6,000 rounds it was 0.08 s, and a quiet machine as fast
    as before; 500 rounds lost a quarter of its speed. 10,000 is on the safe side.
    """
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    if any(name in os.environ for name in names):
        yield
        return
    os.environ[names[0]] = "10000"
    try:
        yield
    finally:
        del os.environ[names[0]]


def _import_binding() -> Any:
    """Import ``llama_cpp.llama_cpp`` without running the package's ``__init__``.

    The ``__init__`` pulls in numpy, jinja2 and the high-level API, which nothing here uses and
    which would cost 100 ms of every start.
    """
    if "llama_cpp" not in sys.modules:
        spec = importlib.util.find_spec("llama_cpp")
        if spec is None or spec.submodule_search_locations is None:
            raise ImportError(tr("the package llama-cpp-python is not installed"))
        package = types.ModuleType("llama_cpp")
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec
        sys.modules["llama_cpp"] = package
    return importlib.import_module("llama_cpp.llama_cpp")


def build_facts() -> dict[str, str]:
    """Version and features of this build of llama.cpp, for ``tchat doctor`` and cache keys."""
    from importlib.metadata import version

    lib = backend().lib
    yes, no = N_("yes"), N_("no")
    return {
        "llama-cpp-python": version("llama-cpp-python"),
        "llama.cpp": lib.llama_version().decode(),
        N_("gpu offload"): yes if has_gpu() else no,
        "rpc": yes if lib.llama_supports_rpc() else no,
        "mmap": yes if lib.llama_supports_mmap() else no,
        "mlock": yes if lib.llama_supports_mlock() else no,
        N_("features"): lib.llama_print_system_info().decode("utf-8", "replace").strip(" |"),
    }


def build_name() -> str:
    """Identifies this build of llama.cpp without loading it, in under 1 ms.

    The version would miss a rebuild, and reading it imports ``email`` (15 ms).
    """
    spec = importlib.util.find_spec("llama_cpp")
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or () for file in Path(folder, "lib").glob("*llama.*")]
    facts = [file.stat() for file in sorted(files)]
    return " ".join(f"{fact.st_size}-{fact.st_mtime_ns}" for fact in facts) or "none"


class Cancel:
    """A flag that any thread may set and that llama.cpp polls without the GIL.

    llama.cpp calls its abort callback some 600 times a token. A Python callback would take the GIL
    each time, so the callback is libc's ``strlen`` over a two-byte buffer: 0 for the empty string
    means continue, 1 for ``"\\x01"`` abort. While a model loads, the callback means the opposite,
    whether to continue: a second buffer holds that.
    """

    def __init__(self) -> None:
        self._text = ctypes.create_string_buffer(2)
        self._continue = ctypes.create_string_buffer(b"\x01")

    def set(self) -> None:
        """Stop the work in progress."""
        self._text[0], self._continue[0] = b"\x01", b"\x00"

    def clear(self) -> None:
        """Let new work begin."""
        self._text[0], self._continue[0] = b"\x00", b"\x01"

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._text[0] != b"\x00"

    @property
    def address(self) -> int:
        """Address of the buffer, for ``abort_callback_data``; valid while this object lives."""
        return ctypes.addressof(self._text)

    @property
    def continue_address(self) -> int:
        """As `address`, for ``progress_callback_user_data``."""
        return ctypes.addressof(self._continue)

    @staticmethod
    def callback(prototype: Any) -> Any:
        """``strlen`` as llama.cpp's ``ggml_abort_callback`` type ``prototype``."""
        return ctypes.cast(libc().strlen, prototype)

    def progress_callback(self, prototype: Any) -> Any:
        """As `callback`, for ``llama_progress_callback``; keep it while the model is loaded.

        The progress is passed in a float register, so the address is the first argument for
        ``strlen``. On Windows, both kinds of registers are counted together.
        """
        if sys.platform == "win32":
            return prototype(lambda _share, _data: not self.is_set())
        return self.callback(prototype)


def libc() -> ctypes.CDLL:
    """The C library of this process."""
    return ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)


_GPU, _INTEGRATED = 1, 2  # enum ggml_backend_dev_type
# The bandwidth is measured with these.
RATE_WIDTH, RATE_MATRICES = 4096, 14  # values; 132 MB in all
RATE_ROUNDS = 12
RATE_MEMORY = 160 << 20  # bytes of memory during the measurement
_F32, _Q4_K = 0, 12  # enum ggml_type


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU with the bytes of its memory; ``shared`` with the machine's or not."""

    name: str
    description: str
    free: int
    total: int
    shared: bool


def backend_names() -> tuple[str, ...]:
    """ggml's names of the backends of this build, such as ``CPU``, ``CUDA`` and ``RPC``."""
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    get = ggml_function("ggml_backend_reg_get", pointer, size)
    name = ggml_function("ggml_backend_reg_name", ctypes.c_char_p, pointer)
    count = ggml_function("ggml_backend_reg_count", size)()
    return tuple(name(get(index)).decode() for index in range(count))


def has_gpu() -> bool:
    """Whether llama.cpp has a GPU to offload layers to, here or of a worker.

    ``llama_supports_gpu_offload`` is also true of a build with the RPC backend and no GPU.
    """
    if not backend().lib.llama_supports_gpu_offload():
        return False
    by_type = ggml_function("ggml_backend_dev_by_type", ctypes.c_void_p, ctypes.c_int)
    return any(by_type(kind) for kind in (_GPU, _INTEGRATED))


def devices() -> tuple[Device, ...]:
    """The GPUs in llama.cpp's order; none for a build without one."""
    if not has_gpu():
        return ()
    pointer = ctypes.c_void_p
    count = ggml_function("ggml_backend_dev_count", ctypes.c_size_t)
    get = ggml_function("ggml_backend_dev_get", pointer, ctypes.c_size_t)
    kind_of = ggml_function("ggml_backend_dev_type", ctypes.c_int, pointer)
    handles = map(get, range(count()))
    return describe_devices(each for each in handles if kind_of(each) in (_GPU, _INTEGRATED))


def describe_devices(handles: Iterable[int]) -> tuple[Device, ...]:
    """What llama.cpp says of each ``ggml_backend_dev_t``."""
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    kind_of = ggml_function("ggml_backend_dev_type", ctypes.c_int, pointer)
    name = ggml_function("ggml_backend_dev_name", text, pointer)
    description = ggml_function("ggml_backend_dev_description", text, pointer)
    sizes = ctypes.POINTER(size)
    memory = ggml_function("ggml_backend_dev_memory", None, pointer, sizes, sizes)
    found: list[Device] = []
    for handle in handles:
        free, total = size(), size()
        memory(handle, ctypes.byref(free), ctypes.byref(total))
        names = [(each(handle) or b"").decode("utf-8", "replace") for each in (name, description)]
        shared = kind_of(handle) == _INTEGRATED or sys.platform == "darwin"
        found.append(Device(names[0], names[1], free.value, total.value, shared))
    return tuple(found)


def weights_rate(clock: Callable[[], float] = time.perf_counter) -> float:
    """Bytes of weights that decoding processes in a second; takes some 0.2 s to measure.

    It limits decoding, and is measured with llama.cpp's own arithmetic: matrices in Q4_K, larger
    than any cache, times a vector. The bandwidth of memory alone would say too much: on two cores
    of a server it is 63 GB/s, of which 35 GB/s can be multiplied. The best of some rounds counts,
    with all threads and with one, since one thread too many on a busy machine costs most of the
    speed. 0 for a build whose arithmetic is in separate libraries.
    """
    pointer, size, number, integer = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int64
    try:
        new_context = ggml_function("ggml_init", pointer, _Params)
        free = ggml_function("ggml_free", None, pointer)
        new_tensor = ggml_function("ggml_new_tensor_2d", pointer, pointer, number, integer, integer)
        data_of = ggml_function("ggml_get_data", pointer, pointer)
        bytes_of = ggml_function("ggml_nbytes", size, pointer)
        multiply = ggml_function("ggml_mul_mat", pointer, pointer, pointer, pointer)
        new_graph = ggml_function("ggml_new_graph", pointer, pointer)
        expand = ggml_function("ggml_build_forward_expand", None, pointer, pointer)
        compute = ggml_function("ggml_graph_compute_with_ctx", number, pointer, pointer, number)
    except AttributeError:
        return 0.0
    context = new_context(_Params(RATE_MEMORY, None, False))
    if not context:
        return 0.0

    def zeros(kind: int, rows: int) -> int:
        """A tensor of zeros, written once: unwritten pages are all one page, which is cached."""
        tensor: int = new_tensor(context, kind, RATE_WIDTH, rows)
        ctypes.memset(data_of(tensor), 0, bytes_of(tensor))
        return tensor

    def seconds(threads: int) -> float:
        started = clock()
        compute(context, graph, threads)
        return clock() - started

    try:
        graph, vector, total = new_graph(context), zeros(_F32, 1), 0
        for _ in range(RATE_MATRICES):
            matrix = zeros(_Q4_K, RATE_WIDTH)
            expand(graph, multiply(context, matrix, vector))
            total += bytes_of(matrix)
        counts = {default_threads(), 1}
        return total / min(seconds(count) for count in counts for _ in range(RATE_ROUNDS))
    finally:
        free(context)


class _Params(ctypes.Structure):
    """``ggml_init_params``."""

    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )
