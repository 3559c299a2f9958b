"""The status line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widget import Widget

from tchat.engine.events import Event, LoadProgress, PromptProgress, TextDelta
from tchat.humanize import clock_text
from tchat.tui.controllers.turn_state import TurnProgress
from tchat.tui.engine_state import Decoding, Loading, Phase, Prefilling, State
from tchat.tui.themes import variable_defaults
from tchat.tui.widgets.header import HeaderData
from tchat.tui.widgets.rows import sparkline
from tchat.tui.widgets.status import (
    SPINNER,
    STILL,
    TURN,
    DraftCost,
    StatusData,
    StatusHint,
    StatusLine,
)
from tests.tui.stage import HOSTILE, is_tame, shows, text


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
async def test_the_context_warns_by_words_and_by_colour(used: int, word: str, name: str) -> None:
    line = StatusLine()
    async with staged(line) as (pilot, app):
        line.show(StatusData(used=used, context=8_192))
        await pilot.pause()
        await shows(app, word)
        assert colour(app, word) == name


@pytest.mark.parametrize(
    ("used", "told"),
    [
        (0, "0/8k"),
        (912, "912/8k"),
        (1_126, "1.1k/8k"),
        (4_900, "4.8k/8k"),
        (4_916, "4.8k/8k ━━━━━╌╌╌ 60%"),
        (8_192, "8k/8k ━━━━━━━━ 100% !! nearly full"),
        (None, "…/8k"),
    ],
)
async def test_the_context_is_told_short_with_a_bar_where_it_matters(
    used: int | None, told: str
) -> None:
    line = StatusLine()
    async with staged(line) as (pilot, app):
        line.show(StatusData(used=used, context=8_192))
        await pilot.pause()
        assert text(app).strip() == told


@pytest.mark.parametrize(
    ("draft", "told"),
    [
        (DraftCost(12, 112), ""),
        (DraftCost(400, 1_000, read=1.0), ""),
        (DraftCost(2_140, 4_000), "2,140 tokens · 4.1k left"),
        (DraftCost(2_140, 4_000, read=0.4), "2,140 tokens · 4.1k left · 40% read"),
        (DraftCost(2_140, 4_000, read=1), "2,140 tokens · 4.1k left · ✓ read"),
        (DraftCost(1, 7_900), "1 token · 292 left"),
        (DraftCost(12, 8_192), "12 tokens · 0 left"),
        (DraftCost(12, 8_200), "Too long by 8 tokens"),
        (DraftCost(8_192, 8_192), "Draft exceeds the context of 8,192 tokens"),
        (DraftCost(0, 100, reload=("Reloading: it changed", "Reloading")), "Reloading: it changed"),
    ],
)
async def test_a_draft_is_told_only_where_it_matters(draft: DraftCost, told: str) -> None:
    line = StatusLine()
    hint = StatusHint("F1", "help")
    async with staged(line) as (pilot, app):
        line.show(StatusData(context=8_192, draft=draft, hint=hint))
        await pilot.pause()
        assert text(app).strip().removesuffix("0/8k").strip() == (told or "F1 help")


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (Phase.PREPARING, "Preparing"),
        (Loading(0.42), "Loading model 42%"),
        (Prefilling(1_024, 3_072, 65), "Reading 1,024/3,072 tokens"),
        (Prefilling(1_024, 3_072, 65), "1:05 left"),
        (Decoding(54.2, (10, 20, 54.2)), "54 tok/s"),
        (Decoding(54.2, (10, 20, 54.2)), "▂▄█"),
        (Decoding(0), "Writing"),
        (Phase.STOPPING, "Stopping"),
    ],
)
async def test_the_status_line_tells_the_state_and_how_to_stop_it(state: State, told: str) -> None:
    line = StatusLine()
    async with staged(line) as (pilot, app):
        line.show(StatusData(state=state, hint=StatusHint("F1", "help"), queued=2))
        await pilot.pause()
        await shows(app, told)
        assert text(app).strip()[0] in SPINNER
        assert ("Esc stops" in text(app)) == (state is not Phase.STOPPING)
        await shows(app, "2 queued")
        assert "F1" not in text(app)
        line.show(StatusData())
        await pilot.pause()
        assert not text(app).strip()


async def test_the_spinner_turns_by_itself_until_the_end() -> None:
    line = StatusLine()
    async with staged(line) as (pilot, app):
        line.show(StatusData(state=Loading(0.5)))
        seen: set[str] = set()
        while len(seen) < 3:
            await pilot.pause(TURN)
            seen.add(text(app).strip()[0])
        line.show(StatusData(state=Phase.IDLE))
        assert line._timer is None


async def test_nothing_moves_where_the_user_wants_no_motion() -> None:
    line = StatusLine()
    async with staged(line) as (pilot, app):
        app.animation_level = "none"
        line.show(StatusData(state=Loading(0.5)))
        await pilot.pause(2 * TURN)
        assert text(app).strip().startswith(STILL)
        assert line._timer is None


async def test_numbers_of_a_reply_rest_long_enough_to_be_read() -> None:
    now = 0.0
    line = StatusLine(clock=lambda: now)
    async with staged(line) as (pilot, app):
        seen = []
        for now in (1.0, 1.1, 1.2, 1.3):
            line.show(StatusData(state=Decoding(100 * now)))
            await pilot.pause()
            seen.append(text(app).split()[1])
        assert seen == ["100", "100", "100", "130"]
        line.show(StatusData(state=Phase.IDLE))
        await pilot.pause()
        assert not text(app).strip()
        line.show(StatusData(state=Decoding(70)))
        await pilot.pause()
        await shows(app, "70 tok/s")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
@pytest.mark.parametrize("model", ["SmolLM2", HOSTILE, "名前" * 40])
async def test_the_status_line_folds_and_its_state_stays(width: int, model: str) -> None:
    line = StatusLine()
    async with staged(line, width) as (pilot, app):
        line.show(
            StatusData(
                Decoding(54, (1, 2)),
                1_024,
                8_192,
                queued=2,
                pulling=f"↓ 12 % of {model}",
                header=HeaderData(model, model=model),
            )
        )
        await pilot.pause()
        assert is_tame(app)
        await shows(app, "54 tok/s")


async def test_private_mode_is_never_folded_away() -> None:
    line = StatusLine()
    folded = HeaderData("Title", (2, 3), "SmolLM2", private=True)
    async with staged(line, 40) as (pilot, app):
        line.show(StatusData(used=1, context=8_192, header=folded))
        await pilot.pause()
        for told in ("PRIVATE", "⎇ 2/3", "1/8k"):
            await shows(app, told)


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
        assert isinstance(progress.state, Decoding)
        rates.append(progress.state.rate)
    assert rates == [0, 0, 0, 32, 32]
