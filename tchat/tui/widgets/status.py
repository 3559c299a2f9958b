"""The status line: what runs, what the draft costs, and how full the context is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from textual.content import Content
from textual.timer import Timer

from tchat.humanize import clock_text, rate_text
from tchat.sanitize import single_line
from tchat.step_text import one_line
from tchat.translation import tr, trn
from tchat.tui.engine_state import Acting, Decoding, Loading, Phase, Prefilling, State
from tchat.tui.widgets.header import HeaderData, branch_part, marks, model_part
from tchat.tui.widgets.rows import (
    Ends,
    Level,
    Part,
    Row,
    bar,
    context_bar,
    level_of,
    part,
    share_of,
    sparkline,
)

BAR, CONTEXT_BAR = 12, 8
CALM = 0.25  # seconds between two updates while a reply is written
TURN = 0.1  # seconds between two pictures of the spinner
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
STILL = "●"  # where nothing moves
BAR_FROM = 0.6  # share of the context from which its bar is shown
LARGE, LARGE_SHARE = 512, 16  # tokens of a draft that are told, or one part in so many
PULLING = 48  # characters
NAME = 40  # characters of the name of a tool
LASTS = 1.0  # seconds from which it is told how long a tool takes


class DraftCost(NamedTuple):
    """What sending the draft takes.

    Attributes:
        tokens: Of the draft; 0 without one. Counting ends at the size of the context.
        used: Tokens of the context once it is sent.
        read: The share of the draft, 0..1, processed before it is sent; None for none.
        reload: What must be processed again for it, long and short; empty for nothing notable.
    """

    tokens: int = 0
    used: int = 0
    read: float | None = None
    reload: tuple[str, str] = ("", "")


class StatusHint(NamedTuple):
    """A key and what it does."""

    key: str
    does: str


class StatusData(NamedTuple):
    """Everything on the status line.

    Attributes:
        state: What the engine is doing.
        used: Tokens in the context; None while they are counted.
        context: Tokens that it holds; 0 while unknown.
        draft: What sending the draft takes.
        queued: How many prompts wait.
        pulling: How far a download is; empty when there is none.
        pulling_key: The key that leads to where the download can be stopped.
        offline: Whether downloads are switched off.
        stop: The key that stops what runs.
        hint: The key to know at this moment, while nothing runs.
        header: What the header would say, where it has no room.
    """

    state: State = Phase.IDLE
    used: int | None = 0
    context: int = 0
    draft: DraftCost = DraftCost()
    queued: int = 0
    pulling: str = ""
    pulling_key: str = ""
    offline: bool = False
    stop: str = "Esc"
    hint: StatusHint | None = None
    header: HeaderData | None = None


class StatusLine(Row):
    """One row: what runs, or what to know now, on the left; downloads and context on the right."""

    DEFAULT_CSS = """
    StatusLine { color: $text-muted; }
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._data = StatusData()
        self._written = -CALM  # when the numbers of a reply were drawn
        self._turned = 0  # pictures of the spinner that were shown
        self._timer: Timer | None = None

    def show(self, data: StatusData) -> None:
        """Show ``data``; while a reply is written, a few times a second.

        Nobody reads numbers faster, and this row would add a tenth to the cost of each flush.
        """
        now = self._clock()
        if not isinstance(data.state, Decoding):
            self._written = now - CALM
        elif now - self._written < CALM:
            return
        else:
            self._written = now
            self._turned += 1
        self._data = data
        self.update_parts()
        self._spin()

    def _spin(self) -> None:
        """Let the spinner turn by itself, but for a reply, whose numbers turn it."""
        turns = self.is_attached and self._is_moving
        turns = turns and self._data.state is not Phase.IDLE
        if turns and not isinstance(self._data.state, Decoding):
            self._timer = self._timer or self.set_interval(TURN, self._turn)
        elif self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _turn(self) -> None:
        self._turned += 1
        self.update_parts()

    @property
    def _is_moving(self) -> bool:
        return self.app.animation_level != "none"

    def parts(self) -> Ends:
        """The state, else the draft or a hint; downloads and context."""
        data = self._data
        folded = data.header
        left = marks(folded) if folded else []
        if data.state is not Phase.IDLE:
            spinner = SPINNER[self._turned % len(SPINNER)] if self._is_moving else STILL
            left += _state(data.state, spinner, self._clock())
            if data.state is not Phase.STOPPING:
                left.append(_hint(StatusHint(data.stop, tr("stops")), keep=2))
        if data.queued:
            queued = trn("{count:,} queued", "{count:,} queued", data.queued)
            left.append(part(queued, "", keep=(7,)))
        cost = _draft(data.draft, data.context)
        left += cost
        if data.state is Phase.IDLE and data.hint and not cost:
            left.append(_hint(data.hint, keep=1))
        right = [
            _optional(single_line(data.pulling, PULLING), 8),
            _optional(tr("stop it in {key}", key=key) if (key := data.pulling_key) else "", 5),
            _optional(tr("offline") if data.offline else "", 6),
            *(branch_part(folded) + model_part(folded) if folded else ()),
            *_context(data.used, data.context),
        ]
        return left, right


def _state(state: State, spinner: str, now: float) -> list[Part]:
    long, short = _words(state)
    asks = isinstance(state, Acting) and state.asks
    colour = "$warning" if state is Phase.STOPPING or asks else "$assistant"
    signed = (f"{spinner} {long}", f"{spinner} {short}".rstrip())
    parts = [part(*signed, keep=(5,), lead="  ", style=colour)]
    if isinstance(state, Prefilling) and state.left is not None:
        left = tr("{time} left", time=clock_text(state.left))
        parts.append(_optional(left, 6))
    if isinstance(state, Prefilling) and state.total:
        drawn = bar(state.done / state.total, BAR)
        parts.append(part(drawn, "", keep=(3,), lead=" ", style=colour))
    if isinstance(state, Acting):
        parts += _step(state, now)
    if isinstance(state, Decoding) and state.rates:
        parts.append(part(sparkline(state.rates), "", keep=(3,), lead=" ", style=colour))
    return parts


def _step(state: Acting, now: float) -> list[Part]:
    """How long a tool takes, and the number of the step."""
    parts = []
    if state.since is not None and not state.asks and now - state.since >= LASTS:
        parts.append(_optional(clock_text(now - state.since), 6))
    if state.told:
        parts.append(_optional(one_line(state.told, NAME), 3))
    number, most = state.step
    if most:
        parts.append(_optional(tr("step {number} of {most}", number=number, most=most), 2))
    return parts


def _words(state: State) -> tuple[str, str]:
    """The name of a state, long and short."""
    match state:
        case Loading(progress):
            return tr("Loading model {share:.0%}", share=progress), f"{progress:.0%}"
        case Prefilling(done, total):
            counts = f"{done:,}/{total:,}"
            return tr("Reading {counts} tokens", counts=counts), counts
        case Decoding(rate):
            return (rate_text(rate),) * 2 if rate else (tr("Writing"), "")
        case Acting():
            return _call(state)
        case Phase.STOPPING:
            return tr("Stopping"), tr("Stopping")
    return tr("Preparing"), ""


def _call(state: Acting) -> tuple[str, str]:
    name = one_line(state.name, NAME)
    call = f"{name} {state.arguments}".rstrip()
    if state.asks:
        return tr("asks: {call}", call=call), tr("asks: {call}", call=name)
    return call, name


def _hint(hint: StatusHint, keep: int) -> Part:
    shown = Content.assemble((hint.key, "bold"), f" {hint.does}")
    return Part((shown, Content("")), (keep,), "  ")


def _draft(draft: DraftCost, context: int) -> list[Part]:
    """The cost of a draft, where it is large, does not fit, or makes the model read again."""
    if context <= 0:
        return []
    parts = []
    if draft.reload[0]:
        parts.append(part(*draft.reload, keep=(4,), lead="  ", style="$warning"))
    over = draft.used - context
    if draft.tokens >= context:  # counted no further
        text = tr("Draft exceeds the context of {count:,} tokens", count=context)
        short = tr("Draft too long")
        return [*parts, part(text, short, keep=(4,), lead="  ", style=Level.OVER.colour)]
    if draft.tokens and over > 0:
        text = trn("Too long by {count:,} token", "Too long by {count:,} tokens", over)
        return [*parts, part(text, f"−{over:,}", keep=(4,), lead="  ", style=Level.OVER.colour)]
    large = draft.tokens >= min(LARGE, context // LARGE_SHARE)
    if draft.tokens and (large or level_of(draft.used, context) is Level.NEARLY_FULL):
        counts = trn("{count:,} token", "{count:,} tokens", draft.tokens)
        parts.append(part(counts, f"{draft.tokens:,}", keep=(4,), lead="  "))
        parts.append(part(tr("{count} left", count=tokens_text(-over))))
        parts += _read(draft.read)
    return parts


def _read(share: float | None) -> list[Part]:
    if share is None:
        return []
    if share >= 1:
        return [part(tr("✓ read"), "✓", "", keep=(2, 4))]
    return [_optional(tr("{share:.0%} read", share=share), 3)]


def _context(used: int | None, context: int) -> list[Part]:
    """``1.1k/8k``; from where it matters on also a bar and a word."""
    if context <= 0:
        return []
    if used is None:
        return [part(f"…/{tokens_text(context)}")]
    level = level_of(used, context)
    counts = f"{tokens_text(used)}/{tokens_text(context)}"
    warns = bool(level.word)
    parts = [part(counts, style=level.colour if warns else "")]
    if share_of(used, context) >= BAR_FROM:
        bars = context_bar(used, context, CONTEXT_BAR), Content("")
        parts.append(Part(bars, (3,), " "))
    if warns:
        parts.append(part(level.word, level.sign, keep=(4,), lead=" ", style=level.colour))
    return parts


def tokens_text(count: int) -> str:
    """A number of tokens in units of 1,024, as contexts are sized: ``912``, ``1.1k``, ``8k``."""
    if abs(count) < 1000:
        return str(count)
    thousands = count / 1024
    text = f"{thousands:.1f}" if abs(thousands) < 99.95 else f"{thousands:.0f}"
    return f"{text.removesuffix('.0')}k"


def _optional(text: str, keep: int) -> Part:
    return part(text, "", keep=(keep,))
