"""Finding text in the messages of a chat, and the keys of the message cursor, in the whole app."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from textual import events

from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.controllers.controllers import TWICE_ESCAPE
from tchat.tui.dialogs.help import help_items, palette_items
from tchat.tui.keys import KEYS
from tchat.tui.widgets.fuzzy_list import ranked
from tchat.tui.widgets.transcript.entry import Entry
from tchat.tui.widgets.transcript.view import Transcript
from tests.growth import growth
from tests.tui.chat_stage import ENDLESS, Shown, opened
from tests.tui.stage import lines

LONG = "\n\n".join(f"line {number}" for number in range(60))


@asynccontextmanager
async def reading(
    settings: Settings, paths: Paths, *entries: Entry, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[Shown, Transcript]]:
    """The chat with these entries, and the cursor on the last message."""
    async with opened(settings, paths, size=size, ready=False) as shown:
        transcript = shown.screen.controllers.transcript
        transcript.view.show(entries)
        transcript.update_first_screen()
        await shown.pilot.pause()
        await shown.pilot.press("alt+up")
        await shown.pilot.pause()
        yield shown, transcript.view


def message(key: int, text: str, **fields: Any) -> Entry:
    return Entry(key=key, role="user" if key % 2 else "assistant", text=text, **fields)


async def find(shown: Shown, text: str) -> None:
    await shown.pilot.press("slash", *("space" if each == " " else each for each in text))
    await shown.pilot.pause(0.05)


def bar(shown: Shown) -> str:
    """The line that shows the mode."""
    names = ("MESSAGES", "FIND")
    return next((row.strip() for row in lines(shown.pilot.app) if any(n in row for n in names)), "")


def marked(view: Transcript) -> list[str]:
    """What is marked as found in view, the place gone to in brackets."""
    palette = view.column.form.palette
    found = []
    for y in range(view.size.height):
        for part in view.render_line(y):
            if part.style and part.style.bgcolor == palette.hit.bgcolor and part.style.underline:
                found.append(part.text)
            elif part.style and part.style.bgcolor == palette.pill.bgcolor and part.text.strip():
                found.append(f"[{part.text}]")
    return found


async def test_the_mode_is_shown_while_the_cursor_is_on_a_message(
    settings: Settings, paths: Paths
) -> None:
    async with reading(settings, paths, message(1, "one"), message(2, "two")) as (shown, view):
        assert bar(shown).startswith("MESSAGES")
        assert "/ find" in bar(shown)
        await shown.pilot.press("escape")
        await shown.pilot.pause()
        assert bar(shown) == ""
        assert shown.screen.prompt.has_focus_within
        assert view.cursor is None


async def test_places_are_counted_marked_and_walked(settings: Settings, paths: Paths) -> None:
    entries = [
        message(1, "a needle and a Needle"),
        message(2, "none"),
        message(3, "one more needle"),
    ]
    async with reading(settings, paths, *entries) as (shown, view):
        view.point_at(1)
        await find(shown, "needle")
        assert "1 of 3" in bar(shown)
        assert marked(view) == ["[needle]", "Needle", "needle"]
        await shown.pilot.press("enter", "n")
        await shown.pilot.pause(0.05)
        assert "/needle  2 of 3" in bar(shown)
        assert marked(view) == ["needle", "[Needle]", "needle"]
        for key, place, cursor in (("n", 3, 3), ("n", 1, 1), ("N", 3, 3)):
            await shown.pilot.press(key)
            await shown.pilot.pause(0.05)
            assert f"{place} of 3" in bar(shown)
            assert view.cursor == cursor
        await shown.pilot.press("escape")
        await shown.pilot.pause()
        assert marked(view) == []


async def test_escape_leaves_the_search_where_it_began(settings: Settings, paths: Paths) -> None:
    entries = [message(1, "needle"), *(message(n, "hay") for n in range(2, 20))]
    async with reading(settings, paths, *entries) as (shown, view):
        cursor = view.cursor
        await find(shown, "needle")
        assert view.cursor == 1
        await shown.pilot.press("escape")
        await shown.pilot.pause()
        assert view.cursor == cursor
        assert marked(view) == []
        assert bar(shown).startswith("MESSAGES")
        await find(shown, "straw")
        assert "not found" in bar(shown)


@asynccontextmanager
async def typing(
    settings: Settings, paths: Paths, *entries: Entry
) -> AsyncIterator[tuple[Shown, Transcript]]:
    """The chat with these entries, and the prompt has the focus."""
    async with reading(settings, paths, *entries) as (shown, view):
        await shown.pilot.press("escape")
        await shown.pilot.pause()
        assert view.cursor is None
        yield shown, view


def type_at_once(shown: Shown, *keys: str) -> None:
    """Press keys as fast as a terminal sends them."""
    for key in keys:
        shown.pilot.app.post_message(events.Key(key, key if len(key) == 1 else None))


@pytest.mark.parametrize("key", ["alt+i", "ctrl+x question_mark"])
async def test_a_key_finds_text_from_the_prompt(key: str, settings: Settings, paths: Paths) -> None:
    entries = [message(1, "needle"), *(message(n, f"hay {n}") for n in range(2, 20))]
    async with typing(settings, paths, *entries) as (shown, view):
        await shown.pilot.press("d", *key.split())
        await shown.until(lambda: bar(shown).startswith("FIND"))
        await shown.pilot.press(*"needle")
        await shown.until(lambda: marked(view) == ["[needle]"])
        await shown.pilot.press("enter", "n")
        await shown.until(lambda: "1 of 1" in bar(shown))
        assert view.cursor == 1
        assert shown.screen.prompt.draft.text == "d"


@pytest.mark.parametrize("typed", ["needle", ""])
async def test_escape_goes_back_to_the_prompt_that_the_search_began_in(
    typed: str, settings: Settings, paths: Paths
) -> None:
    entries = [message(1, "needle"), *(message(n, f"hay {n}") for n in range(2, 20))]
    async with typing(settings, paths, *entries) as (shown, view):
        type_at_once(shown, "alt+i", *typed)
        await shown.until(lambda: bar(shown).startswith("FIND"))
        await shown.until(lambda: bool(marked(view)) == bool(typed))
        await shown.pilot.press("escape")
        await shown.until(lambda: shown.screen.prompt.has_focus_within)
        await shown.until(lambda: bar(shown) == "")
        assert (view.cursor, view.following, marked(view)) == (None, True, [])


@pytest.mark.parametrize("begin", ["alt+i", "slash"])
async def test_what_is_typed_at_once_is_what_is_to_be_found(
    begin: str, settings: Settings, paths: Paths
) -> None:
    """And no key of it acts on a message."""
    async with opened(settings, paths) as shown:
        await shown.ask("Hello")
        if begin == "slash":
            await shown.pilot.press("alt+up")
        type_at_once(shown, begin, *"dedy")
        await shown.until(lambda: "dedy" in "".join(lines(shown.pilot.app)))
        assert bar(shown).startswith("FIND")
        assert len(shown.messages) == 2
        assert shown.screen.prompt.draft.text == ""


async def test_a_key_typed_at_once_after_enter_goes_to_the_next_place(
    settings: Settings, paths: Paths
) -> None:
    async with typing(settings, paths, message(1, "one one"), message(2, "one")) as (shown, _):
        type_at_once(shown, "alt+i", *"one", "enter", "n", "n")
        await shown.until(lambda: "/one" in bar(shown))
        await shown.until(lambda: re.search(r"/one +[123] of 3", bar(shown)) is not None)
        before = bar(shown)
        type_at_once(shown, "escape", *"dn")
        await shown.until(lambda: shown.screen.prompt.draft.text == "dn")
        assert before.startswith("MESSAGES")


async def test_without_messages_there_is_nothing_to_find(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths, ready=False) as shown:
        await shown.pilot.press("alt+i")
        await shown.until(lambda: "no message" in shown.toasts)
        assert shown.screen.prompt.has_focus_within


@pytest.mark.parametrize("word", ["find", "search"])
def test_it_is_found_by_both_words(word: str) -> None:
    for items in (help_items(KEYS, ()), palette_items(KEYS, ())):
        assert "chat.find" in {item.key for item in ranked(items, word)[:6]}


@pytest.mark.parametrize(
    ("text", "query", "seen"),
    [
        ("It is **very *bold*** indeed", "very bold indeed", "very bold indeed"),
        ("```python\n" + "x = 1  # " + "word " * 30 + "needle\n```", "word needle", "needle"),
        ("| a | b |\n|---|---|\n| one | needle |", "needle", "needle"),
        ("word " * 15 + "two words " + "word " * 9, "two  words word", "two"),
        ("> quoted needle", "NEEDLE", "needle"),
        ("日本語の文章", "文章", "文章"),
        ("see [a site](https://x.org/needle)", "x.org/needle", "x.org/needle"),
    ],
)
async def test_text_is_found_as_it_is_read(
    text: str, query: str, seen: str, settings: Settings, paths: Paths
) -> None:
    async with reading(settings, paths, message(2, text)) as (shown, view):
        await find(shown, query)
        assert "1 of 1" in bar(shown)
        shown_words = " ".join(each.strip("[]") for each in marked(view))
        assert seen in " ".join(shown_words.split())


async def test_what_is_folded_is_found_and_unfolded(settings: Settings, paths: Paths) -> None:
    entries = [
        message(1, LONG + "\n\nneedle"),
        message(2, "So.", reasoning="deep thought\n" * 50 + "pin"),
        message(3, "again"),
        message(4, "last"),
    ]
    async with reading(settings, paths, *entries, size=(60, 16)) as (shown, view):
        await shown.pilot.press("g")
        assert view.cursor == 1
        await find(shown, "needle")
        assert marked(view) == ["[needle]"]
        await shown.pilot.press("escape")
        await find(shown, "pin")
        assert marked(view) == ["[pin]"]
        await shown.pilot.press("escape", "G")
        assert view.cursor == 4


async def test_ten_thousand_messages_are_searched_without_a_freeze(
    settings: Settings, paths: Paths
) -> None:
    entries = [message(n, f"{n}: " + "hay and straw " * 40) for n in range(10_000)]
    entries[123] = message(123, "the needle")
    async with reading(settings, paths, *entries) as (shown, view):
        controller = shown.screen.controllers.find
        await shown.pilot.press("slash")
        controller.search("needle")
        await shown.until(lambda: "1 of 1" in bar(shown))
        assert view.cursor == 123
        assert marked(view) == ["[needle]"]
        controller.search("straw")
        await shown.until(lambda: "of 399,960" in bar(shown))

        def laid_out(size: int) -> int:
            view.show(entries[:size])
            return sum(slot.layout is not None for slot in view.column._slots)

        assert laid_out(10_000) < 30
        assert growth(lambda size: list(view.column.entries())[:size], 10_000) < 20


async def test_a_text_that_came_after_the_search_is_found_at_the_next_step(
    settings: Settings, paths: Paths
) -> None:
    async with reading(settings, paths, message(1, "needle"), message(2, "x")) as (shown, view):
        await find(shown, "needle")
        await shown.pilot.press("enter")
        view.append(message(3, "a needle"))
        await shown.pilot.press("n")
        await shown.pilot.pause(0.05)
        assert "2 of 2" in bar(shown)
        view.drop(1)
        await shown.pilot.press("n")
        await shown.pilot.pause(0.05)
        assert "1 of 1" in bar(shown)


async def test_escape_twice_on_the_idle_prompt_edits_the_last_question(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        prompt = shown.screen.prompt
        await shown.ask("first")
        await shown.ask("second")
        await shown.pilot.press("escape")
        await shown.pilot.pause(TWICE_ESCAPE + 0.1)
        await shown.pilot.press("escape")
        await shown.pilot.pause()
        assert prompt.draft.text == ""
        await shown.pilot.press("escape")
        await shown.until(lambda: prompt.draft.text == "second")
        await shown.pilot.press("escape")  # leaves the edit
        assert prompt.draft.text == ""
        prompt.load("a draft")
        await shown.pilot.press("escape", "escape")
        await shown.pilot.pause()
        assert prompt.draft.text == "a draft"


async def test_escape_that_stops_a_reply_is_not_the_first_of_two(
    settings: Settings, paths: Paths, slowly: None
) -> None:
    async with opened(replace(settings, sampling=ENDLESS), paths) as shown:
        await shown.type("question")
        await shown.until(lambda: shown.last.role == "assistant" and bool(shown.last.text))
        await shown.pilot.press("escape")
        await shown.idle()
        await shown.pilot.press("escape")
        await shown.pilot.pause()
        assert shown.last.status == "stopped"
        assert shown.screen.prompt.draft.text == ""
        assert shown.screen.controllers.prompt_mode.mode is None


@pytest.mark.parametrize("width", [60, 80, 100, 120])
@pytest.mark.parametrize("word", ["common", "a text to be found that is long, and longer still"])
async def test_the_key_that_leaves_is_never_cut_while_finding(
    settings: Settings, paths: Paths, width: int, word: str
) -> None:
    entries = [message(number, f"{word} {number}") for number in range(1, 40)]
    async with reading(settings, paths, *entries, size=(width, 24)) as (shown, _):
        await find(shown, word)
        await shown.pilot.press("enter")
        await shown.pilot.pause(0.05)
        for _ in range(3):
            assert bar(shown).endswith("Esc leave")
            assert " of 39" in bar(shown)
            await shown.pilot.press("n")
            await shown.pilot.pause(0.05)
        await shown.pilot.press("slash", "escape")
        await shown.pilot.pause(0.05)
        assert bar(shown).endswith("Esc leave")
