"""The status line."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, TypeAlias

from textual.content import Content

from tchat.humanize import clock_text, rate_text
from tchat.sanitize import single_line
from tchat.tui.widgets.rows import Ends, Part, Row, bar, context_bar, level_of, part, sparkline

BAR = 12
NAME_LIMIT = 40
SHORT_NAME = 16
CALM = 0.25  # seconds between two updates while a reply is written


class Phase(Enum):
    """What the engine is doing, where there is no figure to tell."""

    IDLE = "idle"
    PREPARING = "preparing"  # a file is checked, a prompt counted
    STOPPING = "stopping"  # the user asked for it, and the engine has not yet


class Loading(NamedTuple):
    """The model is being loaded; ``progress`` is 0..1."""

    progress: float


class Reading(NamedTuple):
    """``done`` of ``total`` prompt tokens are processed; ``left`` is seconds, None if unknown."""

    done: int
    total: int
    left: float | None = None


class Writing(NamedTuple):
    """A reply is written at ``rate`` tokens a second, 0 if unknown; ``rates``: oldest first."""

    rate: float
    rates: tuple[float, ...] = ()


State: TypeAlias = Phase | Loading | Reading | Writing


class StatusData(NamedTuple):
    """Everything on the status line.

    Attributes:
        model: Name of the model, raw; empty when there is none.
        quantization: Such as ``Q4_K_M``.
        device: ``CPU`` or ``GPU``.
        state: What the engine is doing.
        used: Tokens in the context.
        context: Tokens that it holds; 0 while unknown.
        offline: Whether downloads are switched off.
        pulling: How far a download is; empty when there is none.
        private: Whether nothing is stored, as the user wanted.
        unstored: Whether something cannot be stored.
    """

    model: str = ""
    quantization: str = ""
    device: str = ""
    state: State = Phase.IDLE
    used: int = 0
    context: int = 0
    offline: bool = False
    pulling: str = ""
    private: bool = False
    unstored: bool = False


class StatusLine(Row):
    """One row: state on the left, model and context on the right."""

    DEFAULT_CSS = """
    StatusLine { background: $panel; color: $assistant; }
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._data = StatusData()
        self._written = -CALM  # when the numbers of a reply were drawn

    def show(self, data: StatusData) -> None:
        """Show ``data``; while a reply is written, a few times a second.

        Nobody reads numbers faster, and this row would add a tenth to the cost of each flush.
        """
        now = self._clock()
        if not isinstance(data.state, Writing):
            self._written = now - CALM
        elif now - self._written < CALM:
            return
        else:
            self._written = now
        self._data = data
        self.update_parts()

    def parts(self) -> Ends:
        """The state; the model and the context."""
        data = self._data
        return (
            [
                *_warning(data.private, "$warning", "PRIVATE, nothing is stored", "PRIVATE"),
                *_warning(data.unstored, "$error", "NOT STORED, in memory only", "NOT STORED"),
                *_state(data.state),
            ],
            [
                _model(data.model),
                _optional(single_line(data.quantization, SHORT_NAME), 5),
                _optional(single_line(data.device, SHORT_NAME), 4),
                _optional("offline" * data.offline, 7),
                _optional(single_line(data.pulling), 8),
                *_context(data.used, data.context),
            ],
        )


def _warning(shown: bool, colour: str, *forms: str) -> list[Part]:
    """A fact that stays in the narrowest row, where it is ``shown``."""
    texts = (f" {form} " for form in forms)
    return [part(*texts, keep=(0,), style=f"bold reverse {colour}")] if shown else []


def _model(name: str) -> Part:
    if not name:
        return _optional("no model", 9)
    names = single_line(name, NAME_LIMIT), single_line(name, SHORT_NAME), ""
    return part(*names, keep=(6, 9), style="bold")


def _state(state: State) -> list[Part]:
    long, short, colour = _words(state)
    parts = [part(long, short, keep=(8,), lead="  ", style=colour)]
    if isinstance(state, Reading) and state.left is not None:
        parts.append(_optional(f"{clock_text(state.left)} left", 6))
    if isinstance(state, Reading) and state.total:
        drawn = bar(state.done / state.total, BAR)
        parts.append(part(drawn, "", keep=(3,), lead=" ", style=colour))
    if isinstance(state, Writing) and state.rates:
        parts.append(part(sparkline(state.rates), "", keep=(3,), lead=" ", style=colour))
    return parts


def _words(state: State) -> tuple[str, str, str]:
    """The name of a state, long and short, and its colour."""
    match state:
        case Loading(progress):
            return f"◔ loading {progress:.0%}", f"◔ {progress:.0%}", "$assistant"
        case Reading(done, total):
            count = f"{done:,}/{total:,}"
            return f"◑ reading {count}", f"◑ {count}", "$assistant"
        case Writing(rate):
            speed = f" {rate_text(rate)}" if rate else ""
            return f"● writing{speed}", f"●{speed or ' writing'}", "$assistant"
        case Phase.PREPARING:
            return "◌ preparing", "◌ preparing", "$assistant"
        case Phase.STOPPING:
            return "■ stopping", "■ stopping", "$warning"
        case Phase.IDLE:
            return "○ idle", "○ idle", ""


def _context(used: int, context: int) -> list[Part]:
    if context <= 0:
        return []
    level = level_of(used, context)
    counts = f"{used:,}/{context:,}"
    signed = f"{counts} {level.sign}".rstrip()
    bars = context_bar(used, context, BAR), context_bar(used, context, BAR // 2), Content("")
    return [part(signed, style=level.colour if level.word else ""), Part(bars, (1, 2), " ")]


def _optional(text: str, keep: int) -> Part:
    return part(text, "", keep=(keep,))
