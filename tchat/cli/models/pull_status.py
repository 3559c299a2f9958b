"""A pull in one line: how far, how fast, how long still, or what it waits for."""

from __future__ import annotations

from tchat.humanize import size_text
from tchat.models.hub.pull_events import (
    CheckingFile,
    Downloading,
    DownloadStalled,
    ModelSelected,
    PullEvent,
    ReadingHeader,
    RetryingDownload,
    WaitingForLock,
)

BAR = 24  # cells
FULL, EMPTY = "━", "─"


def pull_progress_text(event: PullEvent) -> str:
    """The status line for ``event``; empty for one that needs none."""
    words = ""
    match event:
        case ReadingHeader(file):
            words = f"reading the header of {file}"
        case ModelSelected(model=model):
            words = f"found {model.name}, {size_text(model.size)}"
        case CheckingFile(done, total):
            words = f"{_bar(done, total)} checking what came earlier"
        case Downloading():
            words = _pulling(event)
        case WaitingForLock(done, total):
            words = f"{_bar(done, total)} another process pulls it"
        case DownloadStalled(seconds, timeout):
            words = f"nothing came for {seconds:.0f} s · a new attempt after {timeout:.0f} s"
        case RetryingDownload(reason, wait):
            words = f"{reason} · a new attempt" + (f" in {wait:.0f} s" if wait >= 1 else "")
    return words


def _pulling(event: Downloading) -> str:
    words = f"{_bar(event.done, event.total)} of {size_text(event.total)}"
    if event.rate < 1:
        return words
    return f"{words} · {size_text(round(event.rate))}/s · {duration(event.left)} left"


def _bar(done: int, total: int) -> str:
    share = done / total if total else 0.0
    full = int(share * BAR)
    return f"{FULL * full}{EMPTY * (BAR - full)} {int(share * 100)} %"


def duration(seconds: float) -> str:
    """``9 s``, ``2 min 5 s``, ``1 h 20 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
