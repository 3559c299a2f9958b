"""A download in the background, while the chat goes on."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tchat.errors import TchatError, UsageError
from tchat.sanitize import single_line
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.models.hub.pull import Pulled, PullEvent
    from tchat.paths import Paths

STOP_SEEN = 0.2  # seconds until a stop is seen while a person is asked

Answer = Coroutine[Any, Any, bool]
Agree = Callable[[str], Answer]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is: bytes, bytes per second, seconds left; 0 where it is not known."""

    done: int = 0
    total: int = 0
    rate: float = 0.0
    left: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why a download ended without its model; ``text`` is raw."""

    text: str
    failed: bool


class Downloads:
    """One download at a time, on a thread of its own.

    Attributes:
        name: Of the model that is being pulled, raw; empty when none is.
        words: How far it is, for the status line.
        progress: How far it is, in numbers.
        outcomes: By model, why its download ended early; until it is begun again or dismissed.
        pulled: The file of the last model that was pulled.
    """

    def __init__(self, paths: Paths, environ: Mapping[str, str] = os.environ) -> None:
        self.name = ""
        self.words = ""
        self.progress = Progress()
        self.outcomes: dict[str, Outcome] = {}
        self.pulled: Path | None = None
        self._paths = paths
        self._environ = environ
        self._stop = threading.Event()

    async def run(self, name: str, changed: Callable[[], None], agree: Agree) -> Pulled | None:
        """Pull a model; returns None when it was stopped: what came is kept.

        On the event loop, ``changed`` is called when ``words`` are new, and ``agree`` is asked
        whether to pull a model that is of no use here, with what speaks against it.

        Raises:
            UsageError: Another download is under way, or the user does not agree.
            TchatError: As `tchat.models.hub.pull.pull`.
        """
        if self.name:
            raise UsageError(
                tr("{model} is being downloaded", model=single_line(self.name, 80)),
                tr("wait for it, or stop it first"),
            )
        loop = asyncio.get_running_loop()
        self.name, self.words = name, f"↓ {tr('asking the hub')}"
        self.progress = Progress()
        self.outcomes.pop(name, None)
        self._stop.clear()

        def take(event: PullEvent) -> None:
            if words := in_words(event):
                self.words = words
                self.progress = progress_of(event) or self.progress
                changed()

        def tell(event: PullEvent) -> None:
            loop.call_soon_threadsafe(take, event)

        changed()
        try:
            pulled = await asyncio.to_thread(
                self._work, name, tell, lambda text: self._wait(agree(text), loop)
            )
        except UsageError:  # the user did not want it
            raise
        except TchatError as error:
            self.outcomes[name] = Outcome(str(error), failed=True)
            raise
        else:
            if pulled is None:
                self.outcomes[name] = Outcome(tr("Stopped. Enter resumes it."), failed=False)
            else:
                self.pulled = pulled.paths[0]
            return pulled
        finally:
            self._stop.set()  # a thread whose screen is gone ends by itself
            self.name = self.words = ""
            changed()

    @property
    def is_stopping(self) -> bool:
        """Whether the download was asked to end."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End the download; what came is kept, and another pull resumes it."""
        self._stop.set()

    def _work(
        self, name: str, tell: Callable[[PullEvent], object], agrees: Callable[[str], bool]
    ) -> Pulled | None:
        """Pull on this thread."""
        from tchat.models.hub.pull import ModelSelected, Pulled
        from tchat.models.hub.remote_model import pull_objection

        for event in self._events(name):
            if isinstance(event, Pulled):
                return event
            tell(event)
            if isinstance(event, ModelSelected) and event.remote_model is not None:
                objection = pull_objection(event.remote_model)
                if objection and not agrees(objection.message):
                    raise UsageError(tr("{model} is not downloaded", model=single_line(name, 80)))
        return None

    def _events(self, name: str) -> Iterator[PullEvent]:
        from tchat.chat.machine import measured_machine
        from tchat.models.hub.api import HubApi
        from tchat.models.hub.cache import HubCache, cache_folder
        from tchat.models.hub.pull import pull
        from tchat.models.metadata import MetadataCache
        from tchat.models.name_lookup import resolve_remote

        with MetadataCache(self._paths) as store:
            yield from pull(
                resolve_remote(name, self._paths, self._environ),
                HubApi(self._environ),
                HubCache(cache_folder(self._environ)),
                hashes=store,
                machine=lambda: measured_machine(self._paths),
                cancelled=self._stop.is_set,
            )

    def _wait(self, answer: Answer, loop: asyncio.AbstractEventLoop) -> bool:
        """The answer of a person; no when the download is stopped meanwhile."""

        future = asyncio.run_coroutine_threadsafe(answer, loop)
        while not self._stop.is_set():
            try:
                return future.result(STOP_SEEN)
            except TimeoutError:
                continue
        future.cancel()
        return False


def progress_of(event: PullEvent) -> Progress | None:
    """The numbers of an event; None when it has none."""
    from tchat.models.hub.download import CheckingFile, Downloading, WaitingForLock

    match event:
        case Downloading(done, total, rate, left):
            return Progress(done, total, rate, left)
        case CheckingFile(done, total) | WaitingForLock(done, total):
            return Progress(done, total)
    return None


def in_words(event: PullEvent) -> str:
    """A few words for the status line; empty where there is nothing new to say."""
    from tchat.humanize import size_text
    from tchat.models.hub.download import (
        CheckingFile,
        Downloading,
        DownloadStalled,
        RetryingDownload,
        WaitingForLock,
    )
    from tchat.models.hub.pull import ReadingHeader

    words = ""
    match event:
        case ReadingHeader():
            words = tr("reading the header")
        case Downloading(done, total, rate) if total:
            speed = f" · {size_text(round(rate))}/s" if rate >= 1 else ""
            share = tr("{percent} % of {size}", percent=done * 100 // total, size=size_text(total))
            words = f"{share}{speed}"
        case CheckingFile(done, total) if total:
            words = tr("checking {percent} %", percent=done * 100 // total)
        case WaitingForLock(done, total) if total:
            words = tr("{percent} % by another process", percent=done * 100 // total)
        case DownloadStalled(seconds):
            words = tr("nothing came for {seconds:.0f} s", seconds=seconds)
        case RetryingDownload():
            words = tr("trying again")
    return words and f"↓ {words}"
