"""The one stop flag: seen between tokens by Python, and inside a decode by llama.cpp."""

from __future__ import annotations

import ctypes
import sys
from typing import Any


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


def libc() -> ctypes.CDLL:
    """The C library of this process."""
    return ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
