"""The download of one file: resumed across processes, verified, and complete or not there.

huggingface_hub's own download starts from zero after a kill, and does not verify the content.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar

from tchat.errors import ModelError, StorageError
from tchat.models.files import HashCache, cached_sha256, file_key, hash_file
from tchat.models.hub.api import HubApi
from tchat.models.hub.cache import HubCache, unwritable
from tchat.models.hub.errors import HubError
from tchat.models.hub.partial_file import PartialFile, new_hash
from tchat.models.hub.pull_events import (
    CheckingFile,
    DownloadMeter,
    DownloadStalled,
    PullEvent,
    RetryingDownload,
)
from tchat.models.hub.remote_model import HeaderCache
from tchat.models.hub.repo_files import RepoFile
from tchat.sanitize import single_line

if TYPE_CHECKING:
    from filelock import BaseFileLock

T = TypeVar("T")

DRAWN = 0.1  # seconds between two events of progress
PROGRESS = 64 << 10  # bytes more than at the last failure that set the count of failures back


@dataclass(frozen=True, slots=True)
class RetryPolicy:
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


class DownloadCancelled(Exception):
    """The caller's flag is set."""


@dataclass(frozen=True, slots=True)
class Downloader:
    """What the downloads of one model share.

    Attributes:
        hub: Where the files come from.
        cache: Where they go to.
        meter: Counts.
        retry_policy: With the hub.
        cancelled: Asked several times a second whether to stop.
        header_cache: What was read of the files already; a download begins with it.
        hashes: Remembers the SHA-256 of files that were read.
    """

    hub: HubApi
    cache: HubCache
    meter: DownloadMeter
    retry_policy: RetryPolicy
    cancelled: Callable[[], bool]
    header_cache: HeaderCache
    hashes: HashCache

    def fetch(self, file: RepoFile) -> Iterator[PullEvent]:
        """Have the verified content of ``file`` in the cache.

        Raises:
            HubError: The hub cannot be asked, refuses, or sends something else.
            ModelNotFound: The file is gone.
            StorageError: The disk stands in the way.
            Cancelled: The caller's flag is set; what came is kept.
        """
        lock = _file_lock(self.cache.lock(file))
        while not _acquired(lock):
            yield self.meter.waiting(self.cache.present_bytes(file))
            self._pause(TICK)
        try:
            if not (yield from self.verified(file)):
                yield from self._fetch(file)
                self.cache.finalize(file)
                if file.sha256:
                    self.hashes.store_sha256(file_key(self.cache.blob(file)), file.sha256)
        finally:
            lock.release()
        self.meter.finish(file.size)

    def verified(self, file: RepoFile) -> Generator[PullEvent, None, bool]:
        """Whether the content is in the cache and has the hash that the hub names.

        The cache is shared: what another program put there is read once before it is trusted. A
        wrong content under a name of its own, where the file system knows no links, is deleted.
        """
        path = self.cache.find_content(file)
        if path is None:
            return False
        try:
            right = (yield from self._hash(path, file)) == file.blob
        except ModelError:  # it went away, changes, or cannot be read
            right = False
        if not right:
            yield RetryingDownload("what is here is damaged", 0.0)
            self.cache.discard(file)
        return right

    def _hash(self, path: Path, file: RepoFile) -> Generator[PullEvent, None, str]:
        hashing = (
            cached_sha256(path, self.hashes) if file.sha256 else hash_file(path, new_hash(file))
        )
        while True:
            try:
                progress = next(hashing)
            except StopIteration as end:
                return str(end.value)
            self._check_cancelled()
            yield CheckingFile(progress.done, progress.total)

    def with_retries(
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
                wait = self.retry_policy.wait(failures, error)
                if not error.transient or failures > limit or wait > self.retry_policy.longest_wait:
                    raise
                yield RetryingDownload(error.message, wait)
                self._pause(wait)

    def _fetch(self, file: RepoFile) -> Iterator[PullEvent]:
        with PartialFile(self.cache.incomplete(file), file) as partial:
            for done, left in partial.resume():
                self._check_cancelled()
                yield CheckingFile(done, left)
            if not partial.size:
                self.meter.fetched += partial.append(self.header_cache.pop(file))
            doubtful = partial.size > 0
            yield from self._receive(file, partial)
            if not partial.is_valid() and doubtful:
                # The earlier part may be at fault: a power failure, or another program.
                yield RetryingDownload("what came earlier is damaged", 0.0)
                partial.reset()
                yield from self._receive(file, partial)
            if not partial.is_valid():
                partial.reset()
                raise HubError(
                    f"what came of {single_line(file.name)} has not the hash that the hub names",
                    "it was thrown away; try again later, or check the proxy",
                )

    def _receive(self, file: RepoFile, partial: PartialFile) -> Iterator[PullEvent]:
        """All that is missing of ``file``."""
        yield from self.with_retries(
            lambda: self._request(file, partial),
            limit=self.retry_policy.attempts,
            progress=lambda: partial.size,
        )

    def _request(self, file: RepoFile, partial: PartialFile) -> Generator[PullEvent, None, None]:
        """What one request brings; none is made when all is there."""
        if partial.is_complete:
            return
        heard = drawn = time.monotonic()
        with ChunkStream(self.hub, file, partial.size) as stream:
            for item in stream:
                self._check_cancelled()
                now = time.monotonic()
                if isinstance(item, int):
                    if item != partial.size:
                        partial.reset()
                elif item:
                    self.meter.fetched += partial.append(item)
                    heard = now
                elif now - heard >= self.retry_policy.warn:
                    yield DownloadStalled(now - heard, self.hub.timeout)
                if now - drawn >= DRAWN:
                    drawn = now
                    yield self.meter.pulling(partial.size)
                if partial.is_complete:
                    return
        if not partial.is_complete:
            raise HubError("the connection was cut", "try again: a pull goes on", transient=True)

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check_cancelled()
            time.sleep(min(left, TICK))
        self._check_cancelled()

    def _check_cancelled(self) -> None:
        if self.cancelled():
            raise DownloadCancelled


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


TICK = 0.25  # seconds without a chunk after which the reader hears of it
AHEAD = 4  # chunks of up to 64 KiB that are in memory only: a kill loses them

# A chunk, where the body begins, or how it ended: None, or the failure.
Item: TypeAlias = bytes | int | BaseException | None


class ChunkStream:
    """The bytes of ``file`` from ``start`` on. Leaving the block ends it without waiting."""

    def __init__(self, hub: HubApi, file: RepoFile, start: int) -> None:
        self._items: queue.Queue[Item] = queue.Queue(AHEAD)
        self._left = threading.Event()
        self._thread = threading.Thread(
            target=self._read, args=(hub, file, start), name="pull", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()

    def __iter__(self) -> Iterator[bytes | int]:
        """Where the answer begins, then its chunks; an empty one when none came for `TICK`.

        Raises:
            TchatError: As `HubApi.open`.
        """
        while True:
            try:
                item = self._items.get(timeout=TICK)
            except queue.Empty:
                yield b""
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def _read(self, hub: HubApi, file: RepoFile, start: int) -> None:
        try:
            with hub.open(file, start) as body:
                self._put(body.start)
                for chunk in body.chunks:
                    if not self._put(chunk):
                        return
        except BaseException as error:  # noqa: BLE001 - raised again by the reader
            self._put(error)
        else:
            self._put(None)

    def _put(self, item: Item) -> bool:
        """Hand ``item`` on; False when nobody waits for it any more."""
        while not self._left.is_set():
            try:
                self._items.put(item, timeout=TICK)
            except queue.Full:
                continue
            return True
        return False
