"""The status line and the draft meter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widget import Widget

from tchat.engine.events import Event, LoadProgress, PromptProgress, TextDelta
from tchat.humanize import clock_text
from tchat.tui.controllers.context import TurnProgress
from tchat.tui.themes import variable_defaults
from tchat.tui.widgets.rows import sparkline
from tchat.tui.widgets.status import (
    Loading,
    Phase,
    Reading,
    State,
    StatusData,
    StatusLine,
    Writing,
)
from tchat.tui.widgets.token_meter import TokenMeter
from tests.tui.stage import HOSTILE, is_tame, text

FULL = StatusData(
    model="SmolLM2", quantization="Q4_1", device="CPU", used=1_024, context=8_192, offline=True
)


class Stage(App[None]):
    """One line alone."""

    def __init__(self, line: Widget) -> None:
        super().__init__()
        self._line = line

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults(self.current_theme)

    def compose(self) -> ComposeResult:
        yield self._line


@asynccontextmanager
async def staged(line: Widget, width: int = 110) -> AsyncIterator[tuple[Pilot[None], Stage]]:
    app = Stage(line)
    async with app.run_test(size=(width, 2)) as pilot:
        await pilot.pause()
        yield pilot, app


def colour(app: Stage, word: str) -> str:
    """The name of the theme's colour that ``word`` is drawn in."""
    strip = app.screen._compositor.render_strips()[0]
    drawn = next(part.style for part in strip if word in part.text)
    assert drawn is not None
    assert drawn.color is not None
    variables = app.get_css_variables()
    names = ("gauge-ok", "gauge-warn", "gauge-full")
    seen = drawn.color.get_truecolor().hex
    return next((each for each in names if variables[each].lower() == seen.lower()), "")


@pytest.mark.parametrize(
    ("used", "word", "name"),
    [
        (7_000, "filling up", "gauge-warn"),
        (7_900, "nearly full", "gauge-full"),
        (9_000, "does not fit", "gauge-full"),
    ],
)
async def test_the_meter_warns_by_words_and_by_colour(used: int, word: str, name: str) -> None:
    meter = TokenMeter()
    async with staged(meter) as (pilot, app):
        meter.show(12, used, 8_192)
        await pilot.pause()
        assert word in text(app)
        assert colour(app, word) == name
        assert f"after sending {used:,} of 8,192" in text(app)


async def test_the_meter_counts_exactly_and_says_what_is_left() -> None:
    meter = TokenMeter()
    async with staged(meter) as (pilot, app):
        meter.show(12, 100, 8_192)
        await pilot.pause()
        told = "draft 12 tokens · after sending 100 of 8,192 · room for the reply 8,092"
        assert told in text(app)
        meter.show(12, 8_200, 8_192)
        await pilot.pause()
        assert "too long by 8" in text(app)
        meter.show(8_192, 8_192, 8_192)  # counted no further
        await pilot.pause()
        assert "does not fit" in text(app)
        assert "nearly full" not in text(app)
        assert "draft of 8,192 tokens or more" in text(app)
        meter.show(12, 8_192, 8_192)  # old turns leave for it
        await pilot.pause()
        assert "nearly full" in text(app)
        meter.show(None, None, 8_192)
        await pilot.pause()
        assert "draft …" in text(app)
        meter.show(0, 0, 0)
        await pilot.pause()
        assert text(app).strip() == ""


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (Phase.IDLE, "○ idle"),
        (Loading(0.42), "loading 42%"),
        (Reading(1_024, 3_072, 65), "reading 1,024/3,072"),
        (Reading(1_024, 3_072, 65), "1:05 left"),
        (Writing(54.2, (10, 20, 54.2)), "writing 54 tok/s"),
        (Writing(54.2, (10, 20, 54.2)), "▂▄█"),
        (Writing(0), "● writing "),
        (Phase.STOPPING, "■ stopping"),
    ],
)
async def test_the_status_line_tells_the_state(state: State, told: str) -> None:
    line = StatusLine()
    async with staged(line) as (pilot, app):
        line.show(StatusData(state=state))
        await pilot.pause()
        assert told in text(app)


async def test_the_status_line_tells_model_context_and_being_offline() -> None:
    line = StatusLine()
    async with staged(line) as (pilot, app):
        line.show(FULL)
        await pilot.pause()
        for told in ("SmolLM2", "Q4_1", "CPU", "1,024/8,192", "12%", "offline"):
            assert told in text(app)


async def test_numbers_of_a_reply_rest_long_enough_to_be_read() -> None:
    now = 0.0
    line = StatusLine(clock=lambda: now)
    async with staged(line) as (pilot, app):
        seen = []
        for now in (1.0, 1.1, 1.2, 1.3):
            line.show(StatusData(state=Writing(100 * now)))
            await pilot.pause()
            seen.append(text(app).split()[2])
        assert seen == ["100", "100", "100", "130"]
        line.show(StatusData(state=Phase.IDLE))
        await pilot.pause()
        assert "idle" in text(app)
        line.show(StatusData(state=Writing(70)))
        await pilot.pause()
        assert "writing 70 tok/s" in text(app)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
@pytest.mark.parametrize("model", ["SmolLM2", HOSTILE, "名前" * 40])
async def test_the_status_line_folds_and_its_state_stays(width: int, model: str) -> None:
    line = StatusLine()
    async with staged(line, width) as (pilot, app):
        line.show(StatusData(model, "Q4_1", "CPU", Writing(54, (1, 2)), 1_024, 8_192, True))
        await pilot.pause()
        assert is_tame(app)
        assert "54 tok/s" in text(app)


async def test_private_mode_is_never_folded_away() -> None:
    line = StatusLine()
    async with staged(line, 40) as (pilot, app):
        line.show(StatusData("SmolLM2", "Q4_1", "CPU", Phase.IDLE, 1, 8_192, private=True))
        await pilot.pause()
        assert "PRIVATE" in text(app)


def test_a_sparkline_draws_what_is_no_number_as_zero() -> None:
    assert sparkline([0, 4, 8]) == "▁▅█"
    assert sparkline([float("nan"), -1.0, float("inf")]) == "▁▁▁"
    assert sparkline([]) == ""


def test_durations_are_for_readers() -> None:
    assert [clock_text(seconds) for seconds in (-1, 8.4, 59.4, 65, 3600)] == [
        "0 s",
        "8 s",
        "59 s",
        "1:05",
        "60:00",
    ]


@pytest.mark.parametrize(
    "event",
    [LoadProgress("m", 0.5), LoadProgress("m", 1.0), PromptProgress(1, 9, 0), TextDelta("a")],
)
def test_what_is_stopped_is_stopping_until_its_end(event: Event) -> None:
    progress = TurnProgress()
    progress.begin()
    progress.stop()
    progress.record(event)
    assert progress.state is Phase.STOPPING
    assert progress.end()


def test_no_speed_is_told_before_there_is_one() -> None:
    now = 0.0
    progress = TurnProgress(lambda: now)
    progress.record(PromptProgress(10, 10, 0))
    rates = []
    for seconds in (0.0, 0.001, 0.4, 0.5, 0.6):
        now = seconds
        for _ in range(5):
            progress.record(TextDelta("a"))
        assert isinstance(progress.state, Writing)
        rates.append(progress.state.rate)
    assert rates == [0, 0, 0, 32, 32]
