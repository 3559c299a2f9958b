"""The transcript in an app: following, keeping the place, the cursor, the mouse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from tchat.tui.themes import variable_defaults
from tchat.tui.widgets.transcript.caret import CARET
from tchat.tui.widgets.transcript.entry import GUTTER, Entry, Role
from tchat.tui.widgets.transcript.view import Transcript
from tests.growth import growth

WIDTH, HEIGHT = 60, 20


class Stage(App[None]):
    """The transcript alone; it keeps the messages that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults(self.current_theme)

    def compose(self) -> ComposeResult:
        yield Transcript()

    def on_transcript_action_requested(self, message: Transcript.ActionRequested) -> None:
        self.heard.append(message)

    def on_transcript_code_copy_requested(self, message: Transcript.CodeCopyRequested) -> None:
        self.heard.append(message)

    def on_transcript_link_clicked(self, message: Transcript.LinkClicked) -> None:
        self.heard.append(message)


@asynccontextmanager
async def staged(
    *entries: Entry, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> AsyncIterator[tuple[Transcript, Pilot[None], Stage]]:
    app = Stage()
    async with app.run_test(size=size) as pilot:
        transcript = app.query_one(Transcript)
        transcript.show(entries)
        transcript.focus()
        await pilot.pause()
        yield transcript, pilot, app


def user(key: int, text: str = "") -> Entry:
    return Entry(key=key, role="user", text=text or f"prompt {key}")


def reply(key: int, text: str = "", **fields: Any) -> Entry:
    return replace(Entry(key=key, role="assistant", text=text or f"reply {key}"), **fields)


def talk(count: int, lines: int = 3) -> list[Entry]:
    text = "\n".join(f"line {n} of a reply that is long enough to be wrapped" for n in range(lines))
    return [user(n) if n % 2 == 0 else reply(n, f"{n}: {text}") for n in range(count)]


def rows(transcript: Transcript) -> list[str]:
    return [transcript.render_line(y).text.rstrip() for y in range(transcript.size.height)]


def spot(transcript: Transcript, text: str) -> tuple[int, int]:
    """Where ``text`` is seen."""
    for y, row in enumerate(rows(transcript)):
        if (x := row.find(text)) >= 0:
            return x, y
    raise AssertionError(f"{text!r} is not in {rows(transcript)}")


async def click(transcript: Transcript, pilot: Pilot[None], text: str, times: int = 1) -> None:
    assert await pilot.click(transcript, offset=spot(transcript, text), times=times)
    await pilot.pause()


async def read_all(transcript: Transcript, pilot: Pilot[None]) -> None:
    """Scroll from the end to the begin, page by page."""
    await pilot.press("end")
    while transcript.scroll_offset.y:
        await pilot.press("pageup")


async def test_a_long_session_is_shown_again_and_read() -> None:
    """As after a deletion, a branch switch, or another session: 200 layouts stay in memory."""
    path = talk(300, lines=1)
    async with staged(*path) as (transcript, pilot, _):
        await read_all(transcript, pilot)
        transcript.append(Entry(key="notice-1", role="notice", text="said"))
        transcript.show([*path[:150], user(1000), reply(1001)])
        await read_all(transcript, pilot)
        assert rows(transcript)[1] == "▌ prompt 0"
        transcript.show([replace(each, key=2000 + int(each.key)) for each in path])
        transcript.drop(2299)
        transcript.show_details(True)
        await pilot.resize_terminal(40, HEIGHT)
        await read_all(transcript, pilot)
        assert rows(transcript)[1] == "▌ prompt 0"


async def test_taking_an_entry_out_moves_nothing_that_was_measured() -> None:
    """Also where more entries were read than layouts are kept: their heights stay exact."""
    path = talk(300, lines=2)
    async with staged(*path) as (transcript, pilot, _):
        await read_all(transcript, pilot)
        transcript.drop(299)
        transcript.reveal(260)
        await pilot.pause()
        assert rows(transcript)[1] == "▌ prompt 260"
        transcript.reveal(20)
        await pilot.pause()
        assert rows(transcript)[1] == "▌ prompt 20"
        assert transcript.column.height == sum(
            transcript.column.layout(place).height for place in range(299)
        )


# Following the end.


async def test_a_session_opens_at_its_end() -> None:
    async with staged(*talk(40)) as (transcript, _, _app):
        assert rows(transcript)[-2].endswith("wrapped")
        assert transcript.scroll_offset.y == transcript.max_scroll_y
        assert transcript.following


async def test_what_is_read_later_goes_in_front_and_moves_nothing() -> None:
    path = talk(300)
    async with staged(*path[250:]) as (transcript, pilot, _):
        at_end = rows(transcript)
        transcript.prepend(path[200:250])
        await pilot.pause()
        assert rows(transcript) == at_end
        assert transcript.following
        for _ in range(3):
            await pilot.press("pageup")
        above = rows(transcript)
        transcript.prepend(path[:200])
        await pilot.pause()
        assert rows(transcript) == above
        await pilot.press("home")
        assert rows(transcript)[1] == "▌ prompt 0"
        assert [transcript.entry(each.key) for each in path] == path
        transcript.reveal(150)
        await pilot.pause()
        assert rows(transcript)[1] == "▌ prompt 150"


async def test_the_end_stays_in_view_while_a_reply_streams_in() -> None:
    async with staged(*talk(10)) as (transcript, pilot, _):
        transcript.begin(reply(99, " "))
        for number in range(30):
            transcript.feed(99, f"- item {number}\n")
        await pilot.pause()
        assert rows(transcript)[-2].rstrip(CARET) == "  • item 29"


async def test_moving_up_ends_following_and_a_pill_counts_what_came() -> None:
    async with staged(*talk(20)) as (transcript, pilot, _):
        transcript.begin(reply(99, "x\n\n"))
        await pilot.press("up")
        above = rows(transcript)[:-1]
        transcript.feed(99, "- a\n- b\n- c\n")
        assert not transcript.following
        assert rows(transcript)[:-1] == above
        assert f"↓ {transcript.unseen} new lines" in rows(transcript)[-1]
        assert transcript.unseen >= 3
        await click(transcript, pilot, "↓")
        assert transcript.following
        assert rows(transcript)[-2].rstrip(CARET) == "  • c"


@pytest.mark.parametrize("key", ["end", "pagedown"])
async def test_reaching_the_end_follows_again(key: str) -> None:
    async with staged(*talk(20)) as (transcript, pilot, _):
        await pilot.press("up", "up", "up", "up")
        assert not transcript.following
        await pilot.press(key)
        assert transcript.following
        transcript.append(user(99, "new"))
        await pilot.pause()
        assert rows(transcript)[-2] == "▌ new"


async def test_the_wheel_scrolls_and_leaves_the_end() -> None:
    async with staged(*talk(20)) as (transcript, pilot, _):
        transcript.post_message(
            events.MouseScrollUp(transcript, 5, 5, 0, 0, 0, False, False, False)
        )
        await pilot.pause()
        assert not transcript.following
        assert transcript.scroll_offset.y < transcript.max_scroll_y


async def test_paging_up_passes_every_message_in_order() -> None:
    entries = [reply(n, f"n{n} " + "word " * (7 * n % 90)) for n in range(60)]
    async with staged(*entries) as (transcript, pilot, _):
        seen: list[int] = []
        while True:
            begins = [row.split()[0] for row in rows(transcript) if row.startswith("  n")]
            numbers = [int(begin[1:]) for begin in begins]
            assert numbers == sorted(numbers)
            seen = [number for number in numbers if number not in seen] + seen
            if transcript.scroll_offset.y == 0:
                break
            await pilot.press("pageup")
        assert seen == list(range(60))


async def test_a_step_up_moves_one_line_whatever_stands_above() -> None:
    entries = [reply(n, f"n{n} " + "word " * (31 * n % 190)) for n in range(40)]
    async with staged(*entries) as (transcript, pilot, _):
        for _step in range(120):
            before = rows(transcript)[:-1]
            await pilot.press("up")
            assert rows(transcript)[1:] == before


async def test_home_is_the_first_line() -> None:
    async with staged(*talk(60, lines=9)) as (transcript, pilot, _):
        await pilot.press("home")
        assert rows(transcript)[1] == "▌ prompt 0"


# Keeping the place.


async def test_what_is_read_stays_when_the_width_changes() -> None:
    async with staged(*talk(80), size=(100, 20)) as (transcript, pilot, _):
        transcript.reveal(40)
        await pilot.pause()
        assert rows(transcript)[1] == "▌ prompt 40"
        for width in (30, 140, 47):
            await pilot.resize_terminal(width, 20)
            await pilot.pause(0.25)
            assert rows(transcript)[1].strip() == "▌ prompt 40"
            assert all(transcript.render_line(y).cell_length == width for y in range(20))


async def test_the_end_stays_in_view_through_a_storm_of_sizes() -> None:
    entries = [*talk(30), reply(99, "word " * 20_000 + "\n\nlast")]
    async with staged(*entries) as (transcript, pilot, _):
        for width in (40, 90, 25, 120, 60, 33):
            await pilot.resize_terminal(width, 15)
        await pilot.pause(0.3)
        assert rows(transcript)[-2] == "  last"
        assert transcript.following


async def test_long_replies_are_in_the_middle_after_a_resize() -> None:
    long = "\n\n".join(f"line {n}" for n in range(400))
    async with staged(user(0), reply(1, long), size=(140, 40)) as (transcript, pilot, _):
        for width in (180, 140):
            await pilot.resize_terminal(width, 40)
            rows(transcript)  # drawn before the end of the resize
            await pilot.pause(0.3)
            assert {row.index("line") for row in rows(transcript) if row} == {
                transcript.column.form.left + GUTTER
            }


async def test_the_scrollbar_takes_no_width_when_it_comes() -> None:
    async with staged(user(1, "x" * 70)) as (transcript, pilot, _):
        before = rows(transcript)[:2]
        transcript.show([user(99, "x" * 70), *talk(20)])
        transcript.reveal(99)
        await pilot.pause()
        assert rows(transcript)[:2] == before


async def test_a_theme_changes_the_colours_not_the_lines() -> None:
    async with staged(*talk(10)) as (transcript, pilot, app):
        before = [transcript.render_line(y) for y in range(HEIGHT)]
        app.theme = "textual-light"
        await pilot.pause()
        after = [transcript.render_line(y) for y in range(HEIGHT)]
        assert [strip.text for strip in after] == [strip.text for strip in before]
        assert after != before


# Entries.


async def test_a_reply_that_was_fed_is_finished_and_its_text_known() -> None:
    async with staged(user(1)) as (transcript, pilot, _):
        transcript.begin(reply(2, " "))
        transcript.feed(2, "*half", reasoning="hm")
        assert transcript.entry(2).text == " *half"
        transcript.update(reply(2, " *half", reasoning="hm", status="stopped"))
        await pilot.pause()
        assert "  ■ stopped" in rows(transcript)


async def test_an_entry_is_replaced_and_dropped() -> None:
    async with staged(user(1), reply(2), user(3)) as (transcript, pilot, _):
        transcript.update(reply(2, "other", sibling=(2, 2)))
        transcript.drop(1)
        await pilot.pause()
        assert [row for row in rows(transcript) if row] == [
            *("  Assistant  ‹ 2/2 ›", "  other"),
            *("▌ You", "▌ prompt 3"),
        ]
        with pytest.raises(KeyError):
            transcript.feed(1, "x")


async def test_a_hit_is_shown_and_marked() -> None:
    entries = talk(200)
    entries[77] = reply(77, "word\n\n" * 40 + "the *needle* is here")
    async with staged(*entries) as (transcript, pilot, _):
        transcript.reveal(77, "Needle hay")
        await pilot.pause()
        _, y = spot(transcript, "needle")
        assert 0 < y < HEIGHT
        marked = [
            part.text for part in transcript.render_line(y) if part.style and part.style.underline
        ]
        assert marked == ["needle"]


async def test_a_hit_in_folded_reasoning_is_unfolded() -> None:
    async with staged(*talk(20), reply(99, "x", reasoning="one\n" * 300 + "needle")) as scene:
        transcript, pilot, _ = scene
        transcript.reveal(99, "needle")
        await pilot.pause()
        assert spot(transcript, "┆ needle")


async def test_details_come_on_demand() -> None:
    async with staged(reply(1, "x", tokens=7, label="SmolLM2")) as (transcript, pilot, _):
        assert rows(transcript)[0] == "  SmolLM2"
        transcript.show_details(True)
        await pilot.pause()
        assert rows(transcript)[0].split("  ")[1:] == ["SmolLM2", *[""] * 19, " 7 tokens"]


# The message cursor.


async def test_the_cursor_walks_the_messages_and_asks() -> None:
    async with staged(user(1), reply(2), user(3)) as (transcript, pilot, app):
        transcript.move_cursor(-1)
        await pilot.press("up")
        assert transcript.cursor == 2
        assert rows(transcript)[rows(transcript).index("❯ Assistant") + 1] == "│ reply 2"
        assert "│ copy  edit  regen  continue  branch  delete  pin  +  -" in rows(transcript)
        await pilot.press("c", "r")
        await click(transcript, pilot, "branch")
        assert [(m.key, m.action) for m in app.heard] == [
            (2, "copy"),
            (2, "regenerate"),
            (2, "branch"),
        ]
        transcript.update(reply(2, pinned=True))
        await click(transcript, pilot, "unpin")
        assert (app.heard[-1].key, app.heard[-1].action) == (2, "pin")
        await pilot.press("escape", "c")
        assert transcript.cursor is None
        assert len(app.heard) == 4


async def test_the_cursor_brings_its_message_into_view() -> None:
    async with staged(*talk(40)) as (transcript, _pilot, _):
        for _step in range(12):
            transcript.move_cursor(-1)
        key = transcript.cursor
        assert key is not None
        assert any(row.startswith("❯") for row in rows(transcript))
        transcript.drop(key)
        assert transcript.cursor is None


# The mouse.


async def test_a_click_on_the_header_of_code_asks_to_copy_it() -> None:
    text = "```python\nx = 1\n\tpass\n```"
    async with staged(reply(1, text)) as (transcript, pilot, app):
        await click(transcript, pilot, "copy")
        assert [m.text for m in app.heard] == ["x = 1\n\tpass"]


async def test_only_links_to_the_web_and_to_mail_are_told() -> None:
    text = "[one](https://one.org/) [two](file:///etc/passwd) mailto:a@b.c"
    async with staged(reply(1, text)) as (transcript, pilot, app):
        for part in ("one", "two", "file:", "mailto:"):
            await click(transcript, pilot, part)
        assert [m.url for m in app.heard] == ["https://one.org/", "mailto:a@b.c"]


async def test_a_click_unfolds_reasoning() -> None:
    async with staged(reply(1, "x", reasoning="one\ntwo")) as (transcript, pilot, _):
        await click(transcript, pilot, "▸ reasoning")
        assert "  ┆ two" in rows(transcript)
        await click(transcript, pilot, "▾ reasoning")
        assert "  ┆ two" not in rows(transcript)


async def test_marks_below_a_message_are_clicked() -> None:
    entries = [
        reply(1, "x", sibling=(1, 2), status="interrupted"),
        Entry(key=2, role="error", text="gone"),
    ]
    async with staged(*entries) as (transcript, pilot, app):
        for part in ("/continue", "›", "retry"):
            await click(transcript, pilot, part)
        assert [(m.key, m.action) for m in app.heard] == [
            (1, "continue"),
            (1, "next"),
            (2, "retry"),
        ]


async def drag(pilot: Pilot[None], start: tuple[int, int], end: tuple[int, int]) -> None:
    await pilot.mouse_down(offset=start)
    await pilot.hover(offset=end)
    await pilot.mouse_up(offset=end)
    await pilot.pause()


async def test_selected_text_has_no_bars_and_joins_what_was_folded() -> None:
    code = "abcdefgh " * 8 + "end"
    async with staged(user(1, "one\ntwo"), reply(2, f"```\n{code}\n```\n\n- item")) as scene:
        transcript, pilot, app = scene
        x, y = spot(transcript, "item")
        await drag(pilot, (0, 2), (x + 4, y))
        assert app.screen.get_selected_text() == f"two\n\n\n{code}\n\nitem"


async def test_a_part_of_a_line_with_wide_characters_is_selected() -> None:
    async with staged(user(1, "日本語 abc")) as (_, pilot, app):
        await drag(pilot, (4, 1), (9, 1))
        assert app.screen.get_selected_text() == "本語 a"


async def test_three_clicks_select_a_message_and_two_not_all() -> None:
    async with staged(user(1, "one\ntwo"), reply(2)) as (transcript, pilot, app):
        await click(transcript, pilot, "two", times=2)
        assert app.screen.get_selected_text() is None
        await click(transcript, pilot, "two", times=3)
        assert app.screen.get_selected_text() == "one\ntwo"


async def test_messages_between_the_ends_of_a_selection_are_copied_as_written() -> None:
    async with staged(user(1), reply(2, "**b**"), user(3)) as (transcript, pilot, app):
        transcript.text_select_all()
        await pilot.pause()
        assert app.screen.get_selected_text() == "prompt 1\n\n**b**\n\nprompt 3"


# Size.


async def test_ten_thousand_messages_open_at_once_and_can_be_walked() -> None:
    entries = talk(10_000)
    async with staged() as (transcript, pilot, _):
        assert growth(lambda size: transcript.show(entries[:size]), len(entries)) < 3
        transcript.show(entries)
        await pilot.pause()
        assert rows(transcript)[-2].endswith("wrapped")
        for key in (5000, 0, 9998, 2500):
            transcript.reveal(key)
            await pilot.pause()
            top = 1 if key < 9990 else spot(transcript, "9998")[1]
            assert rows(transcript)[top].endswith(f"prompt {key}")


@pytest.mark.parametrize("width", [20, 61, 200])
async def test_hostile_text_changes_nothing_but_its_own_place(width: int) -> None:
    text = (
        "\x1b]52;c;eA==\x07 \u202eabc \x9b31m 日本語👩\u200d👩\u200d👧 e\u0301 שלום [/foo] [bold]"
    )
    roles: tuple[Role, ...] = ("user", "assistant", "system", "notice", "error")
    entries = [Entry(key=r, role=r, text=text, reasoning=text, label=text) for r in roles]
    async with staged(*entries, size=(width, 30)) as (transcript, pilot, _):
        transcript.show_details(True)
        await pilot.pause()
        for y in range(30):
            strip = transcript.render_line(y)
            assert strip.cell_length == width == sum(part.cell_length for part in strip)
            assert not set(strip.text) & set("\x1b\x07\x9b\u202e")
        assert any("[/foo]" in row for row in rows(transcript))


async def test_a_key_copies_the_code_blocks_of_a_message_one_after_the_other() -> None:
    code = "```py\na = 1\n```\ntext\n\n~~~\n\x1b[31m\n  b\n~~~\n"
    entries = [user(1, "```\nasked\n```"), reply(2, code), reply(3, "none")]
    async with staged(*entries) as (transcript, pilot, app):
        for key, presses in ((2, 3), (1, 1), (2, 1), (3, 1)):
            transcript.point_at(key)
            await pilot.press(*"C" * presses)
        await pilot.pause()
        copied = [each.text for each in app.heard]
        assert copied == ["a = 1", "␛[31m\n  b", "a = 1", "asked", "a = 1"]
        assert "There is no code block" in next(iter(app._notifications)).message


async def test_formulas_are_drawn_readably_and_copied_as_they_were_written() -> None:
    source = r"So \( x^2 \) and $p_{a}*q$, and $\unknown{*a*}$ too."
    async with staged(reply(1, source)) as (transcript, pilot, app):
        assert "So x² and pₐ*q, and $\\unknown{*a*}$ too." in rows(transcript)[1]
        transcript.text_select_all()
        await pilot.pause()
        assert app.screen.get_selected_text() == source


async def test_a_formula_broken_over_rows_is_copied_once() -> None:
    formula = "$" + " + ".join(f"a_{n % 10}" for n in range(60)) + "$"
    source = f"Long {formula} and {formula} end"
    async with staged(reply(1, source)) as (transcript, pilot, app):
        transcript.text_select_all()
        await pilot.pause()
        copied = app.screen.get_selected_text()
        assert copied is not None
        assert copied.split() == source.split()
