"""A download in the background, while the chat goes on."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tchat.errors import TchatError, UsageError
from tchat.sanitize import single_line
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.egress.egress_log import EgressLog
    from tchat.models.hub.api import HubApi
    from tchat.models.hub.pull import Pulled, PullEvent
    from tchat.models.hub.repository import HubName, RepoListing
    from tchat.models.metadata import MetadataCache
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
        part: The file beside the model that is coming, raw; empty while the model itself is.
        remarks: Of the last download, what else is to be told: raw sentences.
    """

    def __init__(self, paths: Paths, environ: Mapping[str, str] = os.environ) -> None:
        self.name = ""
        self.words = ""
        self.progress = Progress()
        self.outcomes: dict[str, Outcome] = {}
        self.pulled: Path | None = None
        self.part = ""
        self.remarks: list[str] = []
        self._paths = paths
        self._environ = environ
        self._stop = threading.Event()

    async def run(
        self,
        name: str,
        changed: Callable[[], None],
        agree: Agree,
        newer: HubName | None = None,
    ) -> Pulled | None:
        """Pull a model and what belongs to it; returns None when it was stopped before it was here.

        What came is kept. ``newer`` is where the hub has a newer revision of a model that is here:
        only that is pulled, and why it ended early is not kept as an outcome.

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
        self.progress, self.part, self.remarks = Progress(), "", []
        outcomes = self.outcomes if newer is None else {}
        outcomes.pop(name, None)
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
                self._work, name, newer, tell, lambda text: self._wait(agree(text), loop)
            )
        except UsageError:  # the user did not want it
            raise
        except TchatError as error:
            outcomes[name] = Outcome(str(error), failed=True)
            raise
        else:
            if pulled is None:
                outcomes[name] = Outcome(tr("Stopped. Enter resumes it."), failed=False)
            else:
                self.pulled = pulled.paths[0]
            return pulled
        finally:
            self._stop.set()  # a thread whose screen is gone ends by itself
            self.name = self.words = self.part = ""
            changed()

    @property
    def is_stopping(self) -> bool:
        """Whether the download was asked to end."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End the download; what came is kept, and another pull resumes it."""
        self._stop.set()

    def _work(
        self,
        name: str,
        newer: HubName | None,
        tell: Callable[[PullEvent], object],
        agrees: Callable[[str], bool],
    ) -> Pulled | None:
        """Pull on this thread."""
        from tchat.egress.egress_log import open_egress_log
        from tchat.models.hub.api import HubApi
        from tchat.models.hub.pull import ModelSelected, Pulled
        from tchat.models.hub.remote_model import pull_objection
        from tchat.models.metadata import MetadataCache
        from tchat.models.name_lookup import resolve_remote

        egress = open_egress_log(self._paths)
        hub, listing = HubApi(egress, self._environ), None
        with ExitStack() as stack, MetadataCache(self._paths) as store:
            stack.callback(self._remark_on, egress)
            wanted = newer or resolve_remote(name, self._paths, self._environ)
            for event in self._events(wanted, hub, store, judged=newer is None):
                if isinstance(event, Pulled):
                    if newer is None and listing is not None:
                        beside = self._beside(name, event, listing)
                        self._pull_beside(beside, hub, store, tell)
                    return event
                tell(event)
                if not isinstance(event, ModelSelected):
                    continue
                listing = event.listing
                objection = pull_objection(event.remote_model) if event.remote_model else None
                if objection and not agrees(objection.message):
                    raise UsageError(tr("{model} is not downloaded", model=single_line(name, 80)))
        return None

    def _remark_on(self, egress: EgressLog) -> None:
        if problem := egress.take_problem():
            self.remarks.append(problem)

    def _beside(self, name: str, pulled: Pulled, listing: RepoListing) -> Sequence[HubName]:
        """The projector and the draft model of a model."""
        from tchat.models.catalogue import find_entry
        from tchat.models.hub.companions import companions_of

        found = find_entry(name, self._paths)
        return companions_of(pulled.model, listing, found[0] if found else None)

    def _pull_beside(
        self,
        beside: Sequence[HubName],
        hub: HubApi,
        store: MetadataCache,
        tell: Callable[[PullEvent], object],
    ) -> None:
        """Pull what belongs to a model; that is of use without it."""
        for each in beside:
            self.part = each.file
            try:
                for event in self._events(each, hub, store, judged=False):
                    tell(event)
            except TchatError as error:
                text = tr("{name} was not downloaded: {reason}", name=each, reason=error.message)
                self.remarks.append(text)
            if self._stop.is_set():
                break

    def _events(
        self, wanted: HubName, hub: HubApi, store: MetadataCache, *, judged: bool
    ) -> Iterator[PullEvent]:
        """The events of a pull; ``judged``: the header is read first, and how it would run told."""
        from tchat.chat.machine import measured_machine
        from tchat.models.hub.cache import HubCache, cache_folder
        from tchat.models.hub.pull import pull

        return pull(
            wanted,
            hub,
            HubCache(cache_folder(self._environ)),
            hashes=store,
            machine=(lambda: measured_machine(self._paths)) if judged else None,
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
