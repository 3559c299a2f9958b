"""A download in the background, while the chat goes on."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tchat.errors import ModelNotFound, UsageError
from tchat.sanitize import single_line

if TYPE_CHECKING:
    from tchat.models.hub_name import HubName
    from tchat.models.pull_events import Pulled, PullEvent


class Pulls:
    """One download at a time, on a thread of its own.

    Attributes:
        name: Of the model that is being pulled, raw; empty when none is.
        words: How far it is, for the status line.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self.name = ""
        self.words = ""
        self._environ = environ
        self._stop = threading.Event()

    def parse(self, name: str) -> HubName:
        """What ``name`` means on the hub.

        Raises:
            ModelNotFound: It is no name of the hub.
            UsageError: Another download is under way.
        """
        from tchat.models.hub_name import parse_hub_name

        if self.name:
            raise UsageError(
                f"{single_line(self.name, 80)} is being pulled", "wait for it, or stop it first"
            )
        named = parse_hub_name(name, self._environ.get("HF_ENDPOINT", ""))
        if named is None:
            raise ModelNotFound(
                f"{single_line(name, 80)!r} is no name on the hub", "name it as user/repo:QUANT"
            )
        return named

    async def run(self, name: str, changed: Callable[[], None]) -> Pulled | None:
        """Pull a model; returns None when it was stopped: what came is kept.

        Args:
            name: As of `parse`, which is called first.
            changed: Called on the event loop when ``words`` are new.

        Raises:
            TchatError: As `tchat.models.pull.pull`.
        """
        named = self.parse(name)
        loop = asyncio.get_running_loop()
        self.name, self.words = name, "↓ asking the hub"
        self._stop.clear()

        def take(event: PullEvent) -> None:
            if words := in_words(event):
                self.words = words
                changed()

        def work() -> Pulled | None:
            from tchat.models.hub import Hub
            from tchat.models.hub_cache import HubCache, cache_folder
            from tchat.models.pull import pull
            from tchat.models.pull_events import Pulled

            cache = HubCache(cache_folder(self._environ))
            for event in pull(named, Hub(self._environ), cache, cancelled=self._stop.is_set):
                if isinstance(event, Pulled):
                    return event
                loop.call_soon_threadsafe(take, event)
            return None

        changed()
        try:
            return await asyncio.to_thread(work)
        finally:
            self._stop.set()  # a thread whose screen is gone ends by itself
            self.name = self.words = ""
            changed()

    def stop(self) -> None:
        """End the download; what came is kept, and another pull goes on from there."""
        self._stop.set()


def in_words(event: PullEvent) -> str:
    """A few words for the status line; empty where there is nothing new to say."""
    from tchat.models.pull_events import Checking, Pulling, Retrying, Stalled, Waiting
    from tchat.models.words import size_text

    match event:
        case Pulling(done, total, rate) if total:
            speed = f" · {size_text(round(rate))}/s" if rate >= 1 else ""
            return f"↓ {done * 100 // total} % of {size_text(total)}{speed}"
        case Checking(done, total) if total:
            return f"↓ checking {done * 100 // total} %"
        case Waiting(done, total) if total:
            return f"↓ {done * 100 // total} % by another process"
        case Stalled(seconds):
            return f"↓ nothing came for {seconds:.0f} s"
        case Retrying():
            return "↓ trying again"
    return ""
