"""The cancel flag: seen by Python between tokens, and by llama.cpp inside a decode."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


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


class Request:
    """One request to the engine. Stopping it stops nothing else.

    It can be stopped from any thread, also while it waits for the engine: then ``cancel`` is set
    when it begins. After its end, a stop does nothing, and ``cancel`` is clear.

    Args:
        cancel: The engine's flag, which serves one request after the other.
    """

    def __init__(self, cancel: Cancel) -> None:
        self._cancel = cancel
        self._lock = threading.Lock()
        self._is_running = False
        self._is_stopped = False

    @property
    def is_stopped(self) -> bool:
        """Whether a stop was asked for."""
        return self._is_stopped

    def stop(self) -> None:
        """End it as soon as possible, or when it begins."""
        with self._lock:
            self._is_stopped = True
            if self._is_running:
                self._cancel.set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """The engine works for it in this block; on the engine's thread."""
        with self._lock:
            self._is_running = True
            if self._is_stopped:
                self._cancel.set()
            else:
                self._cancel.clear()
        try:
            yield
        finally:
            with self._lock:
                self._is_running = False
                self._cancel.clear()

    def run(self, work: Callable[[], T]) -> T:
        """Do ``work`` while it is `running`."""
        with self.running():
            return work()


def libc() -> ctypes.CDLL:
    """The C library of this process."""
    return ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
