"""A download in the background, while the chat goes on."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tchat.errors import UsageError
from tchat.sanitize import single_line

if TYPE_CHECKING:
    from tchat.models.hub.pull import Pulled, PullEvent
    from tchat.paths import Paths

STOP_SEEN = 0.2  # seconds until a stop is seen while a person is asked

Answer = Coroutine[Any, Any, bool]
Agree = Callable[[str], Answer]


class Downloads:
    """One download at a time, on a thread of its own.

    Attributes:
        name: Of the model that is being pulled, raw; empty when none is.
        words: How far it is, for the status line.
    """

    def __init__(self, paths: Paths, environ: Mapping[str, str] = os.environ) -> None:
        self.name = ""
        self.words = ""
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
                f"{single_line(self.name, 80)} is being pulled", "wait for it, or stop it first"
            )
        from tchat.models.hub.pull import ModelSelected, Pulled
        from tchat.models.hub.remote_model import pull_objection

        loop = asyncio.get_running_loop()
        self.name, self.words = name, "↓ asking the hub"
        self._stop.clear()

        def take(event: PullEvent) -> None:
            if words := in_words(event):
                self.words = words
                changed()

        def work() -> Pulled | None:
            for event in self._events(name):
                if isinstance(event, Pulled):
                    return event
                loop.call_soon_threadsafe(take, event)
                if isinstance(event, ModelSelected) and event.remote_model is not None:
                    objection = pull_objection(event.remote_model)
                    if objection and not self._wait(agree(objection.message), loop):
                        raise UsageError(f"{single_line(name, 80)} is not pulled")
            return None

        changed()
        try:
            return await asyncio.to_thread(work)
        finally:
            self._stop.set()  # a thread whose screen is gone ends by itself
            self.name = self.words = ""
            changed()

    def stop(self) -> None:
        """End the download; what came is kept, and another pull resumes it."""
        self._stop.set()

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
            words = "reading the header"
        case Downloading(done, total, rate) if total:
            speed = f" · {size_text(round(rate))}/s" if rate >= 1 else ""
            words = f"{done * 100 // total} % of {size_text(total)}{speed}"
        case CheckingFile(done, total) if total:
            words = f"checking {done * 100 // total} %"
        case WaitingForLock(done, total) if total:
            words = f"{done * 100 // total} % by another process"
        case DownloadStalled(seconds):
            words = f"nothing came for {seconds:.0f} s"
        case RetryingDownload():
            words = "trying again"
    return words and f"↓ {words}"
