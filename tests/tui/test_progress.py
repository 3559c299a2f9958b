"""What the status line says of the engine's work, by its events."""

from __future__ import annotations

from tchat.engine.events import PromptProgress, TextDelta
from tchat.tui.controllers.context import Progress
from tchat.tui.widgets.status import Writing


def test_no_speed_is_told_before_there_is_one() -> None:
    now = 0.0
    progress = Progress(lambda: now)
    progress.take(PromptProgress(10, 10, 0))
    rates = []
    for seconds in (0.0, 0.001, 0.4, 0.5, 0.6):
        now = seconds
        for _ in range(5):
            progress.take(TextDelta("a"))
        assert isinstance(progress.state, Writing)
        rates.append(progress.state.rate)
    assert rates == [0, 0, 0, 32, 32]
