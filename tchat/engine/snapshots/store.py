"""The snapshot store of one user: index and files."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.engine.snapshots.index import (
    Chain,
    Index,
    Link,
    ModelRecord,
    Segment,
    SessionSnapshot,
    cut,
    lead_of,
    pack_tokens,
    tokens_of,
)
from tchat.errors import StorageError
from tchat.private_files import private_folder, write_private
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from io import FileIO

    from tchat.encryption.encryption import Encryption


class SnapshotStore:
    """Segments of all models and sessions. It is a cache: the chat goes on when it fails.

    Anybody may have written the files in its folder: see `Index` and `SegmentFiles`. Several
    processes may use it, each from one thread at a time. The files are sealed with the key in the
    file ``key``, or encrypted. While an encrypted store is locked it is as if there were none:
    nobody is asked for a passphrase for the sake of a cache.
    """

    def __init__(self, folder: Path, key: Path, encryption: Encryption | None = None) -> None:
        self.key = SealKey(key)
        self._folder, self._encryption = folder, encryption
        self._files = SegmentFiles(folder, self.key, encryption)
        self._file = folder / "index.db"
        self.index = Index(self._file, encryption)

    @property
    def is_there(self) -> bool:
        """Whether anything was ever stored, and can be read."""
        is_open = self._encryption is None or self._encryption.is_unlocked
        return is_open and os.path.lexists(self._file)

    def close(self) -> None:
        """Close the index."""
        self.index.close()

    def read(self, key: str, chain: Chain, index: int, buffer: bytearray) -> int:
        """Read the state of a chain's link into ``buffer``; returns its length in bytes.

        Raises:
            SegmentRefused: Its file is damaged; it is removed with all that continue it.
        """
        segment = chain[index].segment
        try:
            about = _purpose(key, cut(chain[:index], segment.start), segment.tokens)
            self._files.read(segment.file, about, segment.size, buffer)
        except SegmentRefused:
            self._files.remove([segment.file, *self.index.drop(segment.id)])
            self.index.count("refused")
            raise
        return segment.size

    def add(
        self,
        key: str,
        chain: Chain,
        tokens: list[int],
        state: memoryview,
        session: str,
        *,
        should_continue: Callable[[], bool] = lambda: True,
    ) -> Chain | None:
        """Store the state of ``tokens``, which follow ``chain``; returns the longer chain.

        None when it cannot be stored, or ``should_continue`` said no; then nothing of it is left.
        """
        start = chain[-1].stop if chain else 0
        parent = chain[-1].segment.id if chain else None
        data = pack_tokens(tokens)
        segment = Segment(0, parent, start, start + len(tokens), data, "", len(state))
        with suppress(OSError, StorageError):  # a full disk; gone meanwhile
            part = self._files.write(_purpose(key, chain, data), state, should_continue)
            if part is None:
                return None
            try:
                added = self.index.add(
                    key,
                    segment,
                    lead_of(tokens_of(chain) + tokens),
                    session,
                    lambda: self._files.publish(part),
                )
            finally:
                part.unlink(missing_ok=True)
            if added and self.index.failure:  # nobody else would know of it
                self._files.remove([added.file])
                return None
            return (*chain, Link(added, added.stop)) if added else None
        return None

    def drop(self, segment: int) -> None:
        """Remove a segment with all that continue it."""
        self._files.remove(self.index.drop(segment))

    def forget(self, sessions: Iterable[str]) -> None:
        """Remove what only these sessions hold, and files that the index does not list."""
        if self.is_there:
            files = self.index.forget(list(sessions))
            self._remove([*files, *self._strays()])

    def shrink(self, limit: int, keep: Iterable[int] = ()) -> int:
        """Remove the least recently used down to ``limit`` bytes; returns the bytes removed."""
        if not self.is_there:
            return 0
        before = self.index.size()
        self._remove(self.index.shrink(limit, keep))
        return before - self.index.size()

    def sweep(self, exists: Callable[[str], bool]) -> None:
        """Remove what is held by no session that still ``exists``, and `tidy`."""
        if self.is_there:
            self.forget([session for session in self.index.holders() if not exists(session)])
            self.tidy()

    def tidy(self) -> None:
        """Remove files that the index does not list, as a killed process leaves them."""
        self._files.remove(self._strays())
        self._files.remove_stale()

    def clear(self) -> int:
        """Remove all states; returns their bytes. Keeps the measurements."""
        before = self._files.sizes()
        if self.is_there:
            self._remove([*self.index.clear(), *before])
        else:
            self._remove(before)
        self._files.remove_stale()
        after = self._files.sizes()
        return sum(size for name, size in before.items() if name not in after)

    def _strays(self) -> list[str]:
        """Files that the index does not list; none while the index is unusable."""
        strays = self.index.strays(list(self._files.sizes())) if self.is_there else []
        return [] if self.index.failure else strays

    def _remove(self, names: Iterable[str]) -> None:
        """Remove files with deleted chats; raise where that fails."""
        names = list(names)
        failure = self._files.remove(names)
        reason = failure.strerror if failure else self.index.failure
        if reason and (names or not self.index.is_known):
            raise StorageError(
                tr(
                    "what is saved of chats in {folder} cannot be removed: {reason}",
                    folder=self._folder,
                    reason=reason,
                ),
                tr("make the folder writable, or delete it yourself"),
            )

    def sessions(self) -> list[SessionSnapshot]:
        """The snapshots, by session."""
        return self.index.sessions() if self.is_there else []

    def models(self) -> list[ModelRecord]:
        """What is known of each model."""
        return self.index.models() if self.is_there else []

    def size(self) -> int:
        """Bytes of all states."""
        return self.index.size() if self.is_there else 0

    def counts(self) -> Mapping[str, int]:
        """How often states were restored, missed and refused."""
        return self.index.counts() if self.is_there else {}


def _purpose(key: str, before: Chain, tokens: bytes) -> bytes:
    """A hash of what a state depends on: the model with its parameters, and all tokens."""
    about = hashlib.blake2b(key.encode(), digest_size=32)
    about.update(pack_tokens(tokens_of(before)))
    about.update(b"|")
    about.update(tokens)
    return about.digest()


# Links are not followed, and pipes not waited for.
READ_FLAGS = os.O_RDONLY | sum(
    getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_BINARY", "O_NONBLOCK")
)
KEY_SIZE = 32  # bytes
IS_FOLDER = N_("is a folder")


class SealKey:
    """A random key in a file that nobody else may read, made when it is first needed.

    Who knows it can forge states that llama.cpp trusts. So a key that others could read or replace
    is replaced, and states sealed with it are refused. ``fault`` is what was wrong with the file at
    the last read; empty when nothing was.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.fault = ""
        self._key = b""

    @property
    def is_replaceable(self) -> bool:
        """Whether `require` replaces a key with a fault; a folder is left alone."""
        return self.fault != IS_FOLDER

    def known(self) -> bytes:
        """The key; empty where there is none that is safe."""
        self._key = self._key or self._read()
        return self._key

    def require(self) -> bytes:
        """The key; a new one where there is none that is safe.

        When two processes make one at the same time, the states of one of them are refused later.
        """
        if not self.known():
            try:
                self.file.unlink(missing_ok=True)  # a link is not followed, nor a pipe opened
            except OSError as error:
                raise StorageError(
                    tr("cannot replace {file}: {reason}", file=self.file, reason=error.strerror),
                    tr("move it away"),
                ) from error
            write_private(self.file, os.urandom(KEY_SIZE))
            self._key = self._read()
        return self._key

    def _read(self) -> bytes:
        self.fault = ""
        try:
            descriptor = os.open(self.file, READ_FLAGS)
        except FileNotFoundError:
            return b""
        except OSError as error:
            link = self.file.is_symlink()
            self.fault = (
                tr("is a link") if link else tr("cannot be read: {reason}", reason=error.strerror)
            )
            return b""
        try:
            self.fault = _key_fault(os.fstat(descriptor))
            return b"" if self.fault else os.read(descriptor, KEY_SIZE)
        except OSError as error:
            self.fault = tr("cannot be read: {reason}", reason=error.strerror)
            return b""
        finally:
            os.close(descriptor)


def _key_fault(status: os.stat_result) -> str:
    """Why a key in a file of this status is not safe."""
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return IS_FOLDER
    if not stat.S_ISREG(status.st_mode):
        return tr("is not a regular file")
    if os.name == "posix" and status.st_uid != os.geteuid():
        return tr("belongs to another user")
    if os.name == "posix" and mode & 0o077:
        return tr("could be read or replaced by others (mode {mode:o})", mode=mode)
    return "" if status.st_size == KEY_SIZE else tr("is damaged")


MAGIC = b"tchatKV2"
SEAL_SIZE = 32  # bytes of keyed BLAKE2b
HEADER_SIZE = len(MAGIC) + 2 * SEAL_SIZE
CHUNK = 1 << 20  # bytes hashed while they are warm in the cache
SPARE_DISK = 1 << 30  # bytes to leave free on the disk
STALE_SECONDS = 3600.0  # seconds after which a partial file is abandoned
NAME = re.compile(r"[0-9a-f]{16}\.kv")
PART = re.compile(r"[0-9a-f]{16}\.part")


class SegmentRefused(Exception):
    """A file is missing, damaged, or not from this user."""


class SegmentFiles:
    """Files in one folder, each with a header, two seals, and a state; or encrypted ones.

    llama.cpp trusts a state: a hostile one could write to any memory. The seals are keyed hashes
    with a key of this user, so damaged, swapped or foreign files are refused. The first covers the
    purpose and the size, so that no memory is allocated for foreign files; the second the state
    too. File names cannot lead out of the folder.
    """

    def __init__(self, folder: Path, key: SealKey, encryption: Encryption | None = None) -> None:
        self._folder = folder
        self._key, self._encryption = key, encryption

    def write(
        self, about: bytes, state: memoryview, should_continue: Callable[[], bool]
    ) -> Path | None:
        """Write a state to a temporary file; `publish` gives it its name. None when it was stopped.

        Args:
            about: The purpose of the state; `read` must be given the same.
            state: Its bytes.
            should_continue: Asked every few milliseconds; when it says no, the file is removed.

        Raises:
            OSError: The disk is full, or nearly, or cannot be written.
            StorageError: The folder or the key cannot be made, or the store is locked.
        """
        private_folder(self._folder)
        import shutil  # 3 ms, with its archive formats

        if shutil.disk_usage(self._folder).free < len(state) + SPARE_DISK:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        path = self._folder / f"{os.urandom(8).hex()}.part"
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
        done = False
        try:
            with open(os.open(path, flags, 0o600), "wb", buffering=0) as file:  # noqa: PTH123
                if self._encryption is None:
                    done = self._write_sealed(file, about, state, should_continue)
                else:
                    from tchat.engine.snapshots.encrypted_states import write_state

                    done = write_state(file, self._encryption, about, state, should_continue)
        finally:
            if not done:
                path.unlink(missing_ok=True)
        return path if done else None

    def _write_sealed(
        self, file: FileIO, about: bytes, state: memoryview, should_continue: Callable[[], bool]
    ) -> bool:
        purpose = _seal(self._key.require(), about, len(state))
        seal = purpose.copy()
        file.write(bytes(HEADER_SIZE))
        for start in range(0, len(state), CHUNK):
            if not should_continue():
                return False
            chunk = state[start : start + CHUNK]
            seal.update(chunk)
            _write_all(file.fileno(), chunk)
        file.seek(0)
        file.write(MAGIC + purpose.digest() + seal.digest())
        return True

    def publish(self, part: Path) -> str:
        """Give a written file its name; returns that."""
        path = part.with_suffix(".kv")
        part.replace(path)
        return path.name

    def read(self, name: str, about: bytes, size: int, buffer: bytearray) -> None:
        """Read a state of ``size`` bytes into ``buffer``, which grows.

        Raises:
            SegmentRefused: The file is missing, or was not written for this purpose.
            StoreLocked: The store is locked.
        """
        if not NAME.fullmatch(name):
            raise _of_others(name)
        try:
            with open(os.open(self._folder / name, READ_FLAGS), "rb", buffering=0) as file:  # noqa: PTH123
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise SegmentRefused(tr("{name} is not the file that was written", name=name))
                if self._encryption is None:
                    self._read_sealed(file, name, about, size, buffer)
                    return
                from tchat.engine.snapshots.encrypted_states import read_state

                # More than the file holds is not allocated.
                is_long = status.st_size >= size
                if not is_long or not read_state(
                    file, self._encryption, about, _grown(buffer, size)
                ):
                    raise SegmentRefused(tr("{name} is damaged", name=name))
        except OSError as error:
            raise SegmentRefused(f"{name}: {error.strerror}") from error

    def _read_sealed(
        self, file: FileIO, name: str, about: bytes, size: int, buffer: bytearray
    ) -> None:
        if not (key := self._key.known()):
            raise _of_others(name)
        seal = _seal(key, about, size)
        if os.fstat(file.fileno()).st_size != HEADER_SIZE + size:
            raise SegmentRefused(tr("{name} is not the file that was written", name=name))
        header = file.read(HEADER_SIZE) or b""
        if header[:-SEAL_SIZE] != MAGIC + seal.digest():
            raise SegmentRefused(
                tr("{name} was written for something else, or not here", name=name)
            )
        view = _grown(buffer, size)
        done = 0
        while done < size:
            count = file.readinto(view[done : done + CHUNK])
            if not count:
                raise SegmentRefused(tr("{name} became shorter while it was read", name=name))
            seal.update(view[done : done + count])
            done += count
        if header[-SEAL_SIZE:] != seal.digest():
            raise SegmentRefused(tr("{name} is damaged", name=name))

    def remove(self, names: Iterable[str]) -> OSError | None:
        """Delete files; returns an error that kept one. Missing files are no error."""
        failure = None
        for name in names:
            if not NAME.fullmatch(name):
                continue
            try:
                (self._folder / name).unlink()
            except FileNotFoundError:
                pass
            except OSError as error:
                failure = error
        return failure

    def sizes(self) -> dict[str, int]:
        """The published files, with the bytes of their states."""
        found = {}
        for entry in self._matching(NAME):
            with suppress(OSError):  # another process removed it
                found[entry.name] = max(0, entry.stat(follow_symlinks=False).st_size - HEADER_SIZE)
        return found

    def remove_stale(self) -> None:
        """Delete abandoned partial files."""
        for entry in self._matching(PART):
            with suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE_SECONDS:
                    (self._folder / entry.name).unlink()

    def _matching(self, pattern: re.Pattern[str]) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._folder) as entries:
                ours = [entry for entry in entries if pattern.fullmatch(entry.name)]
                return [entry for entry in ours if not entry.is_dir(follow_symlinks=False)]
        except OSError:
            return []


def _of_others(name: str) -> SegmentRefused:
    return SegmentRefused(tr("{name!r} was not written with this user's key", name=name))


def _grown(buffer: bytearray, size: int) -> memoryview:
    """The first ``size`` bytes of ``buffer``, which grows where it is shorter."""
    if len(buffer) < size:
        buffer.extend(bytes(size - len(buffer)))
    return memoryview(buffer)[:size]


def _seal(key: bytes, about: bytes, size: int) -> hashlib.blake2b:
    return hashlib.blake2b(about + size.to_bytes(8, "little"), digest_size=SEAL_SIZE, key=key)


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
