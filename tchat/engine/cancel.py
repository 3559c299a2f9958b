"""The one stop flag: seen between tokens by Python, and inside a decode by llama.cpp."""

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

    llama.cpp calls its abort callback some 600 times a token. A Python callback would fight for
    the GIL each time, so the callback is libc's ``strlen`` itself, over a two-byte buffer: the
    empty string reads as 0, go on; ``"\\x01"`` reads as 1, abort. While a model is loaded it asks
    the other way round, whether to go on: a second buffer holds the opposite.
    """

    def __init__(self) -> None:
        self._text = ctypes.create_string_buffer(2)
        self._going = ctypes.create_string_buffer(b"\x01")

    def set(self) -> None:
        """Ask the work in progress to stop."""
        self._text[0], self._going[0] = b"\x01", b"\x00"

    def clear(self) -> None:
        """Let new work begin."""
        self._text[0], self._going[0] = b"\x00", b"\x01"

    def is_set(self) -> bool:
        """Whether a stop was asked for and not yet cleared."""
        return self._text[0] != b"\x00"

    @property
    def address(self) -> int:
        """Address of the buffer, for ``abort_callback_data``; valid while this object lives."""
        return ctypes.addressof(self._text)

    @property
    def going_address(self) -> int:
        """As `address`, for ``progress_callback_user_data``."""
        return ctypes.addressof(self._going)

    @staticmethod
    def callback(prototype: Any) -> Any:
        """``strlen`` as llama.cpp's ``ggml_abort_callback`` type ``prototype``."""
        return ctypes.cast(libc().strlen, prototype)

    def progress_callback(self, prototype: Any) -> Any:
        """As `callback`, for ``llama_progress_callback``; keep it while the model is loaded.

        The progress comes in a register for floats, which leaves the address to be the first
        argument. Windows counts the registers together.
        """
        if sys.platform == "win32":
            return prototype(lambda _share, _going: not self.is_set())
        return self.callback(prototype)


class Request:
    """One thing asked of the engine: a stop of it holds until its end, and stops nothing else.

    It may be stopped from any thread, also while it waits for the engine: then ``cancel`` is set
    when it begins. Once it is over, a stop does nothing, and ``cancel`` is clear.

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
        """End it as soon as possible, or as soon as it begins."""
        with self._lock:
            self._is_stopped = True
            if self._is_running:
                self._cancel.set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """It is the one that the engine works for; on the engine's thread."""
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
