"""The one stop flag: seen between tokens by Python, and inside a decode by llama.cpp."""

from __future__ import annotations

import ctypes
import sys
from typing import Any


class Cancel:
    """A flag that any thread may set and that llama.cpp polls without the GIL.

    llama.cpp calls its abort callback some 600 times a token. A Python callback would fight for
    the GIL each time, so the callback is libc's ``strlen`` itself, over a two-byte buffer: the
    empty string reads as 0, go on; ``"\\x01"`` reads as 1, abort.
    """

    def __init__(self) -> None:
        self._text = ctypes.create_string_buffer(2)

    def set(self) -> None:
        """Ask the work in progress to stop."""
        self._text[0] = b"\x01"

    def clear(self) -> None:
        """Let new work begin."""
        self._text[0] = b"\x00"

    def is_set(self) -> bool:
        """Whether a stop was asked for and not yet cleared."""
        return self._text[0] != b"\x00"

    @property
    def address(self) -> int:
        """Address of the buffer, for ``abort_callback_data``; valid while this object lives."""
        return ctypes.addressof(self._text)

    @staticmethod
    def callback(prototype: Any) -> Any:
        """``strlen`` as llama.cpp's ``ggml_abort_callback`` type ``prototype``."""
        libc = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
        return ctypes.cast(libc.strlen, prototype)
