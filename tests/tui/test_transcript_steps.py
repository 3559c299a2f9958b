"""Calls of tools in the transcript: one line each, grouped with their turn, and unfolded."""

from __future__ import annotations

from typing import Any

import pytest

from tchat.tui.widgets.transcript.entry import Entry, Step
from tests.tui.test_transcript import click, drag, reply, rows, spot, staged, user


def step(key: int | str, text: str = "content", **fields: Any) -> Entry:
    values = {"name": "read_file", "arguments": {"path": "README.md"}, "seconds": 0.003, **fields}
    return Entry(key=key, role="tool", text=text, step=Step(**values))


def silent(key: int) -> Entry:
    """A reply that only calls tools."""
    return Entry(key=key, role="assistant")


TURN = (user(1), silent(2), step(3, "x" * 2100), step(4, "no", state="failed"), reply(5, "End"))
LINES = [
    *("▌ You", "▌ prompt 1", "", "  Assistant"),
    "  ▸ read_file README.md · 2.1 kB · 3 ms",
    "  ▸ ✗ read_file · failed · no · README.md",
    *("", "  End", ""),
]


async def test_steps_stand_close_together_between_question_and_answer() -> None:
    async with staged(*TURN, user(6)) as (transcript, _, _):
        assert rows(transcript)[:11] == [*LINES, "", "▌ You"]


async def test_the_same_entries_one_by_one_look_the_same() -> None:
    async with staged(*TURN, user(6)) as (transcript, pilot, _):
        together = rows(transcript)
        transcript.show([])
        for entry in (*TURN, user(6)):
            if entry.role == "assistant":
                transcript.begin(entry)
                await pilot.pause()
            else:
                transcript.append(entry)
            transcript.update(entry)
        await pilot.pause()
        assert rows(transcript) == together
        for key in (3, 4):
            transcript.drop(key)
        await pilot.pause()
        assert rows(transcript)[3:8] == ["  Assistant", "", "  Assistant", "  End", ""]


async def test_replies_without_a_text_between_steps_take_no_line() -> None:
    entries = (user(1), reply(2, "First:"), step(3), silent(4), step(5), silent(6), step(7))
    async with staged(*entries, reply(8, "End")) as (transcript, pilot, _):
        call = "  ▸ read_file README.md · 7 B · 3 ms"
        assert rows(transcript)[3:11] == [
            *("  Assistant", "  First:", "", call, call, call, "", "  End")
        ]
        transcript.focus()
        seen = []
        for _ in range(5):
            transcript.move_cursor(-1)
            seen.append(transcript.cursor)
        assert seen == [8, 7, 5, 3, 2]
        await pilot.press("G")
        assert transcript.cursor == 8


async def test_a_reply_with_siblings_behind_a_step_keeps_its_marks() -> None:
    async with staged(user(1), silent(2), step(3), reply(4, sibling=(1, 2))) as (shown, _, _):
        assert rows(shown)[4:8] == [
            *("  ▸ read_file README.md · 7 B · 3 ms", "", "  Assistant  ‹ 1/2 ›", "  reply 4")
        ]


async def test_a_step_unfolds_to_its_arguments_and_all_of_its_result() -> None:
    arguments = {"command": ["git", "log", "-1"], "folder": "src\nx"}
    entry = step(3, "one\n\n  two", name="run_command", arguments=arguments)
    async with staged(user(1), silent(2), entry, reply(4)) as (transcript, pilot, _):
        await click(transcript, pilot, "run_command")
        opened = [
            "  ▾ run_command git log -1 folder=src x · 10 B · 3 ms",
            *("  ┆ command  git log -1", "  ┆ folder   src", "  ┆          x", "  ┆"),
            *("  ┆ one", "  ┆", "  ┆   two", "", "  reply 4"),
        ]
        assert rows(transcript)[4:14] == opened
        transcript.focus()
        transcript.point_at(3)
        await pilot.press("space")
        assert rows(transcript)[4].startswith("❯ ▸ run_command")
        await pilot.press("space")
        assert rows(transcript)[5].startswith("│ ┆ command")


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("writing", "● read_file"),
        ("asking", "? read_file README.md · asks"),
        ("running", "● read_file README.md · 4.0 s"),
        ("refused", "▸ ⊘ read_file README.md · refused"),
        ("stopped", "▸ ■ read_file README.md · stopped"),
        ("failed", "▸ ✗ read_file · failed · not there · README.md"),
    ],
)
async def test_each_state_is_told_without_colour(state: str, told: str) -> None:
    entry = step("s", "not there" if state == "failed" else "", state=state, seconds=4.0)
    if state == "writing":
        entry = step("s", "", state=state, arguments={}, seconds=0.0)
    async with staged(user(1), silent(2), entry) as (transcript, _, _):
        assert rows(transcript)[4] == f"  {told}"


async def test_nothing_is_hidden_in_arguments_and_results() -> None:
    entry = step(3, "a\u200bb\x1b[2J\u202ec\n\U000e0041", arguments={"path": "x\u2066y"})
    async with staged(user(1), silent(2), entry) as (transcript, pilot, _):
        await click(transcript, pilot, "read_file")
        shown = rows(transcript)
        assert shown[4].startswith("  ▾ read_file x⟦U+2066⟧y · ")
        assert shown[5:9] == [
            *("  ┆ path  x⟦U+2066⟧y", "  ┆", "  ┆ a⟦U+200B⟧b␛[2J⟦U+202E⟧c", "  ┆ ⟦U+E0041⟧")
        ]


async def test_a_narrow_terminal_cuts_the_line_and_wraps_the_result() -> None:
    entry = step(3, "word " * 20, arguments={"path": "a/long/path/" * 9})
    async with staged(user(1), silent(2), entry, size=(40, 16)) as (transcript, pilot, _):
        assert rows(transcript)[4].endswith("…")
        await click(transcript, pilot, "read_file")
        assert all(len(row) <= 39 for row in rows(transcript))


async def test_steps_are_copied_as_lines_and_their_actions_by_keys() -> None:
    async with staged(*TURN) as (transcript, pilot, app):
        await drag(pilot, spot(transcript, "prompt 1"), (5, 7))
        assert app.screen.get_selected_text() == (
            "prompt 1\n\nread_file README.md\n\nread_file README.md\n\nEnd"
        )
        app.screen.clear_selection()
        transcript.focus()
        transcript.point_at(4)
        await pilot.pause()
        assert rows(transcript)[6] == "│ copy  delete"
        await pilot.press("y")
        assert [(each.key, each.action) for each in app.heard] == [(4, "copy")]
        transcript.point_at(3)
        await pilot.pause()
        assert rows(transcript)[4] == "❯ ▸ read_file README.md · 2.1 kB · 3 ms  copy  delete"
