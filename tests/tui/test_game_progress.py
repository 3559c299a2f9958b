"""The progress of a duel on the screen: rounds stay, and the time left counts down."""

from __future__ import annotations

from tchat.humanize import Eta
from tchat.judge.game.adversarial_loop import AdversarialLoop, GameRules
from tchat.judge.game.game_state import GameState, StepProgress
from tchat.judge.training import TrainingProgress
from tchat.tui.dialogs.judge import DuelProgress
from tests.judge.game.game_replies import Puppet, table


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_time_left_counts_down_while_nothing_is_finished() -> None:
    clock = Clock()
    left = Eta(clock)
    assert left.words("writing", 0, 10) == "writing 0/10"
    clock.now = 8.0
    assert left.words("writing", 2, 10) == "writing 2/10 · 32 s left"
    clock.now = 18.0
    assert left.words("writing", 2, 10) == "writing 2/10 · 22 s left"
    assert left.words("writing", 0, 5) == "writing 0/5"  # another stage of the same name


def test_rounds_stay_while_the_next_one_is_played() -> None:
    progress = DuelProgress()
    seen = []
    for event in AdversarialLoop(Puppet(), table(), GameRules((1,), rounds=1, batch=20)).play(
        GameState()
    ):
        progress.show_event(event)
        seen.append((event, progress.plain))
    states = [event for event, _ in seen if isinstance(event, GameState)]
    trying = [text for event, text in seen if isinstance(event, StepProgress) and event.round == 1]
    first = states[0].rounds[0]
    assert trying
    progress.show_event(TrainingProgress("writing", 3, 16))
    assert "verdict: writing 3/16" in progress.plain
    fitting = [text for event, text in seen if event is states[0]]
    assert fitting[0].endswith("round 1: fitting")  # no figure stands still meanwhile
    for text in trying:
        assert f"    0  {'█' * int(16 * first.people)}" in text
        assert f"{first.generated:.2f}  {first.taken:5.0%}" in text
        assert "taken for human" in text  # what the figures mean
        assert "round 1, step" in text


def test_no_line_is_wider_than_the_dialog() -> None:
    progress = DuelProgress()
    for event in AdversarialLoop(Puppet(), table(), GameRules((1,), rounds=1, batch=20)).play(
        GameState()
    ):
        progress.show_event(event)
    progress._show([("report", "/a/path/" + "long/" * 40), ("", "many words " * 20)])
    for width in (56, 71, 96):
        assert max(line.cell_length for line in progress.lines(width)) <= width
    assert progress.lines(0)  # before it has a size
