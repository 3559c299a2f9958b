"""The log: what llama.cpp, MCP servers and tchat's own failures leave behind.

It may hold words of a chat. Where the store is locked its pieces are encrypted, and while that is
not unlocked they are dropped: nobody is asked for a passphrase for the sake of a log.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.errors import StorageError
from tchat.private_files import (
    has_magic,
    is_encrypted_now,
    private_file,
    require_clear,
    without_lock,
)

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption

PURPOSE = "log"
LIMIT = 1 << 20  # bytes; a larger log is truncated


@dataclass(frozen=True, slots=True)
class LogFile:
    """The log in the file ``path``; several processes may append to it."""

    path: Path
    encryption: Encryption | None = None

    def append(self, text: str) -> bool:
        """Append ``text`` as it is; returns whether that was possible."""
        if self.encryption is None:
            with suppress(OSError, StorageError):
                require_clear(self.path)
                log = private_file(self.path)
                with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(text)
                return True
            return False
        if not self.encryption.is_unlocked:
            return False
        from tchat.encryption.stored_file import StoredFile

        with suppress(OSError, StorageError):
            data = text.encode("utf-8", "backslashreplace")
            StoredFile(self.path, self.encryption, PURPOSE).append_line(data)
            return True
        return False

    def truncate(self) -> None:
        """Empty it if it is larger than `LIMIT`."""
        with suppress(OSError):
            if self.path.stat().st_size > LIMIT and not self._is_without_keys:
                self.path.write_bytes(b"")

    def damage(self) -> str:
        """Which pieces `pieces` leaves out; empty for none.

        Raises:
            OSError, StorageError: As of `pieces`.
        """
        if self.encryption is None:
            return ""
        from tchat.encryption.stored_file import StoredFile

        return StoredFile(self.path, self.encryption, PURPOSE).damage()

    def pieces(self) -> Iterator[str]:
        """What was appended, in pieces.

        Raises:
            FileNotFoundError: There is no log.
            OSError, StorageError: It cannot be read.
        """
        if self.encryption is None:
            if has_magic(self.path):
                raise without_lock(self.path)
            with self.path.open(encoding="utf-8", errors="replace") as file:
                yield from file
            return
        from tchat.encryption.stored_file import StoredFile

        for piece in StoredFile(self.path, self.encryption, PURPOSE).lines():
            yield piece.decode("utf-8", "replace")

    @property
    def _is_without_keys(self) -> bool:
        """Whether it is encrypted, and nothing here opens it: then it is left as it is."""
        return self.encryption is None and is_encrypted_now(self.path)
