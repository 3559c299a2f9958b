"""Keys in memory: not swapped out where the system allows, and overwritten when forgotten."""

from __future__ import annotations

import os


class SecretBytes:
    """A key in memory that `wipe` overwrites.

    Whoever reads it makes copies that nobody overwrites: read it late, and keep what is derived
    from it no longer than it.
    """

    def __init__(self, data: bytes) -> None:
        self._buffer = bytearray(data)
        self._lock_in_memory()

    def __bytes__(self) -> bytes:
        return bytes(self._buffer)

    def __len__(self) -> int:
        return len(self._buffer)

    def __repr__(self) -> str:
        return f"SecretBytes({len(self._buffer)})"

    def wipe(self) -> None:
        """Overwrite it with zeros."""
        self._buffer[:] = bytes(len(self._buffer))

    def _lock_in_memory(self) -> None:
        """Keep its page out of the swap; no harm where the limit of locked memory is reached."""
        if os.name != "posix" or not self._buffer:
            return
        import ctypes

        lock = getattr(ctypes.CDLL(None), "mlock", None)
        if lock is not None:
            address = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))
            lock(ctypes.c_void_p(address), ctypes.c_size_t(len(self._buffer)))
