"""What happens while a model is pulled. Bytes are counted over all files of the model."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tchat.models.hub_files import Listing, RemoteModel

if TYPE_CHECKING:
    from tchat.models.prospect import Prospect

WINDOW = 5.0  # seconds that the rate is measured over


@dataclass(frozen=True, slots=True)
class Found:
    """The hub knows the model; ``missing`` bytes of it are not here yet.

    ``prospect`` tells how it would do here; None where its pull was begun earlier, or no machine
    was named. Who does not want it then stops here: nothing of it came yet.
    """

    listing: Listing
    model: RemoteModel
    missing: int
    prospect: Prospect | None = None


@dataclass(frozen=True, slots=True)
class Looking:
    """The header of a file is being read, to tell how the model would do here."""

    file: str


@dataclass(frozen=True, slots=True)
class Checking:
    """What an earlier attempt left is read again for its hash: ``done`` of ``total`` bytes."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Pulling:
    """``done`` of ``total`` bytes are here; ``rate`` in bytes a second, ``left`` in seconds.

    Both are 0 until they are known.
    """

    done: int
    total: int
    rate: float
    left: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """Another process pulls the same file, and has ``done`` of ``total`` bytes."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Stalled:
    """Nothing came for ``seconds``; after ``timeout`` the connection is made anew."""

    seconds: float
    timeout: float


@dataclass(frozen=True, slots=True)
class Retrying:
    """It failed for ``reason`` and is tried again after ``wait`` seconds."""

    reason: str
    wait: float


@dataclass(frozen=True, slots=True)
class Unasked:
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

    model: RemoteModel
    paths: tuple[Path, ...]
    fetched: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """The end, because it was cancelled: ``done`` of ``total`` bytes are kept."""

    done: int
    total: int


PullEvent: TypeAlias = (
    Looking | Found | Checking | Pulling | Waiting | Stalled | Retrying | Unasked | Pulled | Stopped
)


class Meter:
    """Counts the bytes of a model, and how fast they come.

    Attributes:
        fetched: Bytes that came over the network.
        looking: Seconds that the header took, which the download begins with.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.fetched = 0
        self.looking = 0.0
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
        return self.looking + self._clock() - self._begun

    def finish(self, size: int) -> None:
        """A file of ``size`` bytes is complete."""
        self._finished += size
        self._position = 0

    def waiting(self, position: int) -> Waiting:
        """The other process is at ``position`` in the current file."""
        return Waiting(self._finished + position, self._total)

    def stopped(self) -> Stopped:
        """It ends where it is."""
        return Stopped(self._finished + self._position, self._total)

    def pulling(self, position: int) -> Pulling:
        """The current file is at ``position``."""
        self._position = position
        now, done = self._clock(), self._finished + position
        self._marks.append((now, self.fetched))
        while now - self._marks[0][0] > WINDOW:
            self._marks.popleft()
        since, fetched = self._marks[0]
        rate = (self.fetched - fetched) / (now - since) if now > since else 0.0
        return Pulling(done, self._total, rate, (self._total - done) / rate if rate else 0.0)
