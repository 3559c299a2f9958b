"""The judge: what it learnt, training it, and the game with its progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Input

from tchat.humanize import Eta, counted
from tchat.paths import expanded
from tchat.sanitize import single_line
from tchat.tui.background import background, explained
from tchat.tui.dialogs.dialog import CLOSE, Dialog, Hint
from tchat.tui.keys import Scope, bindings
from tchat.tui.services.conversation import Conversation
from tchat.tui.widgets.rows import Lines, Property, PropertyList, property_lines

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.chat.judge import JudgeStatus
    from tchat.judge.game import GameResult, GameRound

    Do = Callable[[Chat, Path | None], Iterator[object]]

BEAT = 1.0  # seconds between two tellings of the time left
ABOUT = (
    "The judge estimates whether a person or the model wrote a reply. It is trained on replies "
    "that you picked, rated (+ and -) or edited in chats, and on a file of human replies. In the "
    "game, the judge is trained against a control vector that steers the model, whose weights do "
    "not change; it takes minutes to hours. Stopped training and games resume the next time."
)

LEARNT = (
    "Trained. /best 4 PROMPT writes four replies and shows their scores; the setting "
    "show_scores shows a score for every reply."
)

STEERED = "Done; in force from the next reply on, here and in the shell."


class JudgeScreen(Dialog[None]):
    """Figures above, a file of people's replies, and below what is going on."""

    HEADING = "Judge"
    HINTS: ClassVar[tuple[Hint, ...]] = (
        Hint("judge.train", "train"),
        Hint("judge.duel", "play the game"),
        Hint("judge.steer", "steer the model, on or off"),
        CLOSE,
    )
    AT_WORK: ClassVar[tuple[Hint, ...]] = (Hint("dialog.close", "stop; resumes later"),)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.JUDGE)]
    DEFAULT_CSS = """
    JudgeScreen Input { margin: 1; padding: 0 1; background: $panel; }
    JudgeScreen VerticalScroll { height: 1fr; }
    """

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self._conversation = conversation
        self._at_work = False

    def body(self) -> ComposeResult:
        """Figures, the file, the progress."""
        yield PropertyList(id="learnt")
        yield Input(
            placeholder="JSONL file of human replies; empty: use your chats",
            id="data",
            compact=True,
        )
        with VerticalScroll(can_focus=False) as scroll:
            scroll.anchor()
            yield GameProgress(id="progress")

    def opened(self) -> None:
        """Read the figures."""
        self.query_one(Input).focus()
        self.query_one(GameProgress).show_text(ABOUT)
        self._read()

    @background(group="judge-figures", exclusive=True)
    async def _read(self) -> None:
        def read() -> JudgeStatus:
            from tchat.chat.judge import judge_status

            chat = self._conversation
            return judge_status(chat.settings.model, chat.paths, chat.persistent)

        try:
            learnt = await asyncio.to_thread(read)
        except Exception as error:  # noqa: BLE001  told in the place of the figures
            self._show_text(str(explained(self, error)))
            return
        self.set_heading(f"Judge of {learnt.model}")
        self.query_one("#learnt", PropertyList).show(list(figures(learnt)))

    def action_train(self) -> None:
        """Train the judge from use, and from the file that is named."""

        def train(chat: Chat, file: Path | None) -> Iterator[object]:
            from tchat.chat.judge import learn

            return learn(chat, self._conversation.persistent, file)

        self._begin(train, after=LEARNT)

    def action_duel(self) -> None:
        """Play the game on the replies in the file."""

        def duel(chat: Chat, file: Path | None) -> Iterator[object]:
            from tchat.chat.judge import play

            return play(chat, file)

        self._begin(duel, before="before the first round: ")

    def action_steer(self) -> None:
        """Steer the model by what the game came to, or no more."""

        def switch(chat: Chat, _: Path | None) -> Iterator[object]:
            from tchat.chat.judge import steer

            steer(chat)
            return iter(())

        self._begin(switch, after=STEERED)

    def action_close(self) -> None:
        """Stop what runs; when nothing does, close."""
        if self._at_work:
            self._conversation.stop()
            self.query_one(GameProgress).stop()
        else:
            super().action_close()

    def _begin(self, do: Do, *, before: str = "", after: str = "") -> None:
        if not self._at_work:
            self._at_work = True
            self._do(do, before, after)

    @background(group="judge")
    async def _do(self, do: Do, before: str, after: str) -> None:
        name, progress = self.query_one(Input).value.strip(), self.query_one(GameProgress)
        file = expanded(name) if name else None
        self.show_hints(self.AT_WORK)
        progress.begin(before)
        beat = self.set_interval(BEAT, progress.count_down)
        try:
            await self._conversation.work(lambda chat: do(chat, file), progress.show_event)
            self._read()
            if after:
                self._show_text(after)
        except InterruptedError:
            self._show_text("Stopped; progress is kept, and resumes the next time.")
        except OSError as error:
            self._show_text(str(error))
        except Exception as error:  # noqa: BLE001  else it would be loading for ever
            self._show_text(str(explained(self, error)))
        finally:
            beat.stop()
            self._at_work = False
            if self.is_mounted:
                self.show_hints(self.HINTS)

    def _show_text(self, text: str) -> None:
        if self.is_mounted:
            self.query_one(GameProgress).show_text(text)


def figures(learnt: JudgeStatus) -> Iterator[Property]:
    """What there is to learn from, and what was learnt, as names and values."""
    use = learnt.use
    yield (
        "examples",
        f"{use.picked} picked, {use.liked} good, {use.disliked} bad, {use.written} written by you",
    )
    if learnt.human is None:
        yield "discriminator", "not trained"
    else:
        facts = learnt.human.provenance
        quality = facts.quality
        held_out = (
            f"AUC {quality.auc:.2f}, calibration error {quality.calibration_error:.2f}, held out"
            if quality
            else "quality unknown: needs 30 of each"
        )
        yield (
            "discriminator",
            f"{facts.examples[0]:,} and {counted(facts.examples[1], 'example')} · {held_out}",
        )
    if learnt.preference is None:
        yield "what you prefer", "not trained"
    else:
        facts = learnt.preference.provenance
        right = "quality unknown"
        if facts.accuracy is not None:
            right = f"{facts.accuracy:.0%} right, held out"
        yield "what you prefer", f"{counted(facts.examples[0], 'choice')} · {right}"
    games = [
        f"{name} (steers the model)" if name == learnt.steers else name for name in learnt.games
    ]
    yield "games", ", ".join(games) or "none with a result"


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
