"""The judge: what it learnt, how good it is, training it, and the game with its course."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Input, Static

from tchat.errors import TchatError
from tchat.paths import expanded
from tchat.sanitize import single_line
from tchat.tui.judge_desk import JudgeDesk
from tchat.tui.keys import Scope, bindings
from tchat.tui.screens.frame import CLOSE, Dialog, Hint

if TYPE_CHECKING:
    from tchat.chat.judging import Learnt
    from tchat.judge.duel import State

LONGEST = 400  # characters of a line

Row = tuple[str, str]


class JudgeScreen(Dialog[None]):
    """Figures above, a file of people's replies, and below what is going on."""

    HEADING = "Judge"
    HINTS: ClassVar[tuple[Hint, ...]] = (
        Hint("judge.train", "train"),
        Hint("judge.duel", "play the game"),
        CLOSE,
    )
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.JUDGE)]
    DEFAULT_CSS = """
    JudgeScreen #learnt, JudgeScreen #course { height: auto; padding: 0 1; }
    JudgeScreen Input { margin: 1 0; }
    """

    def __init__(self, desk: JudgeDesk) -> None:
        super().__init__()
        self._desk = desk
        self._at_work = False

    def body(self) -> ComposeResult:
        """Figures, the file, the course."""
        yield Static(id="learnt", markup=False)
        yield Input(
            placeholder="JSONL of replies by people; empty: what your chats hold", id="data"
        )
        yield Static(id="course", markup=False)

    def opened(self) -> None:
        """Read the figures."""
        self.query_one(Input).focus()
        self._read()

    @work(group="judge-figures", exclusive=True)
    async def _read(self) -> None:
        try:
            learnt = await self._desk.learnt()
        except TchatError as error:
            self._tell([("", str(error))])
            return
        self.set_heading(f"Judge of {learnt.model}")
        self.query_one("#learnt", Static).update(_lines(figures(learnt)))

    def action_train(self) -> None:
        """Train the judge from use, and from the file that is named."""
        self._begin(self._desk.train)

    def action_duel(self) -> None:
        """Play the game on the replies in the file."""
        self._begin(self._desk.play)

    def action_close(self) -> None:
        """Stop what runs; when nothing does, close."""
        if self._at_work:
            self._desk.stop()
        else:
            super().action_close()

    def _begin(self, do: Callable[..., Awaitable[None]]) -> None:
        if not self._at_work:
            self._at_work = True
            self._do(do)

    @work(group="judge", exit_on_error=False)
    async def _do(self, do: Callable[..., Awaitable[None]]) -> None:
        name = self.query_one(Input).value.strip()
        file = expanded(name) if name else None
        self._tell([("", "loading the model")])
        try:
            await do(file, self._show)
            self._read()
        except InterruptedError:
            self._tell([("", "Stopped; what was written is kept, and the next time goes on.")])
        except TchatError as error:
            self._tell([("", str(error))])
        finally:
            self._at_work = False

    def _show(self, event: object) -> None:
        """Show how far it is."""
        if rows := list(course(event)):
            self._tell(rows)

    def _tell(self, rows: list[Row]) -> None:
        if self.is_mounted:
            self.query_one("#course", Static).update(_lines(rows))


def figures(learnt: Learnt) -> Iterator[Row]:
    """What there is to learn from, and what was learnt, as names and values."""
    use = learnt.use
    yield (
        "examples",
        f"{use.picked} picked, {use.liked} good, {use.disliked} bad, {use.written} by hand",
    )
    if learnt.human is None:
        yield "person or model", "not trained"
    else:
        facts = learnt.human.provenance
        quality = facts.quality
        told = (
            f"AUC {quality.auc:.2f}, calibration error {quality.calibration_error:.2f}, held out"
            if quality
            else "no quality claimed: it takes 30 of each"
        )
        yield "person or model", f"{facts.examples[0]} and {facts.examples[1]} examples · {told}"
    if learnt.preference is None:
        yield "what you prefer", "not trained"
    else:
        facts = learnt.preference.provenance
        right = f"{facts.accuracy:.0%} right, held out" if facts.accuracy else "no quality claimed"
        yield "what you prefer", f"{facts.examples[0]} choices · {right}"
    yield "games", ", ".join(learnt.games) or "none played"


def course(event: object) -> Iterator[Row]:
    """What an event of a training or a game tells."""
    from tchat.judge.duel import State, Trying
    from tchat.judge.game import Played
    from tchat.judge.training import Working

    if isinstance(event, Working):
        yield event.what, f"{event.done}/{event.total}"
    elif isinstance(event, Trying):
        yield f"round {event.round}, try {event.attempt}", f"{event.done}/{event.total} replies"
    elif isinstance(event, State):
        yield from _rounds(event)
    elif isinstance(event, Played):
        yield from _rounds(event.state)
        yield "ended", event.state.over
        if event.vector:
            yield "use it", f"tchat judge use {event.vector.stem}"
        yield "report", str(event.report)


def _rounds(state: State) -> Iterator[Row]:
    """The course of the scores, a block for each round, and where they are now."""
    from tchat.judge.plot import bars

    rounds, now = state.rounds, state.rounds[-1]
    perplexities = [each.health.perplexity for each in rounds]
    yield "round", f"{now.number} · AUC {now.auc:.2f} · {now.taken:.0%} taken for a person's"
    yield "fresh", f"{bars([each.generated for each in rounds])} {now.generated:.2f}"
    yield "people", f"{bars([each.people for each in rounds])} {now.people:.2f}"
    told = f"{perplexities[-1]:.2f}, {now.costs.perplexity.value:.2f}x"
    yield "perplexity", f"{bars(perplexities, max(perplexities))} {told}"


def _cut(text: str) -> str:
    return single_line(text, LONGEST)


def _lines(rows: Iterator[Row] | list[Row]) -> Content:
    return Content("\n").join(
        Content.assemble((f"{single_line(name):<17}" if name else "", "$muted"), _cut(value))
        for name, value in rows
    )
