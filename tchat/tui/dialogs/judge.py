"""The judge: its scores, training, duels and steering, with the progress of what is running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Input

from tchat.humanize import Eta
from tchat.models.files import short_model_name
from tchat.paths import expanded
from tchat.sanitize import single_line
from tchat.translation import N_, tr, trn
from tchat.tui.background import background, explained
from tchat.tui.dialogs.dialog import CLOSE, Dialog, Hint
from tchat.tui.keys import Scope, bindings
from tchat.tui.services.conversation import Conversation
from tchat.tui.widgets.rows import LONGEST, Lines, Property, property_lines

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.chat.judge import JudgeStatus
    from tchat.judge.game import GameResult, GameRound

    Do = Callable[[Chat, Path | None], Iterator[object]]

NAME = 11  # cells of the name of a section
REST = 10  # rows of the dialog beside the sections
BEAT = 1.0  # seconds between two updates of the time left
TRAINED = N_(
    "Trained. /best 4 PROMPT writes four replies and shows their scores; the setting show_scores "
    "shows a score for every reply."
)
SWITCHED = N_("Done. It applies from the next reply on, here and on the command line.")


class JudgeScreen(Dialog[None]):
    """The four sections, a file of human replies, and below what is going on."""

    HEADING = N_("Judge")
    HINTS: ClassVar[tuple[Hint, ...]] = (
        Hint("judge.train", N_("train")),
        Hint("judge.duel", N_("duel")),
        Hint("judge.steer", N_("steering on or off")),
        CLOSE,
    )
    AT_WORK: ClassVar[tuple[Hint, ...]] = (Hint("dialog.close", N_("stop; resumes later")),)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.JUDGE)]
    DEFAULT_CSS = """
    JudgeScreen {
        & Input { margin: 1; padding: 0 1; background: $panel; }
        &.-short Input { margin: 0 1; }
        & VerticalScroll { height: 1fr; }
    }
    """

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self._conversation = conversation
        self._at_work = False

    def body(self) -> ComposeResult:
        """The sections, the file, the progress."""
        yield JudgeSections(id="sections")
        yield Input(
            placeholder=tr("JSONL file of human replies; empty: your chats"),
            id="data",
            compact=True,
        )
        with VerticalScroll(can_focus=False) as scroll:
            scroll.anchor()
            yield DuelProgress(id="progress")

    def opened(self) -> None:
        """Read the figures."""
        self.query_one(Input).focus()
        self._read()

    @background(group="judge-figures", exclusive=True)
    async def _read(self) -> None:
        def read() -> JudgeStatus:
            from tchat.chat.judge import judge_status

            chat = self._conversation
            return judge_status(chat.settings.model, chat.paths, chat.persistent)

        try:
            learnt = await asyncio.to_thread(read)
        except Exception as error:  # noqa: BLE001  shown instead of the figures
            self._show_text(str(explained(self, error)))
            return
        self.set_heading(tr("Judge of {model}", model=short_model_name(learnt.model)))
        self.query_one(JudgeSections).show(list(sections(learnt)))

    def action_train(self) -> None:
        """Train the judge from use, and from the file that is named."""

        def train(chat: Chat, file: Path | None) -> Iterator[object]:
            from tchat.chat.judge import learn

            return learn(chat, self._conversation.persistent, file)

        self._begin(train, after=tr(TRAINED))

    def action_duel(self) -> None:
        """Start or resume a duel with the replies in the file."""

        def duel(chat: Chat, file: Path | None) -> Iterator[object]:
            from tchat.chat.judge import play

            return play(chat, file)

        self._begin(duel, before_rounds=True)

    def action_steer(self) -> None:
        """Turn steering by the last duel on or off."""

        def switch(chat: Chat, _: Path | None) -> Iterator[object]:
            from tchat.chat.judge import steer

            steer(chat)
            return iter(())

        self._begin(switch, after=tr(SWITCHED))

    def action_close(self) -> None:
        """Stop what runs; when nothing does, close."""
        if self._at_work:
            self._conversation.stop()
            self.query_one(DuelProgress).stop()
        else:
            super().action_close()

    def _begin(self, do: Do, *, before_rounds: bool = False, after: str = "") -> None:
        if not self._at_work:
            self._at_work = True
            self._do(do, before_rounds, after)

    @background(group="judge")
    async def _do(self, do: Do, before_rounds: bool, after: str) -> None:
        name, progress = self.query_one(Input).value.strip(), self.query_one(DuelProgress)
        file = expanded(name) if name else None
        self.show_hints(self.AT_WORK)
        self.query_one(JudgeSections).is_brief = True  # the progress needs the room
        progress.begin(before_rounds=before_rounds)
        beat = self.set_interval(BEAT, progress.count_down)
        try:
            await self._conversation.work(lambda chat: do(chat, file), progress.show_event)
            self._read()
            if after:
                self._show_text(after)
        except InterruptedError:
            self._show_text(tr("Stopped. The next start resumes it."))
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
            self.query_one(DuelProgress).show_text(text)


class JudgeSection(NamedTuple):
    """A part of the dialog: its name, how things stand, and what it does in a sentence."""

    name: str
    state: str
    about: str


def sections(learnt: JudgeStatus) -> Iterator[JudgeSection]:
    """The sections of a judge."""
    yield JudgeSection(
        tr("Scores"),
        f"{_human_score(learnt)} · {_preference_score(learnt)}",
        tr("Estimates how likely a person wrote a reply, and how well you would like it."),
    )
    yield JudgeSection(
        tr("Training"),
        _examples(learnt),
        tr(
            "Learns from replies that you picked, rated (+ and -) or edited, and from a file of "
            "human replies."
        ),
    )
    duels = trn("{count:,} duel completed", "{count:,} duels completed", len(learnt.games))
    yield JudgeSection(
        tr("Duel"),
        duels if learnt.games else tr("Duels: none completed"),
        tr(
            "Trains the judge and a vector that steers the model against each other; the model's "
            "weights never change. Needs the file, takes minutes to hours."
        ),
    )
    yield JudgeSection(
        tr("Steering"),
        tr("on: {duel}", duel=learnt.steers) if learnt.steers else tr("off"),
        tr("Applies the vector of the last duel to the model, until you turn it off."),
    )


def _examples(learnt: JudgeStatus) -> str:
    from tchat.judge.training import MIN_TO_FIT

    choices, edits = len(learnt.use.choices), len(learnt.use.edits)
    return tr(
        "{choices} and {edits}; {least} of one kind are needed",
        choices=trn("{count:,} choice", "{count:,} choices", choices),
        edits=trn("{count:,} edited reply", "{count:,} edited replies", edits),
        least=MIN_TO_FIT,
    )


def _human_score(learnt: JudgeStatus) -> str:
    if learnt.human is None:
        return tr("human or model: not trained")
    quality = learnt.human.provenance.quality
    if quality is None:
        return tr("human or model: trained, accuracy unknown below 30 examples of each")
    return tr("human or model: tells {share:.0%} of pairs apart", share=quality.auc)


def _preference_score(learnt: JudgeStatus) -> str:
    if learnt.preference is None:
        return tr("your preference: not trained")
    facts = learnt.preference.provenance
    choices = trn("{count:,} choice", "{count:,} choices", facts.examples[0])
    if facts.accuracy is None:
        return tr("your preference: trained on {choices}, accuracy unknown", choices=choices)
    return tr("your preference: predicts {share:.0%} of choices", share=facts.accuracy)


class JudgeSections(Lines):
    """The sections; without their sentences while ``is_brief``, or where they have no room."""

    is_brief = reactive(False, layout=True)

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._sections: Sequence[JudgeSection] = ()

    def show(self, sections: Sequence[JudgeSection]) -> None:
        """Show these."""
        self._sections = sections
        self.refresh(layout=True)

    def lines(self, width: int) -> list[Content]:
        """The wrapped lines, with a blank one between sections where there is room."""
        rows = self.app.size.height - REST
        full = self._lines(width, brief=False)
        if self.is_brief or len(full) > rows:
            return self._lines(width, brief=True)
        apart = self._lines(width, brief=False, gap=[Content()])
        return apart if len(apart) <= rows else full

    def _lines(self, width: int, *, brief: bool, gap: Sequence[Content] = ()) -> list[Content]:
        lines: list[Content] = []
        for each in self._sections:
            lines += [*(gap if lines else ()), *_section_lines(each, width, brief=brief)]
        return lines


def _section_lines(section: JudgeSection, width: int, *, brief: bool) -> list[Content]:
    room = max(10, width - NAME)
    name = Content.styled(section.name, "bold $heading")
    state, *more = Content(single_line(section.state, LONGEST)).wrap(room)
    about = [] if brief else Content.styled(section.about, "$muted").wrap(room)
    head = name.pad_right(max(1, NAME - name.cell_length)) + state
    return [head, *(line.pad_left(NAME) for line in (*more, *about))]


BAR = 16  # cells of a bar where there is room,
NARROW, WIDE = 8, 80  # and where the row has fewer than so many
EXPLAINED = N_(
    "human, model: how likely the judge finds it that a person wrote the human replies and the "
    "model's, 0 to 1. fooled: the model's replies taken for human. perplexity: of the model's "
    "replies, and against unsteered ones."
)


class DuelProgress(Lines):
    """The rounds of a duel with both scores, and below them what is being done.

    The rounds stay while the next one is running.
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._rounds: tuple[GameRound, ...] = ()
        self._properties: Sequence[Property] = ()
        self._doing = ("", 0, 0)
        self._before_rounds = False
        self._left = Eta()

    def begin(self, *, before_rounds: bool = False) -> None:
        """Something else begins; with ``before_rounds`` a duel, which prepares its first round."""
        self._rounds, self._doing, self._before_rounds = (), ("", 0, 0), before_rounds
        self._show([("", tr("loading the model"))])

    def show_text(self, text: str) -> None:
        """Show a raw text when nothing is running."""
        self._doing = ("", 0, 0)
        self._show([("", text)])

    def stop(self) -> None:
        """Show that it was asked to stop, and will when the step under way is done."""
        self._doing = ("", 0, 0)
        self._show([("", tr("stopping"))])

    def show_event(self, event: object) -> None:
        """Show an event of a training or a duel."""
        from tchat.judge.game import GameResult, GameState, StepProgress
        from tchat.judge.training import TrainingProgress

        if isinstance(event, TrainingProgress):
            self._doing = (self._stage(event.what), event.done, event.total)
        elif isinstance(event, StepProgress):
            what = tr("round {round}, step {step}: replies", round=event.round, step=event.attempt)
            self._doing = (what, event.done, event.total)
        elif isinstance(event, GameState):
            fitting = tr("round {round}: fitting", round=len(event.rounds))
            what = tr("verdict: fitting") if event.over else fitting
            self._rounds, self._doing = event.rounds, (what, 0, 0)
        elif isinstance(event, GameResult):
            self._rounds, self._doing = event.state.rounds, ("", 0, 0)
            self._show(list(_ended(event)))
        self.count_down()

    def _stage(self, what: str) -> str:
        if self._rounds:
            return tr("verdict: {what}", what=what)
        return tr("before the first round: {what}", what=what) if self._before_rounds else what

    def count_down(self) -> None:
        """Show how far it is, and how long it may take from now on."""
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
    names = _padded(tr("human"), bar + 7) + _padded(tr("model"), bar + 7)
    head = Content.styled(
        f"{_padded(tr('round'), 5)}  {names}{_padded(tr('fooled'), 6)} {tr('perplexity')}", "$muted"
    )
    lines = [head, *(_line(each, bar).truncate(max(10, width), ellipsis=True) for each in rounds)]
    return [*lines, *Content.styled(tr(EXPLAINED), "$muted").wrap(max(10, width)), Content()]


def _padded(text: str, cells: int) -> str:
    return text + " " * (cells - cell_len(text))


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
    """The result of a duel."""
    yield tr("ended"), played.state.over
    if played.verdict:
        yield tr("independent"), played.verdict.words
    if played.vector:
        yield tr("to use it"), f"tchat judge use {played.vector.stem}"
    report = str(played.report)
    if played.is_encrypted:
        report = f"tchat judge report {played.report.parent.name}"
    yield tr("report"), report
