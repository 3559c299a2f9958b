"""Events of a pull. Bytes are counted over all files of the model."""

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

WINDOW = 5.0  # seconds over which the rate is measured


@dataclass(frozen=True, slots=True)
class ModelSelected:
    """The model was chosen; ``missing`` bytes of it are not downloaded yet.

    ``remote_model`` says how it would run here; None where its pull was begun earlier, or no
    machine was given. A caller that does not want it stops here: nothing was downloaded yet.
    """

    listing: RepoListing
    model: RepoModel
    missing: int
    remote_model: RemoteModel | None = None


@dataclass(frozen=True, slots=True)
class ReadingHeader:
    """The header of ``file`` is being read, to check how the model would run here."""

    file: str


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
class HubUnavailable:
    """The hub cannot be reached for ``reason``, but the cached model is complete."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pulled:
    """The pull is complete.

    Attributes:
        model: The model.
        paths: Its files in the snapshot, the first part first.
        fetched: Bytes downloaded; 0 when everything was cached.
        seconds: Duration.
    """

    model: RepoModel
    paths: tuple[Path, ...]
    fetched: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PullStopped:
    """The pull was cancelled; ``done`` of ``total`` bytes are kept."""

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
    """Counts the bytes of a pull, and their rate.

    Attributes:
        fetched: Bytes downloaded.
        header_seconds: Seconds spent on reading the header.
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
