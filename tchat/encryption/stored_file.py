"""Small files of the store, in clear or encrypted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.errors import StorageError
from tchat.private_files import (
    MAGICS,
    private_file,
    require_clear,
    without_lock,
    write_private,
    writing,
)
from tchat.translation import tr, trn

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption
    from tchat.encryption.file_cipher import FileCipher

NAMED = 10  # damaged lines whose numbers are told


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is written encrypted where the store is, and in clear where it is not.

    A file in clear is not read in an encrypted store: whoever has the disk could have put it there.

    Attributes:
        path: Where it is.
        encryption: None for a store in clear.
        purpose: What the file is for; one of another purpose, or written whole with another name,
            is refused in its place.
    """

    path: Path
    encryption: Encryption | None
    purpose: str

    def read(self) -> bytes:
        """The whole content.

        Raises:
            OSError: It cannot be read, or is not there.
            StoreLocked: The store is locked.
            StorageError: It is damaged, or not encrypted where it must be.
        """
        data = self.path.read_bytes()
        encrypted = data.startswith(MAGICS)
        if self.encryption is None:
            if encrypted:
                raise without_lock(self.path)
            return data
        if not encrypted:
            self._cipher()
            raise StorageError(
                tr("{path} is not encrypted, so tchat did not write it", path=self.path),
                tr("move it away"),
            )
        import io

        from tchat.encryption.file_cipher import DamagedFile

        cipher = self._cipher()
        purpose = cipher.purpose_of(io.BytesIO(data), self.purpose, self.path.name)
        try:
            return cipher.decrypt(data, purpose)
        except DamagedFile as damage:
            raise DamagedFile(damage.segment, str(self.path)) from None

    def write(self, data: bytes | Iterable[bytes]) -> None:
        """Write ``data``, whole or in pieces, atomically and only readable by the user.

        Raises:
            StoreLocked: The store is locked.
            StorageError: It cannot be written; what was there is unchanged.
        """
        if self.encryption is None:
            require_clear(self.path)
            write_private(self.path, data)
        else:
            from tchat.encryption.file_cipher import purpose_of_file

            purpose = purpose_of_file(self.purpose, self.path.name)
            write_private(self.path, self._cipher().encrypt(data, purpose))

    def append_line(self, line: bytes) -> None:
        """Append ``line``, given without its end; several processes may do so at once.

        Raises:
            StoreLocked: The store is locked.
            StorageError: It cannot be written.
        """
        if self.encryption is None:
            require_clear(self.path)
            text = line
        else:
            text = self._cipher().encrypt_line(line, self.purpose)
        private_file(self.path)
        with writing(self.path), self.path.open("a+b", buffering=0) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            # A process that died while writing left half a line.
            begin = b"" if file.read(1) in (b"", b"\n") else b"\n"
            left = begin + text + b"\n"
            while left:  # at once, except on a full disk: lines of several processes do not mix
                left = left[file.write(left) :]

    def write_lines(self, lines: Iterable[bytes]) -> None:
        """Put ``lines``, given without their ends, in place of what there is.

        Raises:
            StoreLocked: The store is locked.
            StorageError: It cannot be written; what was there is unchanged.
        """
        if self.encryption is not None:
            cipher = self._cipher()
            lines = (cipher.encrypt_line(line, self.purpose) for line in lines)
        else:
            require_clear(self.path)
        write_private(self.path, b"".join(line + b"\n" for line in lines))

    def lines(self) -> Iterator[bytes]:
        """The lines without their ends, oldest first; damaged ones are left out.

        In an encrypted store, lines in clear are left out, too.

        Raises:
            OSError: It cannot be read, or is not there.
            StoreLocked: The store is locked.
            StorageError: It is encrypted, and there is no lock file.
        """
        yield from (line for line in self._texts() if line is not None)

    def damage(self) -> str:
        """Which lines are damaged or in clear, so that `lines` leaves them out; empty for none.

        Raises:
            OSError, StoreLocked, StorageError: As of `lines`.
        """
        numbers = [number for number, line in enumerate(self._texts(), 1) if line is None]
        if not numbers:
            return ""
        return trn(
            "{count:,} line of {path} is damaged and left out: {numbers}",
            "{count:,} lines of {path} are damaged and left out: {numbers}",
            len(numbers),
            path=self.path,
            numbers=", ".join(f"{number:,}" for number in numbers[:NAMED]),
        )

    def _texts(self) -> Iterator[bytes | None]:
        """The lines; None for one that is damaged, or in clear where it must not be."""
        found = self.path.read_bytes().split(b"\n")
        if found[-1] == b"":
            found.pop()
        if self.encryption is None:
            if any(line.startswith(MAGICS) for line in found):
                raise without_lock(self.path)
            yield from found
            return
        cipher = self._cipher()
        for line in found:
            is_encrypted = line.startswith(MAGICS)
            yield cipher.decrypt_line(line, self.purpose) if is_encrypted else None

    def _cipher(self) -> FileCipher:
        assert self.encryption is not None  # noqa: S101 - asked for in an encrypted store only
        return self.encryption.keys().files()
