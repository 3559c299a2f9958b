"""What is going on at the judge: the rounds of a game as they come, and how far the next one is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from textual.content import Content

from tchat.chat.eta import Eta
from tchat.sanitize import single_line
from tchat.tui.widgets.rows import Lines, Property, property_lines

if TYPE_CHECKING:
    from tchat.judge.game import GameResult, GameRound

BAR = 16  # cells of a bar where there is room,
NARROW, WIDE = 8, 80  # and where the row has fewer than so many
EXPLAINED = (
    "people, fresh: how sure the discriminator is that a person wrote people's replies and the "
    "fresh ones, 0 to 1. taken: fresh ones that it takes for a person's. perplexity: of the fresh "
    "ones, and against unsteered ones."
)


class GameProgress(Lines):
    """The rounds of a game with both scores, and beneath them what is being done.

    The rounds stay while the next one is played.
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._rounds: tuple[GameRound, ...] = ()
        self._properties: Sequence[Property] = ()
        self._doing = ("", 0, 0)
        self._before = ""
        self._left = Eta()

    def begin(self, before: str = "") -> None:
        """Something else begins; ``before`` is said of what comes before the first round."""
        self._rounds, self._doing, self._before = (), ("", 0, 0), before
        self._show([("", "loading the model")])

    def show_text(self, text: str) -> None:
        """Say something, raw, when nothing goes on."""
        self._doing = ("", 0, 0)
        self._show([("", text)])

    def stop(self) -> None:
        """It was asked to stop, and will when the step under way is done."""
        self._doing = ("", 0, 0)
        self._show([("", "stopping")])

    def show_event(self, event: object) -> None:
        """Show an event of a training or a game."""
        from tchat.judge.game import GameResult, GameState, StepProgress
        from tchat.judge.training import TrainingProgress

        if isinstance(event, TrainingProgress):
            stage = "verdict: " if self._rounds else self._before
            self._doing = (stage + event.what, event.done, event.total)
        elif isinstance(event, StepProgress):
            what = f"round {event.round}, step {event.attempt}: replies"
            self._doing = (what, event.done, event.total)
        elif isinstance(event, GameState):
            stage = "verdict" if event.over else f"round {len(event.rounds)}"
            self._rounds, self._doing = event.rounds, (f"{stage}: fitting", 0, 0)
        elif isinstance(event, GameResult):
            self._rounds, self._doing = event.state.rounds, ("", 0, 0)
            self._show(list(_ended(event)))
        self.count_down()

    def count_down(self) -> None:
        """Tell how far it is, and how long it may take from now on."""
        what, done, total = self._doing
        if what:
            self._show([("", self._left.words(what, done, total))])

    def lines(self, width: int) -> list[Content]:
        """The rounds, and what is being done."""
        return [*_table(self._rounds, width), *property_lines(self._properties, width)]

    def _show(self, properties: Sequence[Property]) -> None:
        self._properties = properties
        self.refresh(layout=True)


def _table(rounds: Sequence[GameRound], width: int) -> list[Content]:
    """A line for each round, and what the figures mean."""
    if not rounds:
        return []
    bar = BAR if width >= WIDE else NARROW
    scored = f"{'people':<{bar + 7}}{'fresh':<{bar + 7}}"
    head = Content.styled(f"round  {scored}taken  perplexity", "$muted")
    lines = [head, *(_line(each, bar).truncate(max(10, width), ellipsis=True) for each in rounds)]
    return [
        *lines,
        *(Content.styled(line, "$muted") for line in wrap(EXPLAINED, max(10, width))),
        Content(),
    ]


def _line(each: GameRound, bar: int) -> Content:
    from tchat.judge.game import horizontal_bar

    return Content.assemble(
        f"{each.number:5}  ",
        (f"{horizontal_bar(each.people, bar)} ", "$primary"),
        f"{each.people:.2f}  ",
        (f"{horizontal_bar(each.generated, bar)} ", "$accent"),
        f"{each.generated:.2f}  ",
        f"{each.taken:5.0%}  {each.health.perplexity:5.2f} {each.costs.perplexity.value:.2f}x",
        (f"  {single_line(each.note)}", "$muted"),
    )


def _ended(played: GameResult) -> Iterator[Property]:
    """What a game came to."""
    yield "ended", played.state.over
    if played.verdict:
        yield "from outside", played.verdict.words
    if played.vector:
        yield "use it", f"tchat judge use {played.vector.stem}"
    yield "report", str(played.report)
