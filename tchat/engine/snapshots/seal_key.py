"""The user's key for saved states, in a file that nobody else may read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tchat.errors import StorageError
from tchat.settings.write import write_private

SIZE = 32  # bytes
IS_FOLDER = "is a folder"


class SealKey:
    """A random key, made at the first need.

    Whoever knows it can make states that llama.cpp trusts. So a key that others could read or
    replace is not used any more: a new one is made, and states sealed with the old one are refused.

    Args:
        file: Where it lies.

    Attributes:
        fault: What was wrong with the file when it was read last; empty when nothing was.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.fault = ""
        self._key = b""

    @property
    def is_replaceable(self) -> bool:
        """Whether `made` puts a new key in the place of one at fault; a folder is left alone."""
        return self.fault != IS_FOLDER

    def known(self) -> bytes:
        """The key; empty where there is none that can be trusted."""
        self._key = self._key or self._read()
        return self._key

    def made(self) -> bytes:
        """The key, made where there is none that can be trusted.

        Where two processes make one at the same time, the states of one of them will be refused.

        Raises:
            StorageError: It cannot be written.
        """
        if not self.known():
            try:
                self.file.unlink(missing_ok=True)  # a link is not followed, nor a pipe opened
            except OSError as error:
                raise StorageError(
                    f"cannot replace {self.file}: {error.strerror}", "move it away"
                ) from error
            write_private(self.file, os.urandom(SIZE))
            self._key = self._read()
        return self._key

    def _read(self) -> bytes:
        self.fault = ""
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        flags |= getattr(os, "O_NONBLOCK", 0)
        try:
            descriptor = os.open(self.file, flags)
        except FileNotFoundError:
            return b""
        except OSError as error:
            link = self.file.is_symlink()
            self.fault = "is a link" if link else f"cannot be read: {error.strerror}"
            return b""
        try:
            self.fault = _fault(os.fstat(descriptor))
            return b"" if self.fault else os.read(descriptor, SIZE)
        except OSError as error:
            self.fault = f"cannot be read: {error.strerror}"
            return b""
        finally:
            os.close(descriptor)


def _fault(status: os.stat_result) -> str:
    """Why a key in a file of this status is not to be trusted."""
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return IS_FOLDER
    if not stat.S_ISREG(status.st_mode):
        return "is no regular file"
    if os.name == "posix" and status.st_uid != os.geteuid():
        return "belongs to another user"
    if os.name == "posix" and mode & 0o077:
        return f"could be read or replaced by others (mode {mode:o})"
    return "" if status.st_size == SIZE else "is damaged"
