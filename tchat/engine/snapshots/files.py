"""The files of segments: sealed, so that llama.cpp is only given what tchat wrote."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tchat.paths import private_folder
from tchat.settings.write import write_private

MAGIC = b"tchatKV1"
SEAL = 32  # bytes of keyed BLAKE2b
HEADER = len(MAGIC) + SEAL
CHUNK = 1 << 20  # bytes hashed while they are warm in the cache
SPARE = 1 << 30  # bytes that a disk keeps free for others
STALE = 3600.0  # seconds after which a half-written file is nobody's any more


class Refused(Exception):
    """A file is not, or is no longer, what was written."""


class SegmentFiles:
    """Files in one folder, each a header, a seal over its content and purpose, and a state.

    llama.cpp trusts a state: a hostile one could write anywhere. The seal is made with a key of
    this user's, so a file that was damaged, exchanged or brought along is refused.

    Args:
        folder: Where they lie; made at the first writing.
        key: File with the user's key, made at the first writing.
    """

    def __init__(self, folder: Path, key: Path) -> None:
        self._folder = folder
        self._key_file = key
        self._key = b""

    def write(self, about: bytes, state: memoryview) -> Path:
        """Write a state to a file without a name yet; `publish` gives it one.

        Args:
            about: What the state is for; `read` must give the same.
            state: Its bytes.

        Raises:
            OSError: The disk is full, or nearly, or cannot be written.
            StorageError: The folder cannot be made.
        """
        private_folder(self._folder)
        if shutil.disk_usage(self._folder).free < len(state) + SPARE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._key = self._key or self._made_key()
        seal = self._seal(about)
        for start in range(0, len(state), CHUNK):
            seal.update(state[start : start + CHUNK])
        path = self._folder / f"{os.urandom(8).hex()}.part"
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
        try:
            with open(os.open(path, flags, 0o600), "wb", buffering=0) as file:  # noqa: PTH123
                file.write(MAGIC + seal.digest())
                _write_all(file.fileno(), state)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def publish(self, part: Path) -> str:
        """Give a written file its name, and return that."""
        path = part.with_suffix(".kv")
        part.replace(path)
        return path.name

    def read(self, name: str, about: bytes, size: int, buffer: bytearray) -> None:
        """Read a state of ``size`` bytes into ``buffer``, which grows.

        Raises:
            Refused: The file is not what was written for this purpose, or is gone.
        """
        if len(buffer) < size:
            buffer.extend(bytes(size - len(buffer)))
        seal = self._seal(about)
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        flags |= getattr(os, "O_NONBLOCK", 0)
        try:
            with open(os.open(self._folder / name, flags), "rb", buffering=0) as file:  # noqa: PTH123
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_size != HEADER + size:
                    raise Refused(f"{name} is not the file that was written")
                header = file.read(HEADER)
                view = memoryview(buffer)[:size]
                done = 0
                while done < size:
                    count = file.readinto(view[done : done + CHUNK])
                    if not count:
                        raise Refused(f"{name} became shorter while it was read")
                    seal.update(view[done : done + count])
                    done += count
        except OSError as error:
            raise Refused(f"{name}: {error.strerror}") from error
        if header != MAGIC + seal.digest():
            raise Refused(f"{name} is damaged, or was not written here")

    def remove(self, names: Iterator[str] | list[str]) -> None:
        """Delete files; those that are gone already are no failure."""
        for name in names:
            with suppress(OSError):
                (self._folder / name).unlink()

    def names(self) -> list[str]:
        """The published files."""
        return [path.name for path in self._folder.glob("*.kv")] if self._folder.is_dir() else []

    def remove_stale(self) -> None:
        """Delete files that a process left half-written."""
        for path in self._folder.glob("*.part"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE:
                    path.unlink()

    def _seal(self, about: bytes) -> hashlib.blake2b:
        self._key = self._key or self._known_key()
        if not self._key:
            raise Refused("there is no key of this user's")
        return hashlib.blake2b(about, digest_size=SEAL, key=self._key)

    def _known_key(self) -> bytes:
        with suppress(OSError):
            key = self._key_file.read_bytes()
            if len(key) == SEAL:
                return key
        return b""

    def _made_key(self) -> bytes:
        """The user's key, made when there is none.

        Where two processes make one at the same time, the files of one of them will be refused.
        """
        if not self._known_key():
            write_private(self._key_file, os.urandom(SEAL))
        return self._known_key()


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data[: 64 * CHUNK]) :]
