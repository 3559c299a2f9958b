"""The snapshot store of one user: index and files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from tchat.engine.snapshots.chain import Chain, Link, Segment, cut, lead_of, packed, tokens_of
from tchat.engine.snapshots.files import SealKey, SegmentFiles, SegmentRefused
from tchat.engine.snapshots.index import Index, ModelRecord, SessionSnapshot
from tchat.errors import StorageError


class SnapshotStore:
    """Segments of all models and sessions. It is a cache: the chat goes on when it fails.

    Anybody may have written the files in its folder: see `Index` and `SegmentFiles`.
    Several processes may use it, each from one thread at a time.

    Args:
        folder: Index and files; made at the first writing.
        key: File with the key that the files are sealed with.
    """

    def __init__(self, folder: Path, key: Path) -> None:
        self.key = SealKey(key)
        self._folder = folder
        self._files = SegmentFiles(folder, self.key)
        self._file = folder / "index.db"
        self.index = Index(self._file)

    @property
    def is_there(self) -> bool:
        """Whether anything was ever stored."""
        return os.path.lexists(self._file)

    def close(self) -> None:
        """Close the index."""
        self.index.close()

    def read(self, key: str, chain: Chain, place: int, buffer: bytearray) -> int:
        """Read the state of a chain's link into ``buffer``; returns its length in bytes.

        Raises:
            Refused: Its file is damaged; it is removed with all that continue it.
        """
        segment = chain[place].segment
        try:
            about = _about(key, cut(chain[:place], segment.start), segment.tokens)
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
        data = packed(tokens)
        segment = Segment(0, parent, start, start + len(tokens), data, "", len(state))
        with suppress(OSError, StorageError):  # a full disk; gone meanwhile
            part = self._files.write(_about(key, chain, data), state, should_continue)
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
        """Remove what only these sessions hold, and files that the index does not list.

        Raises:
            StorageError: They cannot be removed.
        """
        if self.is_there:
            files = self.index.forget(list(sessions))
            self._remove([*files, *self._strays()])

    def shrink(self, limit: int, keep: Iterable[int] = ()) -> int:
        """Remove the least recently used down to ``limit`` bytes; returns the bytes removed.

        Raises:
            StorageError: It cannot be removed.
        """
        if not self.is_there:
            return 0
        before = self.index.size()
        self._remove(self.index.shrink(limit, keep))
        return before - self.index.size()

    def sweep(self, exists: Callable[[str], bool]) -> None:
        """Remove what no existing session holds, and `tidy`.

        Args:
            exists: Whether a session exists.

        Raises:
            StorageError: It cannot be removed.
        """
        if self.is_there:
            self.forget([session for session in self.index.holders() if not exists(session)])
            self.tidy()

    def tidy(self) -> None:
        """Remove files that the index does not list, as a killed process leaves them."""
        self._files.remove(self._strays())
        self._files.remove_stale()

    def clear(self) -> int:
        """Remove all states; returns their bytes. Keeps the measurements.

        Raises:
            StorageError: They cannot be removed.
        """
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
        wanted = list(names)
        failure = self._files.remove(wanted)
        reason = failure.strerror if failure else self.index.failure
        if reason and (wanted or not self.index.is_known):
            raise StorageError(
                f"what is saved of chats in {self._folder} cannot be removed: {reason}",
                "make the folder writable, or delete it yourself",
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


def _about(key: str, before: Chain, tokens: bytes) -> bytes:
    """A hash of what a state depends on: the model with its parameters, and all tokens."""
    about = hashlib.blake2b(key.encode(), digest_size=32)
    about.update(packed(tokens_of(before)))
    about.update(b"|")
    about.update(tokens)
    return about.digest()
