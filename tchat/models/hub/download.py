"""The download of one file: resumed across processes, verified, and complete or not there.

huggingface_hub's own download starts from zero after a kill, and does not verify the content.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar

from tchat.errors import ModelError, StorageError
from tchat.models.files import HashCache, cached_sha256, file_key, hash_file
from tchat.models.hub.api import HubApi
from tchat.models.hub.cache import HubCache, PartialFile, new_hash, writing
from tchat.models.hub.client import HubError
from tchat.models.hub.remote_model import HeaderCache
from tchat.models.hub.repository import RepoFile
from tchat.private_files import acquire_lock
from tchat.sanitize import single_line
from tchat.translation import tr

if TYPE_CHECKING:
    from filelock import BaseFileLock

T = TypeVar("T")

REPORT_SECONDS = 0.1  # between two events of progress
PROGRESS = 64 << 10  # bytes since the last failure that reset the count of failures
TICK = 0.25  # seconds without a chunk after which the reader gets an empty one
QUEUED_CHUNKS = 4  # of up to 64 KiB, in memory only: a kill loses them
# A chunk, the position of the body's first byte, or its end: None, or the error.
Item: TypeAlias = bytes | int | BaseException | None


WINDOW = 5.0  # seconds over which the rate is measured


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is retried, and after how long.

    Attributes:
        asking: Failures of the listing before it is given up.
        attempts: Failures of a download in a row, without progress, before it is given up.
        first_wait: Seconds after the first failure; doubled after each further one.
        longest_wait: Seconds; when the hub asks for more, the download fails.
        warn: Seconds without a byte after which `DownloadStalled` is reported.
    """

    asking: int = 2
    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    warn: float = 5.0

    def wait(self, failures: int, error: HubError) -> float:
        """Seconds to wait after ``failures`` failures, the last of which was ``error``."""
        if error.retry_after is not None:
            return error.retry_after
        return min(self.first_wait * (1 << failures - 1), self.longest_wait)


class DownloadCancelled(Exception):
    """The caller cancelled the download."""


@dataclass(frozen=True, slots=True)
class Downloader:
    """Downloads the files of one model.

    A download begins with the bytes in ``header_cache``. ``cancelled`` is polled several times a
    second.
    """

    hub: HubApi
    cache: HubCache
    meter: DownloadMeter
    retry_policy: RetryPolicy
    cancelled: Callable[[], bool]
    header_cache: HeaderCache
    hashes: HashCache

    def fetch(self, file: RepoFile) -> Iterator[DownloadEvent]:
        """Download ``file`` into the cache, unless its verified content is there.

        Raises:
            HubError: A request failed, or the content is wrong.
            ModelNotFound: The file is gone.
            StorageError: It cannot be written.
            DownloadCancelled: The caller cancelled; what was downloaded is kept.
        """
        while (lock := _acquired(self.cache.lock(file))) is None:
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

    def verified(self, file: RepoFile) -> Generator[DownloadEvent, None, bool]:
        """Whether the cache holds the content with the hash that the hub lists.

        The cache is shared: content written by other programs is hashed once before it is trusted.
        Wrong content is discarded.
        """
        path = self.cache.find_content(file)
        if path is None:
            return False
        try:
            right = (yield from self._hash(path, file)) == file.blob
        except ModelError:  # it is gone, changed, or cannot be read
            right = False
        if not right:
            yield RetryingDownload(tr("the cached file is damaged"), 0.0)
            self.cache.discard(file)
        return right

    def _hash(self, path: Path, file: RepoFile) -> Generator[DownloadEvent, None, str]:
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
        attempt: Callable[[], Generator[DownloadEvent, None, T]],
        *,
        limit: int,
        progress: Callable[[], int] = int,
    ) -> Generator[DownloadEvent, None, T]:
        """Repeat ``attempt`` until it succeeds, fails for good, or fails too often in a row.

        ``progress`` gives the bytes downloaded; `PROGRESS` more of them reset the count of
        failures.

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

    def retried(self, request: Callable[[], T], *, limit: int) -> Generator[DownloadEvent, None, T]:
        """As `with_retries`, for a request without events."""

        def attempt() -> Generator[DownloadEvent, None, T]:
            yield from ()
            return request()

        return (yield from self.with_retries(attempt, limit=limit))

    def _fetch(self, file: RepoFile) -> Iterator[DownloadEvent]:
        with PartialFile(self.cache.incomplete(file), file) as partial:
            for done, left in partial.resume():
                self._check_cancelled()
                yield CheckingFile(done, left)
            if not partial.size:
                self.meter.fetched += partial.append(self.header_cache.pop(file))
            resumed = partial.size > 0
            yield from self._receive(file, partial)
            if not partial.is_valid() and resumed:
                # The part of an earlier attempt may be damaged by a power failure or a program.
                yield RetryingDownload(tr("the earlier part is damaged"), 0.0)
                partial.reset()
                yield from self._receive(file, partial)
            if not partial.is_valid():
                partial.reset()
                raise HubError(
                    tr(
                        "{name} does not have the hash that the hub lists",
                        name=single_line(file.name),
                    ),
                    tr("it was discarded; try again later, or check the proxy"),
                )

    def _receive(self, file: RepoFile, partial: PartialFile) -> Iterator[DownloadEvent]:
        """Download what is missing of ``file``, with retries."""
        yield from self.with_retries(
            lambda: self._request(file, partial),
            limit=self.retry_policy.attempts,
            progress=lambda: partial.size,
        )

    def _request(
        self, file: RepoFile, partial: PartialFile
    ) -> Generator[DownloadEvent, None, None]:
        """Make one request for what is missing; none when the file is complete."""
        if partial.is_complete:
            return
        received = reported = time.monotonic()
        with ChunkStream(self.hub, file, partial.size) as stream:
            for item in stream:
                self._check_cancelled()
                now = time.monotonic()
                if isinstance(item, int):
                    if item != partial.size:
                        partial.reset()
                elif item:
                    self.meter.fetched += partial.append(item)
                    received = now
                elif now - received >= self.retry_policy.warn:
                    yield DownloadStalled(now - received, self.hub.limits.silence)
                if now - reported >= REPORT_SECONDS:
                    reported = now
                    yield self.meter.pulling(partial.size)
                if partial.is_complete:
                    return
        if not partial.is_complete:
            raise HubError(
                tr("the connection was cut"), tr("try again: the pull resumes"), transient=True
            )

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check_cancelled()
            time.sleep(min(left, TICK))
        self._check_cancelled()

    def _check_cancelled(self) -> None:
        if self.cancelled():
            raise DownloadCancelled


def _acquired(path: Path) -> BaseFileLock | None:
    """The lock of a download, shared with huggingface_hub; None when it is taken."""
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return acquire_lock(path, 0, mode=0o664)
    except (OSError, NotImplementedError) as error:
        raise StorageError(
            tr("cannot lock {path}: {error}", path=path, error=error),
            tr("set HF_HUB_CACHE to a folder that you may write to"),
        ) from error


class ChunkStream:
    """The bytes of ``file`` from ``start`` on, received on a thread.

    The reader notices a silent connection, and can leave the block without waiting.
    """

    def __init__(self, hub: HubApi, file: RepoFile, start: int) -> None:
        self._items: queue.Queue[Item] = queue.Queue(QUEUED_CHUNKS)
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._read, args=(hub, file, start), name="pull", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()

    def __iter__(self) -> Iterator[bytes | int]:
        """The position of the first byte, then chunks; an empty one when none came for `TICK`."""
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
            with hub.open(file, start) as (begins, chunks):
                self._put(begins)
                for chunk in chunks:
                    if not self._put(chunk):
                        return
        except BaseException as error:  # noqa: BLE001 - raised again by the reader
            self._put(error)
        else:
            self._put(None)

    def _put(self, item: Item) -> bool:
        """Queue ``item``; False when the reader has left."""
        while not self._closed.is_set():
            try:
                self._items.put(item, timeout=TICK)
            except queue.Full:
                continue
            return True
        return False


@dataclass(frozen=True, slots=True)
class CheckingFile:
    """``done`` of ``total`` bytes of an existing file are hashed."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Downloading:
    """``done`` of ``total`` bytes are downloaded.

    ``rate`` is in bytes per second, ``left`` in seconds; both are 0 until they are known.
    """

    done: int
    total: int
    rate: float
    left: float


@dataclass(frozen=True, slots=True)
class WaitingForLock:
    """Another process downloads the same file; ``done`` of ``total`` bytes are there."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class DownloadStalled:
    """No byte came for ``seconds``; after ``timeout`` the request is repeated."""

    seconds: float
    timeout: float


@dataclass(frozen=True, slots=True)
class RetryingDownload:
    """A request failed for ``reason``; it is repeated after ``wait`` seconds."""

    reason: str
    wait: float


@dataclass(frozen=True, slots=True)
class PullStopped:
    """The pull was cancelled; ``done`` of ``total`` bytes are kept."""

    done: int
    total: int


DownloadEvent: TypeAlias = (
    CheckingFile | Downloading | WaitingForLock | DownloadStalled | RetryingDownload | PullStopped
)


class DownloadMeter:
    """Counts the bytes of a pull, and their rate."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.fetched = 0
        self.header_seconds = 0.0
        self._total = 0
        self._finished = 0
        self._position = 0
        self._clock = clock
        self._begun = clock()
        self._marks: deque[tuple[float, int]] = deque()

    def begin(self, total: int) -> None:
        """Start to count; all files together have ``total`` bytes."""
        self._total = total
        self._begun = self._clock()

    @property
    def seconds(self) -> float:
        """Seconds since `begin`, and those of the header."""
        return self.header_seconds + self._clock() - self._begun

    def finish(self, size: int) -> None:
        """A file of ``size`` bytes is complete."""
        self._finished += size
        self._position = 0

    def waiting(self, position: int) -> WaitingForLock:
        """The event for another process at ``position`` in the current file."""
        return WaitingForLock(self._finished + position, self._total)

    def stopped(self) -> PullStopped:
        """The event for a cancelled pull."""
        return PullStopped(self._finished + self._position, self._total)

    def pulling(self, position: int) -> Downloading:
        """The event for ``position`` in the current file."""
        self._position = position
        now, done = self._clock(), self._finished + position
        self._marks.append((now, self.fetched))
        while now - self._marks[0][0] > WINDOW:
            self._marks.popleft()
        since, fetched = self._marks[0]
        rate = (self.fetched - fetched) / (now - since) if now > since else 0.0
        return Downloading(done, self._total, rate, (self._total - done) / rate if rate else 0.0)
