"""Spacing, folds and the middle column of the transcript, and what the pointer shows."""

from __future__ import annotations

import pytest

from tchat.tui.widgets.transcript.entry import Entry
from tchat.tui.widgets.transcript.layout import TEXT
from tests.tui.test_transcript import click, drag, reply, rows, spot, staged, user


async def test_a_turn_has_one_empty_line_inside_and_two_after_it() -> None:
    entries = [user(1), Entry(key="n", role="notice", text="read"), reply(2), user(3), reply(4)]
    async with staged(*entries) as (transcript, pilot, _):
        talk = ["▌ You", "▌ prompt 1", "", "  — read", "", "  Assistant", "  reply 2"]
        assert rows(transcript)[:12] == [*talk, "", "", "▌ You", "▌ prompt 3", ""]
        transcript.prepend([user(8), reply(9)])
        await pilot.press("home")
        assert rows(transcript)[:8] == [
            *("▌ You", "▌ prompt 8", "", "  Assistant", "  reply 9", "", ""),
            "▌ You",
        ]
        transcript.drop(8)
        transcript.drop(9)
        await pilot.pause()
        assert rows(transcript)[:7] == talk


@pytest.mark.parametrize(("columns", "left"), [(60, 0), (99, 0), (120, 10), (200, 50)])
async def test_text_stands_in_the_middle_of_a_wide_terminal(columns: int, left: int) -> None:
    async with staged(user(1), reply(2, "word " * 60), size=(columns, 20)) as scene:
        transcript, pilot, app = scene
        assert rows(transcript)[0] == " " * left + "▌ You"
        words = rows(transcript)[4]
        assert words.startswith(" " * (left + 2) + "word")
        assert len(words.strip()) <= 96
        x, y = spot(transcript, "prompt 1")
        await drag(pilot, (x, y), (x + 6, y))
        assert app.screen.get_selected_text() == "prompt"


async def test_the_pointer_shows_facts_and_actions_and_moves_nothing() -> None:
    entries = [user(1), reply(2, tokens=7, speed=43.4), user(3)]
    async with staged(*entries, size=(100, 20)) as (transcript, pilot, app):
        before = rows(transcript)
        await pilot.hover(transcript, offset=spot(transcript, "reply 2"))
        await pilot.pause()
        shown = rows(transcript)
        assert shown[3].endswith("7 tokens · 43 tok/s")
        assert shown[5] == "  copy  edit  regen  continue  branch  delete  pin  +  -"
        assert shown[:3] + shown[6:] == before[:3] + before[6:]
        await click(transcript, pilot, "branch")
        assert [(m.key, m.action) for m in app.heard] == [(2, "branch")]
        await pilot.hover(transcript, offset=(5, 18))
        await pilot.pause()
        assert rows(transcript) == before


async def test_a_click_keeps_the_actions_of_a_message_in_view_until_the_next() -> None:
    async with staged(user(1), reply(2)) as (transcript, pilot, _):
        before = rows(transcript)
        await click(transcript, pilot, "reply 2")
        await pilot.hover(transcript, offset=(5, 18))
        await pilot.pause()
        assert "  copy  edit  regen  continue  branch  delete  pin  +  -" in rows(transcript)
        await click(transcript, pilot, "reply 2")
        await pilot.hover(transcript, offset=(5, 18))
        await pilot.pause()
        assert rows(transcript) == before


async def test_actions_stand_in_the_role_line_while_the_end_is_below_the_view() -> None:
    async with staged(reply(1, "line\n\n" * 30), user(2)) as (transcript, pilot, _):
        transcript.reveal(1)
        await pilot.pause()
        await pilot.hover(transcript, offset=(5, 5))
        await pilot.pause()
        assert rows(transcript)[0].split() == [
            *("copy", "edit", "regen", "continue", "branch", "delete", "pin", "+", "-"),
        ]


LONG = "\n\n".join(f"line {number}" for number in range(54))


async def test_a_click_and_a_key_unfold_a_long_message_and_its_place_stays() -> None:
    async with staged(user(1), reply(2, LONG), user(3), reply(4)) as (transcript, pilot, _):
        await click(transcript, pilot, "▸ 87 more lines")
        assert not transcript.following
        assert "  line 10" in rows(transcript)
        await pilot.press("end")
        assert "  ▾ fold" in rows(transcript)
        await click(transcript, pilot, "▾ fold")
        assert "  ▸ 87 more lines" in rows(transcript)
        transcript.point_at(2)
        await pilot.press("space")
        assert not transcript.column.layout(1).is_folded(TEXT)
        await pilot.press("space", "end")
        assert "│ ▸ 87 more lines" in rows(transcript)


async def test_the_last_reply_folds_only_when_it_is_out_of_view_and_answered() -> None:
    async with staged(user(1), reply(2, LONG)) as (transcript, pilot, _):
        assert "  line 53" in rows(transcript)
        transcript.append(user(3))
        transcript.begin(reply(4, " "))
        await pilot.pause()
        assert "  line 53" in rows(transcript)
        transcript.feed(4, LONG)
        transcript.update(reply(4, " " + LONG))
        await pilot.pause()
        assert "  line 53" in rows(transcript)
        above = transcript.column.top(3)
        transcript.append(user(5))
        transcript.begin(reply(6, " "))
        await pilot.pause()
        assert transcript.column.top(3) < above
        assert "  line 53" in rows(transcript)  # of the reply before, which is in view
        transcript.show([user(1), reply(2, LONG), user(3), reply(4, LONG), user(5), reply(6)])
        await pilot.pause()
        assert "  line 53" in rows(transcript)
        transcript.reveal(2)
        await pilot.pause()
        transcript.reveal(2, "40")
        await pilot.pause()
        assert "  line 40" in rows(transcript)


async def test_three_clicks_on_a_folded_message_select_all_of_it() -> None:
    async with staged(user(1), reply(2, LONG), reply(3)) as (transcript, pilot, app):
        await click(transcript, pilot, "line 9", times=3)
        assert app.screen.get_selected_text() == LONG
