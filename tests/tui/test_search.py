"""Searching in all messages, from the list of sessions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.tui.dialogs.sessions import SessionChoice, SessionsScreen, hit_items, safe_snippet
from tests.tui.session_service import DAY, NOW, FakeSessionService, hit, session

from .stage import HOSTILE, SIZES, UNSAFE, is_tame, lines, shown, shows, text, until

SKY, BREAD = session(1, f"Sky {HOSTILE}", DAY), session(2, "Bread")
HITS = [
    hit(SKY, 11, "…the sky\x1b[2J is blue…", "sky"),
    hit(BREAD, 12, "no sky in an oven", "sky", "oven"),
    hit(SKY, 13, "a \u202e night sky", "sky"),
]


def search(services: FakeSessionService, query: str = "") -> SessionsScreen:
    return SessionsScreen([SKY, BREAD], services, full_text=True, query=query, now=NOW)


@given(st.text(max_size=40), st.lists(st.integers(0, 40), max_size=6, unique=True))
def test_a_snippet_is_safe_and_its_places_are_those_of_the_words(raw: str, cuts: list[int]) -> None:
    ends = sorted(cut for cut in cuts if cut <= len(raw))
    spans = list(zip(ends[::2], ends[1::2], strict=False))
    snippet = safe_snippet(raw, spans)
    assert not UNSAFE & set(snippet.text)
    found = "".join(snippet.text[place] for place in snippet.places)
    assert found == "".join(safe_snippet(raw[start:end], ()).text for start, end in spans)


def test_hits_of_one_session_stand_together() -> None:
    items = list(hit_items(HITS, NOW))
    assert [item.key for item in items] == ["0", "2", "1"]
    assert items[0].group == items[1].group != items[2].group
    assert items[2].group == "Bread · Today"
    assert "".join(items[2].title[place] for place in items[2].places) == "skyoven"


@pytest.mark.parametrize("size", SIZES)
async def test_a_hit_is_found_and_opened_at_its_message(size: tuple[int, int]) -> None:
    services = FakeSessionService(HITS)
    async with shown(search(services), size) as (app, pilot):
        await shows(app, "Type words to search for.")
        await pilot.press(*"sky")
        await until(pilot, lambda: "in an oven" in text(app))
        assert is_tame(app)
        assert any("Bread · Today ──" in line for line in lines(app))
        await pilot.press("down", "down", "enter")
        await pilot.pause()
        assert app.ended_with == SessionChoice(BREAD.id, 12, "sky")


async def test_typing_fast_searches_once() -> None:
    services = FakeSessionService(HITS)
    async with shown(search(services)) as (app, pilot):
        await pilot.press(*"sky")
        await until(pilot, lambda: "in an oven" in text(app))
        assert [query for what, query in services.asked if what == "search"] == ["sky"]


async def test_a_search_may_begin_with_words() -> None:
    async with shown(search(FakeSessionService(HITS), "oven")) as (app, pilot):
        await until(pilot, lambda: "in an oven" in text(app))


async def test_nothing_found_is_said() -> None:
    async with shown(search(FakeSessionService(HITS), "[/zzz]")) as (app, pilot):
        await until(pilot, lambda: "No message contains “[/zzz]”." in text(app))


async def test_tab_changes_between_titles_and_texts_and_keeps_the_words() -> None:
    services = FakeSessionService(HITS)
    opened = SessionsScreen([SKY, BREAD], services, now=NOW)
    async with shown(opened) as (app, pilot):
        await pilot.press(*"sky")
        await pilot.pause()
        assert [item.key for item in opened.list.shown] == [SKY.id]
        await pilot.press("tab")
        await until(pilot, lambda: "in an oven" in text(app))
        await shows(app, "Search all messages")
        await pilot.press("ctrl+d", "f2", "ctrl+s", "tab")
        await pilot.pause()
        assert {what for what, *_ in services.asked} == {"search"}
        assert [item.key for item in opened.list.shown] == [SKY.id]
        await pilot.press("enter")
        await pilot.pause()
        assert app.ended_with == SessionChoice(SKY.id)


async def test_a_search_that_fails_is_told() -> None:
    services = FakeSessionService(HITS)
    services.broken = True
    async with shown(search(services, "sky")) as (app, pilot):
        await until(pilot, lambda: "the disk is full [/b]␛" in text(app))
        services.broken = False
        await pilot.press("backspace", "y")
        await until(pilot, lambda: "in an oven" in text(app))
