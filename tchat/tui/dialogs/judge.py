"""The judge: what it learnt, how good it is, training it, and the game with its progress."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Input

from tchat.humanize import counted
from tchat.paths import expanded
from tchat.tui.background import background, explained
from tchat.tui.dialogs.dialog import CLOSE, Dialog, Hint
from tchat.tui.dialogs.game_progress import GameProgress
from tchat.tui.keys import Scope, bindings
from tchat.tui.services.judge import JudgeService
from tchat.tui.widgets.rows import Property, PropertyList

if TYPE_CHECKING:
    from tchat.chat.judge_service import JudgeStatus

    Do = Callable[..., Awaitable[None]]

BEAT = 1.0  # seconds between two tellings of the time left
ABOUT = (
    "The judge estimates whether a person or the model wrote a reply. It is trained on replies "
    "that you picked, rated (+ and -) or edited in chats, and on a file of human replies. In the "
    "game, the judge and the model are trained against each other, which takes minutes to hours. "
    "Stopped training and games resume the next time."
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

    def __init__(self, service: JudgeService) -> None:
        super().__init__()
        self._service = service
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
        try:
            learnt = await self._service.learnt()
        except Exception as error:  # noqa: BLE001  told in the place of the figures
            self._show_text(str(explained(self, error)))
            return
        self.set_heading(f"Judge of {learnt.model}")
        self.query_one("#learnt", PropertyList).show(list(figures(learnt)))

    def action_train(self) -> None:
        """Train the judge from use, and from the file that is named."""
        self._begin(self._service.train, after=LEARNT)

    def action_duel(self) -> None:
        """Play the game on the replies in the file."""
        self._begin(self._service.play, before="before the first round: ")

    def action_steer(self) -> None:
        """Steer the model by what the game came to, or no more."""
        self._begin(self._service.steer, after=STEERED)

    def action_close(self) -> None:
        """Stop what runs; when nothing does, close."""
        if self._at_work:
            self._service.stop()
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
            await do(file, progress.show_event)
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
            else "quality unknown: needs 30 of each"
        )
        yield (
            "person or model",
            f"{facts.examples[0]:,} and {counted(facts.examples[1], 'example')} · {told}",
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
