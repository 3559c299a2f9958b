"""What happens while a model is pulled. Bytes are counted over all files of the model."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tchat.models.hub.repo_files import RepoListing, RepoModel

if TYPE_CHECKING:
    from tchat.models.hub.remote_model import RemoteModel

WINDOW = 5.0  # seconds that the rate is measured over


@dataclass(frozen=True, slots=True)
class ModelSelected:
    """The hub knows the model; ``missing`` bytes of it are not here yet.

    ``remote_model`` says how it would run here; None where its pull was begun earlier, or no
    machine was given. A caller that does not want it stops here: nothing was downloaded yet.
    """

    listing: RepoListing
    model: RepoModel
    missing: int
    remote_model: RemoteModel | None = None


@dataclass(frozen=True, slots=True)
class ReadingHeader:
    """The header of a file is being read, to tell how the model would do here."""

    file: str


@dataclass(frozen=True, slots=True)
class CheckingFile:
    """What an earlier attempt left is read again for its hash: ``done`` of ``total`` bytes."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Downloading:
    """``done`` of ``total`` bytes are here; ``rate`` in bytes a second, ``left`` in seconds.

    Both are 0 until they are known.
    """

    done: int
    total: int
    rate: float
    left: float


@dataclass(frozen=True, slots=True)
class WaitingForLock:
    """Another process pulls the same file, and has ``done`` of ``total`` bytes."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class DownloadStalled:
    """Nothing came for ``seconds``; after ``timeout`` the connection is made anew."""

    seconds: float
    timeout: float


@dataclass(frozen=True, slots=True)
class RetryingDownload:
    """It failed for ``reason`` and is tried again after ``wait`` seconds."""

    reason: str
    wait: float


@dataclass(frozen=True, slots=True)
class HubUnavailable:
    """The hub could not be asked, and the model is complete: ``reason`` says why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pulled:
    """The end: the model's files, the first part first.

    Attributes:
        model: What was pulled.
        paths: In the cache, below ``snapshots``.
        fetched: Bytes that came over the network; 0 when everything was there.
        seconds: It took.
    """

    model: RepoModel
    paths: tuple[Path, ...]
    fetched: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PullStopped:
    """The end, because it was cancelled: ``done`` of ``total`` bytes are kept."""

    done: int
    total: int


PullEvent: TypeAlias = (
    ReadingHeader
    | ModelSelected
    | CheckingFile
    | Downloading
    | WaitingForLock
    | DownloadStalled
    | RetryingDownload
    | HubUnavailable
    | Pulled
    | PullStopped
)


class DownloadMeter:
    """Counts the bytes of a model, and how fast they come.

    Attributes:
        fetched: Bytes that came over the network.
        header_seconds: Seconds that the header took, which the download begins with.
    """

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
        """All files together have ``total`` bytes."""
        self._total = total
        self._begun = self._clock()

    @property
    def seconds(self) -> float:
        """Since the begin, and those of the header."""
        return self.header_seconds + self._clock() - self._begun

    def finish(self, size: int) -> None:
        """A file of ``size`` bytes is complete."""
        self._finished += size
        self._position = 0

    def waiting(self, position: int) -> WaitingForLock:
        """The other process is at ``position`` in the current file."""
        return WaitingForLock(self._finished + position, self._total)

    def stopped(self) -> PullStopped:
        """It ends where it is."""
        return PullStopped(self._finished + self._position, self._total)

    def pulling(self, position: int) -> Downloading:
        """The current file is at ``position``."""
        self._position = position
        now, done = self._clock(), self._finished + position
        self._marks.append((now, self.fetched))
        while now - self._marks[0][0] > WINDOW:
            self._marks.popleft()
        since, fetched = self._marks[0]
        rate = (self.fetched - fetched) / (now - since) if now > since else 0.0
        return Downloading(done, self._total, rate, (self._total - done) / rate if rate else 0.0)
