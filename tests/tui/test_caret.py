"""The caret at the end of a reply while it is written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.pilot import Pilot

from tchat.tui.widgets.transcript.caret import CARET
from tchat.tui.widgets.transcript.view import Transcript

from .stage import until
from .test_transcript import reply, rows, staged, user


def carets(transcript: Transcript) -> list[str]:
    """The rows with a caret."""
    return [row.strip() for row in rows(transcript) if CARET in row]


def write(transcript: Transcript, text: str, **more: str) -> None:
    if not transcript.has(2):
        transcript.begin(replace(reply(2), text=""))
    transcript.feed(2, text, **more)


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("", CARET),
        ("Light", f"Light{CARET}"),
        ("Light\n\n- air", f"• air{CARET}"),
        ("One.\n\n", f"One.{CARET}"),
        ("```\nx = 1", f"▎ x = 1{CARET}"),
        ("日本語", f"日本語{CARET}"),
    ],
)
async def test_it_stands_behind_the_text_that_came(text: str, row: str) -> None:
    async with staged(user(1)) as (transcript, _, _):
        write(transcript, text)
        assert carets(transcript) == [row]


async def test_it_takes_no_room_from_text_or_code() -> None:
    async with staged(user(1)) as (transcript, _, _):
        cells = transcript.column.form.cells
        for text in ("x" * cells, f"```\n{'x' * cells}"):
            write(transcript, text)
            assert len(carets(transcript)) == 1
            assert all(
                transcript.render_line(y).cell_length == transcript.size.width
                for y in range(transcript.size.height)
            )
            transcript.update(reply(2, text))
            before = rows(transcript)
            transcript.drop(2)
            transcript.append(reply(2, text))
            assert rows(transcript) == before
            transcript.drop(2)


async def test_it_is_in_the_reasoning_until_the_answer_begins() -> None:
    async with staged(user(1)) as (transcript, _, _):
        write(transcript, "", reasoning="Let me")
        assert carets(transcript) == [f"┆ Let me{CARET}"]
        write(transcript, "So")
        assert carets(transcript) == [f"So{CARET}"]


async def test_it_goes_at_the_end_of_the_reply_with_all_that_it_costs() -> None:
    async with staged(user(1), reply(4, status="streaming")) as (transcript, pilot, _):
        assert carets(transcript) == []  # another program writes this one
        before = len(transcript._timers)
        write(transcript, "Light")
        assert len(transcript._timers) == before + 1
        transcript.update(reply(2, "Light"))
        assert carets(transcript) == []
        await until(pilot, lambda: len(transcript._timers) == before)


async def redrawn(
    transcript: Transcript, pilot: Pilot[None], monkeypatch: pytest.MonkeyPatch
) -> list[tuple[int, int]]:
    """A list that gets each run of rows that is drawn again."""
    await pilot.pause()
    drawn: list[tuple[int, int]] = []

    def refresh_lines(first: int, count: int = 1) -> None:
        drawn.append((first, count))
        Transcript.refresh_lines(transcript, first, count)

    monkeypatch.setattr(transcript, "refresh_lines", refresh_lines)
    return drawn


async def test_it_blinks_in_one_row_while_no_text_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(user(1)) as (transcript, pilot, _):
        write(transcript, "One\n\ntwo")
        drawn = await redrawn(transcript, pilot, monkeypatch)
        await until(pilot, lambda: not carets(transcript))
        await until(pilot, lambda: carets(transcript) == [f"two{CARET}"])
        row = next(y for y, text in enumerate(rows(transcript)) if "two" in text)
        assert set(drawn) == {(row, 1)}
        await until(pilot, lambda: not carets(transcript))
        write(transcript, "!")
        assert carets(transcript) == [f"two!{CARET}"]


async def test_the_row_that_it_leaves_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(user(1)) as (transcript, pilot, _):
        write(transcript, "One.\n\n")
        row = next(y for y, text in enumerate(rows(transcript)) if CARET in text)
        drawn = await redrawn(transcript, pilot, monkeypatch)
        write(transcript, "Two")
        assert min(first for first, _ in drawn) <= row


async def test_it_is_not_copied() -> None:
    async with staged(user(1)) as (transcript, pilot, app):
        for text, copied in (("", "prompt 1"), ("Light", "prompt 1\n\nLight")):
            write(transcript, text)
            transcript.text_select_all()
            assert len(carets(transcript)) == 1
            await pilot.pause()
            assert (app.screen.get_selected_text() or "").strip() == copied
            app.screen.clear_selection()


async def test_there_is_none_where_animations_are_off() -> None:
    async with staged(user(1)) as (transcript, _, app):
        app.animation_level = "none"
        write(transcript, "")
        assert carets(transcript) == []
        write(transcript, "Light")
        assert carets(transcript) == []
