"""Progress on the terminal of standard error."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from typing import Self, TypeVar

from tchat.cli.console import Console
from tchat.engine.events import (
    PREFILL_TIME,
    CacheRestored,
    Event,
    LoadProgress,
    Notice,
    PromptProgress,
    ReasoningDelta,
    ReplyDelta,
    Timings,
)
from tchat.humanize import duration_text, rate_text
from tchat.sanitize import single_line
from tchat.translation import tr, trn

Clock = Callable[[], float]

REFRESH = 0.1  # seconds between two drawings
FIRST_SENTENCE = 3.0  # seconds before progress is told to a screen reader
BETWEEN_SENTENCES = 10.0
ERASE = "\r\x1b[K"
DIM, PLAIN = "\x1b[2m", "\x1b[0m"
BAR = 12
FILLED, EMPTY = "━", "╌"
PREVIEW = 300  # characters of unfinished text, more than a line shows


def supports_escapes(console: Console) -> bool:
    """Whether the terminal understands escape sequences."""
    return console.environ.get("TERM") not in ("dumb", "unknown")


class TerminalStatus:
    """One dim line that is redrawn in place; disabled without a capable terminal.

    For a screen reader each text is a line of its own, at long intervals. As a context manager it
    is erased at the end.
    """

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        terminal = console.stderr_is_terminal
        self._spoken = terminal and console.accessible
        self._enabled = terminal and (self._spoken or supports_escapes(console))
        self._drawn = False
        self._next = clock() + FIRST_SENTENCE if self._spoken else 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.erase()

    @property
    def due(self) -> bool:
        """Whether it is time for another text."""
        return self._enabled and self._clock() >= self._next

    def show(self, text: str) -> None:
        """Draw ``text``, cut at the terminal's edge; or print it, if a sentence is due."""
        if not self._enabled or (self._spoken and not self.due):
            return
        now = self._clock()
        if self._spoken:
            self._next = now + BETWEEN_SENTENCES
            self._write(self._console.in_lines(single_line(text)) + "\n")
            return
        from tchat.cli.cells import truncate

        self._next = now + REFRESH
        width = terminal_width() - 1
        self._write(f"{ERASE}{DIM}{truncate(single_line(text), width)}{PLAIN}")
        self._drawn = True

    def erase(self) -> None:
        """Erase the line."""
        if self._drawn:
            self._write(ERASE)
            self._drawn = False
            self._next = 0.0

    def _write(self, text: str) -> None:
        # Losing sight of the progress is no reason to lose the answer.
        with contextlib.suppress(OSError, ValueError):
            self._console.stderr.write(text)
            self._console.stderr.flush()


def print_notice(console: Console, status: TerminalStatus, notice: Notice) -> None:
    """Print a notice; one about time only to a terminal, and of a reload only what it will cost."""
    if notice.is_about_time and not console.stderr_is_terminal:
        return
    if notice.kind == PREFILL_TIME:
        return
    status.erase()
    (console.say if notice.is_failure else console.notice)(notice.text)


class ReplyProgress:
    """Progress of a reply as text, from its events; ``spoken`` in sentences for a screen reader."""

    def __init__(self, clock: Clock = time.monotonic, *, spoken: bool = False) -> None:
        self._clock = clock
        self._spoken = spoken
        self._reading_since: tuple[float, int] | None = None
        self._writing_since: float | None = None
        self._tokens = 0
        self._thinking = False
        self._loading = 0.0
        self._reading: PromptProgress | None = None
        self._restored: CacheRestored | None = None

    def record(self, event: Event) -> None:
        """Record ``event``."""
        if isinstance(event, LoadProgress):
            self._loading = event.progress
        elif isinstance(event, PromptProgress):
            self._reading = event
            self._reading_since = self._reading_since or (self._clock(), event.done)
        elif isinstance(event, CacheRestored):
            self._restored = event
        elif isinstance(event, ReplyDelta):
            self._thinking = isinstance(event, ReasoningDelta)
            if self._writing_since is None:  # the count begins behind the first piece
                self._writing_since, self._tokens = self._clock(), -event.tokens
            self._tokens += event.tokens

    def words(self, preview: str = "") -> str:
        """The status, with the last of ``preview``, text that is written and not printed yet."""
        if self._writing_since is not None:
            return self._sentence() if self._spoken else self._writing(preview, self._writing_since)
        if self._reading and self._spoken:
            return tr(
                "Reading the prompt: {done:,} of {total:,} tokens",
                done=self._reading.done,
                total=self._reading.total,
            )
        if self._reading:
            return self._left_to_read(self._reading)
        if self._restored:
            from tchat.chat.prefill_cost import restored_text

            return restored_text(self._restored)
        percent = round(self._loading * 100)
        if self._spoken:
            return tr("Loading the model: {percent} %", percent=percent)
        return tr("loading {percent} %", percent=percent)

    def _sentence(self) -> str:
        count = max(self._tokens, 0)
        if self._thinking:
            return trn("Still thinking, {count:,} token", "Still thinking, {count:,} tokens", count)
        return trn("Still writing, {count:,} token", "Still writing, {count:,} tokens", count)

    def _left_to_read(self, event: PromptProgress) -> str:
        words = tr("reading {done:,}/{total:,}", done=event.done, total=event.total)
        since, done_before = self._reading_since or (0.0, 0)
        rate = Timings.rate(event.done - done_before, self._clock() - since)
        left = (event.total - event.done) / rate if rate else 0.0
        if left < 1:
            return words
        filled = round(BAR * event.done / event.total)
        bar = f"{FILLED * filled}{EMPTY * (BAR - filled)}"
        return f"{words} · {bar} · {tr('{time} left', time=duration_text(left))}"

    def _writing(self, preview: str, since: float) -> str:
        words = tr("thinking") if self._thinking else tr("writing")
        rate = Timings.rate(self._tokens, self._clock() - since)
        if rate:
            words += f" {rate_text(rate)}"
        from tchat.cli.cells import cell_width

        tail = preview[-PREVIEW:].rstrip("\n").rpartition("\n")[2]
        columns = terminal_width() - cell_width(words) - 6
        return f"{words} · {_end(tail, columns)}" if tail.strip() and columns > 0 else words


def terminal_width() -> int:
    """Columns of the terminal."""
    import shutil  # 3 ms, with its archive formats

    return shutil.get_terminal_size().columns


def _end(text: str, width: int) -> str:
    """The last ``width`` cells of ``text``."""
    from tchat.cli.cells import truncate

    return truncate(single_line(text)[::-1], width)[::-1]


E = TypeVar("E")
T = TypeVar("T")


def show_events(events: Generator[E, None, T], show: Callable[[E], object]) -> T:
    """Pass each of ``events`` to ``show``; return what they return."""
    while True:
        try:
            event = next(events)
        except StopIteration as ended:
            result: T = ended.value
            return result
        show(event)
