"""The list of sessions, in its dialog and at the side."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.events import Resize
from textual.widgets import Input

from tchat.paths import Paths
from tchat.sessions.records import Role, Session
from tchat.settings import Settings
from tchat.tui.dialogs.export import ExportDialog
from tchat.tui.dialogs.sessions import SessionChoice, SessionsScreen
from tchat.tui.dialogs.text_question import TextQuestion
from tchat.tui.widgets.sidebar import Sidebar, day_text, local_time, session_items
from tests.sessions.importers.imports import document
from tests.sessions.importers.test_chatgpt import FORKED
from tests.sessions.stores import new_session
from tests.tui.chat_stage import opened
from tests.tui.session_service import DAY, NOW, FakeSessionService, session

from .stage import HOSTILE, NARROW, SIZES, WIDE, Stage, is_tame, lines, shown, shows, text, until

SESSIONS = [
    session(1, "Why is the sky blue?", 60),
    session(2, HOSTILE, 90),
    session(3, "Sourdough timing", DAY, 1),
    session(4, "", 3 * DAY),
    session(5, "Packing list", 40 * DAY, 1234),
]


def screen(
    services: FakeSessionService | None = None,
    current: str = "",
    sessions: list[Session] | None = None,
) -> SessionsScreen:
    return SessionsScreen(
        SESSIONS if sessions is None else sessions,
        services or FakeSessionService(),
        current=current,
        now=NOW,
    )


def titles(opened: SessionsScreen) -> list[str]:
    return [item.title for item in opened.list.shown]


# Days


@pytest.mark.parametrize(
    ("age", "day"),
    [
        (0, "Today"),
        (1, "Yesterday"),
        (2, "Tuesday"),
        (6, "Friday"),
        (7, "2026-03-05"),
        (-3, "Today"),
    ],
)
def test_days_are_called_as_people_call_them(age: int, day: str) -> None:
    today = local_time(NOW)
    assert today is not None
    assert day_text(today - timedelta(days=age), today) == day


@given(st.floats(allow_nan=True))
def test_a_time_that_no_calendar_has_breaks_nothing(seconds: float) -> None:
    stored = session(1, "x")
    wrong = [
        Session(**{**{f: getattr(stored, f) for f in stored.__slots__}, "updated_at": seconds})
    ]
    assert len(list(session_items(wrong, now=NOW))) == 1


# The dialog


@pytest.mark.parametrize("size", SIZES)
async def test_sessions_stand_under_their_days(size: tuple[int, int]) -> None:
    async with shown(screen(current=SESSIONS[0].id), size) as (app, _):
        assert is_tame(app)
        page = lines(app)
        today = next(n for n, line in enumerate(page) if "Today ──" in line)
        assert "❯ ● Why is the sky blue?" in page[today + 1]
        assert "[/foo] ␛[31m⟦U+202E⟧ev" in page[today + 2]
        yesterday = next(n for n, line in enumerate(page) if "Yesterday ──" in line)
        assert "Sourdough timing" in page[yesterday + 1]


async def test_all_that_is_known_shows_where_there_is_room() -> None:
    async with shown(screen(), WIDE) as (app, _):
        page = text(app)
        assert "2026-01-31 ──" in page
        assert " 1 message " in page
        assert "1,234 messages" in page
        assert "Untitled" in page


@pytest.mark.parametrize("size", SIZES)
async def test_a_title_is_found_and_opened(size: tuple[int, int]) -> None:
    opened = screen()
    async with shown(opened, size) as (app, pilot):
        await pilot.press(*"sour")
        await pilot.pause()
        assert titles(opened) == ["Sourdough timing"]
        await pilot.press("enter")
        await pilot.pause()
        assert app.ended_with == SessionChoice(SESSIONS[2].id)


@pytest.mark.parametrize("size", SIZES)
async def test_a_session_is_renamed_on_its_line(size: tuple[int, int]) -> None:
    services = FakeSessionService()
    opened = screen(services, current=SESSIONS[2].id)
    async with shown(opened, size) as (app, pilot):
        row = next(n for n, line in enumerate(lines(app)) if "Sourdough" in line)
        await pilot.press("f2")
        await pilot.pause()
        assert lines(app)[row].count("Sourdough timing") == 1
        await pilot.press(*"Bread", "enter")
        await until(pilot, lambda: "Bread" in titles(opened))
        assert services.asked == [("rename", SESSIONS[2].id, "Bread")]
        assert "Bread" in lines(app)[row]
        assert opened.list.item is not None
        assert opened.list.item.title == "Bread"


@pytest.mark.parametrize("keys", [["escape"], ["enter"], ["ctrl+u", "enter"], ["space", "enter"]])
async def test_a_title_is_not_changed_by_nothing(keys: list[str]) -> None:
    services = FakeSessionService()
    opened = screen(services)
    async with shown(opened) as (app, pilot):
        await pilot.press("f2", "x" if keys == ["escape"] else "right", *keys)
        await pilot.pause()
        assert services.asked == []
        assert not opened.list.editing
        assert app.ended_with == "not ended"
        await pilot.press(*"sour")
        await pilot.pause()
        assert titles(opened) == ["Sourdough timing"]


async def test_keys_that_act_on_a_session_rest_while_its_title_is_changed() -> None:
    services = FakeSessionService()
    opened = screen(services)
    async with shown(opened) as (_, pilot):
        await pilot.press("f2", "ctrl+d", "ctrl+s", "tab", "down", "f2")
        await pilot.pause()
        assert services.asked == []
        assert opened.list.item is not None
        assert opened.list.item.key == SESSIONS[0].id


async def test_a_deletion_can_be_undone() -> None:
    services = FakeSessionService()
    opened = screen(services)
    before = [each.title for each in SESSIONS]
    async with shown(opened) as (app, pilot):
        await pilot.press("down", "down", "ctrl+d")
        await until(pilot, lambda: len(titles(opened)) == 4)
        await shows(app, "deleted “Sourdough timing”")
        await pilot.press("ctrl+d")
        await until(pilot, lambda: len(titles(opened)) == 3)
        await pilot.press("ctrl+underscore", "ctrl+underscore", "ctrl+underscore")
        await until(pilot, lambda: len(titles(opened)) == 5)
        assert [item.key for item in opened.list.shown] == [each.id for each in SESSIONS]
        assert [what for what, *_ in services.asked] == ["delete", "delete", "restore", "restore"]
    assert [each.title for each in SESSIONS] == before


async def test_the_last_session_can_be_deleted() -> None:
    opened = screen(sessions=SESSIONS[:1])
    async with shown(opened) as (app, pilot):
        await pilot.press("ctrl+d", "ctrl+d", "f2", "ctrl+s")
        await until(pilot, lambda: not titles(opened))
        await shows(app, "No sessions yet.")


@pytest.mark.parametrize("size", SIZES)
async def test_what_cannot_be_done_is_told_and_shown_as_it_is(size: tuple[int, int]) -> None:
    services = FakeSessionService()
    services.broken = True
    opened = screen(services)
    async with shown(opened, size) as (app, pilot):
        await pilot.press("ctrl+d")
        await pilot.press("f2", *"new", "enter")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, ExportDialog))
        await pilot.press("enter")
        await until(pilot, lambda: len(services.asked) == 3)
        await pilot.pause(0.1)
        assert titles(opened)[0] == SESSIONS[0].title
        assert len(titles(opened)) == 5
        await shows(app, "the disk is full [/b]␛")
        assert is_tame(app)


async def test_an_export_says_where_it_is() -> None:
    services = FakeSessionService()
    async with shown(screen(services)) as (app, pilot):
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, ExportDialog))
        await pilot.press("enter")
        await until(pilot, lambda: "Written to /tmp/[/x]␛.md" in text(app))
        name = f"why-is-the-sky-blue-{SESSIONS[0].id[-6:]}.md"
        assert services.asked == [("export", SESSIONS[0].id, name)]


@pytest.mark.parametrize("size", SIZES)
async def test_a_file_is_imported(size: tuple[int, int]) -> None:
    services = FakeSessionService()
    opened = screen(services)
    async with shown(opened, size) as (app, pilot):
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, TextQuestion))
        await pilot.press(*"a.zip", "enter")
        await until(pilot, lambda: titles(opened) == ["Why is the sky blue?", "Imported"])
        assert services.asked == [("import", "a.zip")]
        assert opened.list.item is not None
        assert opened.list.item.title == "Imported"
        await until(pilot, lambda: "imported" in text(app))
        assert is_tame(app)


async def test_the_path_of_a_file_is_completed(tmp_path: Path) -> None:
    (tmp_path / "chats").mkdir()
    (tmp_path / "chats" / "export.zip").touch()
    (tmp_path / "chats" / "a\x1b.zip").touch()
    (tmp_path / "chats" / ".hidden").touch()
    services = FakeSessionService()
    async with shown(screen(services)) as (app, pilot):
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, TextQuestion))
        line = app.screen.query_one(Input)
        await pilot.press(*f"{tmp_path}/c")
        await until(pilot, lambda: line._suggestion == f"{tmp_path}/chats/")
        await pilot.press("right")
        await until(pilot, lambda: line._suggestion == f"{tmp_path}/chats/export.zip")
        await pilot.press("right", "enter")
        await until(pilot, lambda: bool(services.asked))
        assert services.asked == [("import", f"{tmp_path}/chats/export.zip")]


async def test_an_import_that_fails_is_told_and_can_be_tried_again() -> None:
    services = FakeSessionService()
    services.broken = True
    opened = screen(services)
    async with shown(opened) as (app, pilot):
        for _ in range(2):
            await pilot.press("ctrl+o")
            await until(pilot, lambda: isinstance(app.screen, TextQuestion))
            await pilot.press("x", "enter")
            await until(pilot, lambda: app.screen is opened)
        await until(pilot, lambda: "the disk is full" in text(app))
        assert len(titles(opened)) == 5
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, TextQuestion))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is opened)
        assert len(services.asked) == 2


async def test_chats_of_another_program_are_imported_and_opened(
    settings: Settings, paths: Paths, tmp_path: Path
) -> None:
    export = tmp_path / "conversations.json"
    export.write_bytes(document([FORKED]))
    async with opened(settings, paths) as chat:
        for told in ("1 new session; 5 messages", "1 unchanged; 0 messages"):
            await chat.pilot.press("ctrl+o")
            await chat.until(lambda: isinstance(chat.pilot.app.screen, SessionsScreen))
            await chat.pilot.press("ctrl+o")
            await chat.until(lambda: isinstance(chat.pilot.app.screen, TextQuestion))
            await chat.pilot.press(*str(export), "enter")
            await chat.until(lambda told=told: told in text(chat.pilot.app))  # type: ignore[misc]
            await chat.pilot.press("escape")
        await chat.pilot.press("ctrl+o")
        await chat.until(lambda: isinstance(chat.pilot.app.screen, SessionsScreen))
        await chat.pilot.press("enter")
        await chat.until(lambda: "answer" in text(chat.pilot.app))


async def test_remapped_keys_work_and_are_shown() -> None:
    services = FakeSessionService()
    async with shown(screen(services), keys={"sessions.export": "f9"}) as (app, pilot):
        await shows(app, "F9 export")
        await pilot.press("ctrl+s", "f9")
        await until(pilot, lambda: isinstance(app.screen, ExportDialog))
        await pilot.press("enter")
        await until(pilot, lambda: bool(services.asked))
        assert [each[:2] for each in services.asked] == [("export", SESSIONS[0].id)]


# At the side


class Sided(Stage):
    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Sidebar(wanted=True)
            yield Input()

    opened = ""
    left = False

    def on_sidebar_opened(self, event: Sidebar.Opened) -> None:
        self.opened = event.session_id

    def on_sidebar_left(self) -> None:
        self.left = True
        self.query_one("Horizontal > Input", Input).focus()

    def on_resize(self, event: Resize) -> None:
        self.query_one(Sidebar).fit(event.size.width)


async def test_a_session_at_the_side_is_found_and_opened() -> None:
    app = Sided()
    async with app.run_test(size=WIDE) as pilot:
        sidebar = app.query_one(Sidebar)
        sidebar.show(SESSIONS, SESSIONS[2].id, NOW)
        await pilot.pause()
        assert is_tame(app)
        await shows(app, "● Sourdough timing")
        sidebar.focus()
        await pilot.press(*"pack", "enter")
        await pilot.pause()
        assert app.opened == SESSIONS[4].id
        await pilot.press("escape")
        await pilot.pause()
        assert app.left


async def test_the_cursor_shows_only_where_the_keys_go() -> None:
    app = Sided()
    async with app.run_test(size=WIDE) as pilot:
        sidebar = app.query_one(Sidebar)
        sidebar.show(SESSIONS, "", NOW)
        app.query_one("Horizontal > Input", Input).focus()
        await pilot.pause()
        assert "❯" not in text(app)
        sidebar.focus()
        await pilot.pause()
        await shows(app, "❯")


async def test_the_sidebar_folds_where_there_is_no_room_and_comes_back() -> None:
    app = Sided()
    async with app.run_test(size=WIDE) as pilot:
        sidebar = app.query_one(Sidebar)
        sidebar.focus()
        await pilot.pause()
        await pilot.resize_terminal(*NARROW)
        await pilot.pause()
        assert not sidebar.display
        assert app.left
        await pilot.resize_terminal(*WIDE)
        await pilot.pause()
        assert sidebar.display
        assert not sidebar.toggle()
        assert sidebar.toggle()
        assert not sidebar.fit(60)
        assert not sidebar.toggle()
        assert not sidebar.fit(120)


# The preview


async def test_a_wide_terminal_shows_the_messages_of_the_highlighted_session(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, size=(170, 40)) as chat:
        app = chat.pilot.app
        for title, told in (("Tides", "the moon pulls"), ("Maps", f"{HOSTILE} north is up")):
            session = new_session(chat.store, title=title)
            chat.store.add(session.id, Role.USER, told, parent_id=None)
        await chat.pilot.press("ctrl+o")
        await chat.until(lambda: "north is up" in text(app))
        assert is_tame(app)
        await chat.pilot.press("down")
        await chat.until(lambda: "the moon pulls" in text(app))
        await chat.pilot.resize_terminal(100, 30)
        await chat.until(lambda: "the moon pulls" not in text(app))
        await chat.pilot.resize_terminal(170, 40)
        await chat.until(lambda: "the moon pulls" in text(app))
        await chat.pilot.press("tab", *"north")
        await chat.until(lambda: text(app).count("north is up") > 1)  # the hit, and its message
