"""Files of one kind that are encrypted and decrypted where they lie; see `conversion`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tchat.encryption.encryption import StoreKeys
from tchat.encryption.file_cipher import (
    MAGIC,
    FileCipher,
    is_encrypted,
    is_encrypted_line,
    purpose_of_file,
)
from tchat.encryption.replacing import erase_file, replace_file
from tchat.encryption.stored_kinds import Form
from tchat.encryption.stored_paths import is_file, reading
from tchat.private_files import writing

DAMAGED = ".damaged"  # ends the name of a file that could not be decrypted
PIECE = 1 << 20  # bytes read at once


@dataclass(frozen=True, slots=True)
class ConvertibleFiles:
    """Files that a `StoredFile` reads and writes.

    Attributes:
        name: What the user calls them.
        purpose: As of `StoredFile`.
        form: Whether it writes them whole or by lines.
        find: Those that may be there.
    """

    name: str
    purpose: str
    form: Form
    find: Callable[[], Iterable[Path]]

    def paths(self) -> list[Path]:
        """Those that are there; links are followed, as for writing.

        Raises:
            StorageError: That cannot be told.
        """
        return list(self._places())

    def _places(self) -> dict[Path, str]:
        """Where they are, and their names: a link has one of its own."""
        return {Path(os.path.realpath(path)): path.name for path in self.find() if is_file(path)}

    def find_clear(self, keys: StoreKeys) -> Iterator[Path]:
        """Those that are not encrypted to their end.

        Raises:
            StorageError: One cannot be read.
        """
        cipher = keys.files()
        for path, name in self._places().items():
            if self.form is Form.WHOLE:
                is_clear = not self._opens_whole(path, name, cipher)
            else:
                is_clear = not all(cipher.opens_line(line, self.purpose) for line in _lines(path))
            if is_clear:
                yield path

    def opens(self, path: Path, keys: StoreKeys) -> bool:
        """Whether something in the file is encrypted as it is in these.

        Raises:
            StorageError: It cannot be read.
        """
        cipher = keys.files()
        if self.form is Form.WHOLE:
            names = dict.fromkeys((*self._places().values(), path.name))
            return any(self._opens_whole(path, name, cipher) for name in names)
        return any(cipher.opens_line(line, self.purpose) for line in _lines(path))

    def _opens_whole(self, path: Path, name: str, cipher: FileCipher) -> bool:
        with reading(path), path.open("rb") as file:
            return cipher.opens(file, cipher.purpose_of(file, self.purpose, name))

    def encrypt(self, keys: StoreKeys) -> None:
        """Encrypt each that is in clear.

        Raises:
            StorageError: One cannot be written.
        """
        cipher = keys.files()
        for path, name in self._places().items():
            if self.form is Form.WHOLE:
                self._encrypt_whole(path, name, cipher)
            else:
                lines = _lines(path)
                if not all(cipher.opens_line(line, self.purpose) for line in lines):
                    replace_file(path, self._encrypted(lines, cipher), overwrite=True)

    def decrypt(self, keys: StoreKeys) -> Sequence[Path]:
        """Decrypt each that is encrypted; of damaged lines nothing is left.

        Returns whole files that cannot be decrypted, under the names that they got.

        Raises:
            StorageError: One cannot be written.
        """
        cipher = keys.files()
        damaged = []
        for path, name in self._places().items():
            if self.form is Form.WHOLE:
                if not self._decrypt_whole(path, name, cipher):
                    damaged.append(moved_aside(path))
            else:
                lines = _lines(path)
                if any(map(is_encrypted_line, lines)):
                    replace_file(path, self._decrypted(lines, cipher), overwrite=False)
        return damaged

    def _encrypt_whole(self, path: Path, name: str, cipher: FileCipher) -> None:
        if self._opens_whole(path, name, cipher):
            return
        with reading(path), path.open("rb") as file:
            pieces = iter(lambda: file.read(PIECE), b"")
            encrypted = cipher.encrypt(pieces, purpose_of_file(self.purpose, name))
            replace_file(path, encrypted, overwrite=True)

    def _decrypt_whole(self, path: Path, name: str, cipher: FileCipher) -> bool:
        """Whether that was possible."""
        from tchat.encryption.file_cipher import DamagedFile

        with path.open("rb") as file:
            if not is_encrypted(file.read(len(MAGIC))):
                return True
            file.seek(0)
            try:
                purpose = cipher.purpose_of(file, self.purpose, name)
                pieces = cipher.decrypt_stream(file, purpose)
                replace_file(path, pieces, overwrite=False)
            except DamagedFile:
                return False
        return True

    def _encrypted(self, lines: list[bytes], cipher: FileCipher) -> Iterator[bytes]:
        for line in lines:
            if cipher.opens_line(line, self.purpose):
                yield line + b"\n"
            else:
                text = line + b"\n" if self.form is Form.PIECES else line
                yield cipher.encrypt_line(text, self.purpose) + b"\n"

    def _decrypted(self, lines: list[bytes], cipher: FileCipher) -> Iterator[bytes]:
        for line in lines:
            if not is_encrypted_line(line):
                yield line + b"\n"
            elif (text := cipher.decrypt_line(line, self.purpose)) is not None:
                yield text if self.form is Form.PIECES else text + b"\n"


@dataclass(frozen=True, slots=True)
class RemovedFiles:
    """Files that can be made again, and are removed instead of converted."""

    name: str
    find: Callable[[], Iterable[Path]]

    def paths(self) -> list[Path]:
        """Those that need room for another form: none."""
        return []

    def find_clear(self, _: StoreKeys) -> Iterator[Path]:
        """Those that are left."""
        yield from filter(os.path.lexists, self.find())

    def opens(self, _path: Path, _: StoreKeys) -> bool:
        """Whether words that are not elsewhere are in the file: never."""
        return False

    def encrypt(self, _: StoreKeys) -> None:
        """Overwrite and remove them.

        Raises:
            StorageError: One cannot be removed.
        """
        for path in self.find():
            if os.path.lexists(path):
                erase_file(path)

    def decrypt(self, _: StoreKeys) -> Sequence[Path]:
        """Remove them.

        Raises:
            StorageError: One cannot be removed.
        """
        for path in self.find():
            with writing(path):
                path.unlink(missing_ok=True)
        return ()


def moved_aside(path: Path) -> Path:
    """Give a damaged file a name that nothing is read from; returns it."""
    new = path.with_name(f"{path.name}{DAMAGED}")
    numbers = count(2)
    while os.path.lexists(new):
        new = path.with_name(f"{path.name}{DAMAGED}-{next(numbers)}")
    with writing(path):
        path.replace(new)
    return new


def _lines(path: Path) -> list[bytes]:
    with reading(path):
        lines = path.read_bytes().split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines
