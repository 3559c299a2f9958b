"""The download of one file: resumed across processes, verified, and complete or not there.

huggingface_hub's own starts from zero after a kill and does not verify; FIELD-NOTES has the facts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tchat.errors import ModelError, StorageError
from tchat.models.beginnings import Beginnings
from tchat.models.files import file_key
from tchat.models.hashing import HashMemory, known_hash, read_hash
from tchat.models.hub import Hub
from tchat.models.hub_answers import HubError
from tchat.models.hub_cache import HubCache, unwritable
from tchat.models.hub_files import RemoteFile
from tchat.models.pull_events import Checking, Meter, PullEvent, Retrying, Stalled
from tchat.models.transfer_file import GrowingFile, new_hash
from tchat.models.transfer_stream import TICK, Stream
from tchat.sanitize import single_line

if TYPE_CHECKING:
    from filelock import BaseFileLock

T = TypeVar("T")

DRAWN = 0.1  # seconds between two events of progress
PROGRESS = 64 << 10  # bytes more than at the last failure that set the count of failures back


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a download waits for the hub.

    Attributes:
        asking: Failures to list the repository that are borne.
        attempts: Failures of a download that are borne in a row, without a byte between them.
        first_wait: Seconds after the first of them; twice as long after each further one.
        longest_wait: Seconds; a hub that asks for more is not waited for.
        warn: Seconds without a byte after which it is said.
    """

    asking: int = 2
    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    warn: float = 5.0

    def wait(self, failures: int, error: HubError) -> float:
        """Seconds to wait after so many failures, the last of which was ``error``."""
        if error.retry_after is not None:
            return error.retry_after
        return min(self.first_wait * (1 << failures - 1), self.longest_wait)


class Cancelled(Exception):
    """The caller's flag is set."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """What the downloads of one model share.

    Attributes:
        hub: Where the files come from.
        cache: Where they go to.
        meter: Counts.
        patience: With the hub.
        cancelled: Asked several times a second whether to stop.
        beginnings: What was read of the files already; a download begins with it.
        hashes: Remembers the SHA-256 of files that were read.
    """

    hub: Hub
    cache: HubCache
    meter: Meter
    patience: Patience
    cancelled: Callable[[], bool]
    beginnings: Beginnings
    hashes: HashMemory

    def fetch(self, file: RemoteFile) -> Iterator[PullEvent]:
        """Have the verified content of ``file`` in the cache.

        Raises:
            HubError: The hub cannot be asked, refuses, or sends something else.
            ModelNotFound: The file is gone.
            StorageError: The disk stands in the way.
            Cancelled: The caller's flag is set; what came is kept.
        """
        lock = _file_lock(self.cache.lock(file))
        while not _acquired(lock):
            yield self.meter.waiting(self.cache.present(file))
            self._pause(TICK)
        try:
            if not (yield from self.verified(file)):
                yield from self._fetch(file)
                self.cache.arrive(file)
                if file.sha256:
                    self.hashes.remember_sha256(file_key(self.cache.blob(file)), file.sha256)
        finally:
            lock.release()
        self.meter.finish(file.size)

    def verified(self, file: RemoteFile) -> Generator[PullEvent, None, bool]:
        """Whether the content is in the cache and has the hash that the hub names.

        The cache is shared: what another program put there is read once before it is trusted. A
        wrong content under a name of its own, where the file system knows no links, is deleted.
        """
        path = self.cache.content(file)
        if path is None:
            return False
        try:
            right = (yield from self._hash(path, file)) == file.blob
        except ModelError:  # it went away, changes, or cannot be read
            right = False
        if not right:
            yield Retrying("what is here is damaged", 0.0)
            self.cache.discard(file)
        return right

    def _hash(self, path: Path, file: RemoteFile) -> Generator[PullEvent, None, str]:
        hashing = known_hash(path, self.hashes) if file.sha256 else read_hash(path, new_hash(file))
        while True:
            try:
                progress = next(hashing)
            except StopIteration as end:
                return str(end.value)
            self._heed()
            yield Checking(progress.done, progress.total)

    def retried(
        self,
        attempt: Callable[[], Generator[PullEvent, None, T]],
        *,
        limit: int,
        progress: Callable[[], int] = int,
    ) -> Generator[PullEvent, None, T]:
        """``attempt`` until it succeeds, or its failure is no passing one, or one too many.

        Args:
            attempt: Makes the attempt.
            limit: Failures in a row that are borne.
            progress: Bytes that are there; `PROGRESS` more of them set the count back.

        Raises:
            TchatError: The last failure.
        """
        failures, best = 0, progress()
        while True:
            try:
                return (yield from attempt())
            except HubError as error:
                advanced = progress() - best >= PROGRESS
                failures = 1 if advanced else failures + 1
                best = max(best, progress())
                wait = self.patience.wait(failures, error)
                if not error.passing or failures > limit or wait > self.patience.longest_wait:
                    raise
                yield Retrying(error.message, wait)
                self._pause(wait)

    def _fetch(self, file: RemoteFile) -> Iterator[PullEvent]:
        with GrowingFile(self.cache.incomplete(file), file) as growing:
            for done, left in growing.take_up():
                self._heed()
                yield Checking(done, left)
            if not growing.size:
                self.meter.fetched += growing.append(self.beginnings.take(file))
            doubtful = growing.size > 0
            yield from self._receive(file, growing)
            if not growing.is_right() and doubtful:
                # The earlier part may be at fault: a power failure, or another program.
                yield Retrying("what came earlier is damaged", 0.0)
                growing.empty()
                yield from self._receive(file, growing)
            if not growing.is_right():
                growing.empty()
                raise HubError(
                    f"what came of {single_line(file.name)} has not the hash that the hub names",
                    "it was thrown away; try again later, or check the proxy",
                )

    def _receive(self, file: RemoteFile, growing: GrowingFile) -> Iterator[PullEvent]:
        """All that is missing of ``file``."""
        yield from self.retried(
            lambda: self._request(file, growing),
            limit=self.patience.attempts,
            progress=lambda: growing.size,
        )

    def _request(self, file: RemoteFile, growing: GrowingFile) -> Generator[PullEvent, None, None]:
        """What one request brings; none is made when all is there."""
        if growing.complete:
            return
        heard = drawn = time.monotonic()
        with Stream(self.hub, file, growing.size) as stream:
            for item in stream:
                self._heed()
                now = time.monotonic()
                if isinstance(item, int):
                    if item != growing.size:
                        growing.empty()
                elif item:
                    self.meter.fetched += growing.append(item)
                    heard = now
                elif now - heard >= self.patience.warn:
                    yield Stalled(now - heard, self.hub.timeout)
                if now - drawn >= DRAWN:
                    drawn = now
                    yield self.meter.pulling(growing.size)
                if growing.complete:
                    return
        if not growing.complete:
            raise HubError("the connection was cut", "try again: a pull goes on", passing=True)

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._heed()
            time.sleep(min(left, TICK))
        self._heed()

    def _heed(self) -> None:
        if self.cancelled():
            raise Cancelled


def _file_lock(path: Path) -> BaseFileLock:
    """The lock that huggingface_hub takes too, so that it waits for us and we for it."""
    from filelock import FileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path.parent, error) from error
    return FileLock(path, mode=0o664, thread_local=False)


def _acquired(lock: BaseFileLock) -> bool:
    from filelock import Timeout

    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        raise StorageError(
            f"cannot lock {lock.lock_file}: {error}",
            "set HF_HUB_CACHE to a folder that you may write to",
        ) from error
    return True
