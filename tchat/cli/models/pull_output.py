"""Output of a download: whether the model fits, then progress."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator, Sequence
from typing import Any

from tchat.cli.console import Console, confirm
from tchat.cli.models.show import fit_record
from tchat.cli.output.columns import align_columns
from tchat.cli.output.status import TerminalStatus
from tchat.errors import Interrupted
from tchat.humanize import size_text
from tchat.models.fit_report import fit_rows
from tchat.models.hub.download import (
    CheckingFile,
    Downloading,
    DownloadStalled,
    RetryingDownload,
    WaitingForLock,
)
from tchat.models.hub.pull import HubUnavailable, ModelSelected, Pulled, PullEvent, ReadingHeader
from tchat.models.hub.remote_model import RemoteModel, describe, pull_objection
from tchat.sanitize import single_line


class PullOutput:
    """Follows a download.

    Args:
        name: The name as typed.
        console: Streams.
        yes: Do not ask for confirmation.

    Attributes:
        judgement: Whether the model fits, and why it was chosen, as JSON.
    """

    def __init__(self, name: str, console: Console, *, yes: bool) -> None:
        self.judgement: dict[str, Any] = {}
        self._name = single_line(name)
        self._console = console
        self._yes = yes
        self._line = TerminalStatus(console)

    def follow(self, events: Iterator[PullEvent]) -> Pulled:
        """Show ``events`` on a terminal and return the last one.

        Raises:
            Interrupted: Ctrl-C was pressed; what came is kept.
            DoesNotFit: It does not fit, and nobody confirmed.
            UsageError: The user declined.
        """
        done = 0
        try:
            for event in events:
                if isinstance(event, Pulled):
                    return event
                done = event.done if isinstance(event, Downloading) else done
                self._show(event)
        except KeyboardInterrupt:
            self._line.erase()
            kept = f"{size_text(done)} are kept; " if done else ""
            again = f"`tchat models pull {self._name}` resumes it"
            self._console.say(f"stopped; {kept}{again}")
            raise Interrupted(signal.SIGINT) from None
        finally:
            self._line.erase()
        raise AssertionError("a pull ends with Pulled or raises")

    def _show(self, event: PullEvent) -> None:
        if isinstance(event, ModelSelected) and event.remote_model is not None:
            self._line.erase()
            self._judge(event.remote_model)
        if isinstance(event, HubUnavailable) and self._console.stderr_is_terminal:
            self._console.say(f"{event.reason}; what is here is complete")
        elif self._line.due:
            self._line.show(pull_progress_text(event))

    def _judge(self, remote_model: RemoteModel) -> None:
        """Print whether the model fits, and ask if it does not."""
        report = remote_model.report
        self.judgement = {"chosen": remote_model.reason or None}
        lines = [describe(remote_model)]
        if not remote_model.refusal:
            self.judgement["fit"] = fit_record(report)
            lines += align_columns([*fit_rows(report)], shutil.get_terminal_size().columns)
        objection = pull_objection(remote_model)
        if objection is None or self._yes:
            self._print(lines)
        elif not self._console.stdin_is_terminal:
            raise objection
        else:
            question = f"{objection.message}. Download {size_text(remote_model.size)} anyway?"
            confirm(self._console, lines[1:], question)

    def _print(self, lines: Sequence[str]) -> None:
        if self._console.stderr_is_terminal:
            self._console.say(lines[0])
            for line in lines[1:]:
                self._console.stderr.write(f"  {line}\n")


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
