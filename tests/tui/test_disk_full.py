"""A disk that cannot be written: the chat goes on in memory, says so, and is stored again."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from tchat.errors import StorageError
from tchat.paths import Paths
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tchat.tui.app import TchatApp, _exit_code
from tchat.tui.dialogs.dialog import Confirm
from tests.sessions.test_fallback_store import fill, make_room

from .chat_stage import ENDLESS, Shown, opened

LONG = ("with some words " * 400).strip()  # more than a page of the file, little of the context


async def lost(shown: Shown) -> None:
    """Wait until it is said that something is not stored."""
    await shown.until(lambda: any("in memory" in error.text for error in shown.errors))


async def test_a_chat_goes_on_and_is_stored_when_there_is_room(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        fill(shown.store)
        await shown.ask(LONG)
        await lost(shown)
        assert shown.screen.context.status.header().unstored
        await shown.ask("three")
        assert [text for role, text in shown.branch if role == "user"] == ["one", LONG, "three"]
        session = shown.screen.conversation.session
        assert session is not None
        assert len(shown.store.branch(session.id)) == 2

        make_room(shown.store)
        (block,) = shown.errors
        await shown.pilot.press("alt+r")
        await shown.until(lambda: "everything is stored" in shown.notices)
        assert shown.store.branch(session.id)[2].text == LONG
        assert len(shown.store.branch(session.id)) == 6
        assert shown.errors == []
        assert not shown.screen.context.status.header().unstored
        assert not shown.screen.controllers.transcript.view.has(block.key)
        await shown.ask("four")
        assert shown.store.branch(session.id)[-2].text == "four"


async def test_a_new_chat_on_a_full_disk_is_stored_by_the_next_turn(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        fill(shown.store)
        await shown.ask(LONG)
        await lost(shown)
        assert shown.branch[0] == ("user", LONG)
        assert len(shown.branch) == 2
        assert shown.store.sessions() == []  # none without a message
        make_room(shown.store)
        await shown.ask("two")
        await shown.until(lambda: "everything is stored" in shown.notices)
        (stored,) = shown.store.sessions()
        assert stored.messages == 4
        assert shown.entries == shown.branch


async def test_a_disk_that_fills_while_a_reply_is_written_costs_nothing_of_it(
    settings: Settings, paths: Paths, slowly: None
) -> None:
    async with opened(replace(settings, sampling=ENDLESS), paths) as shown:
        await shown.type("with some words " * 200)  # of its page, the reply gets what is left
        await shown.until(lambda: bool(shown.messages[-1:]) and bool(shown.messages[-1].text))
        fill(shown.store)
        await shown.until(lambda: shown.screen.conversation.failure is not None)
        seen = shown.last.text
        await shown.until(lambda: len(shown.last.text) > len(seen) + 20)
        await shown.pilot.press("escape")
        await shown.idle()
        await lost(shown)
        assert shown.branch[-1][1].startswith(seen)
        assert shown.last.text == shown.branch[-1][1]
        make_room(shown.store)
        await shown.pilot.press("alt+r")
        await shown.until(lambda: "everything is stored" in shown.notices)
        session = shown.screen.conversation.session
        assert session is not None
        assert shown.store.branch(session.id)[-1].text == shown.branch[-1][1]


async def test_leaving_such_a_session_keeps_it_for_another_try(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        fill(shown.store)
        await shown.ask(LONG)
        await lost(shown)
        await shown.pilot.press("alt+n")
        await shown.until(lambda: shown.screen.conversation.session is None)
        await lost(shown)
        make_room(shown.store)
        await shown.ask("another")
        await shown.until(lambda: len(shown.store.sessions()) == 2)
        assert {each.messages for each in shown.store.sessions()} == {2}


async def test_what_is_lost_at_the_end_is_said(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        fill(shown.store)
        await shown.ask(LONG)
        await shown.pilot.press("ctrl+q")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, Confirm))
        await shown.pilot.press("ctrl+q")
        await shown.until(lambda: not shown.pilot.app.is_running)
        failure = shown.screen.conversation.failure
        assert failure is not None
        assert "no space left" in failure.message


async def test_a_session_is_stored_at_the_end_if_that_is_possible(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        fill(shown.store)
        await shown.ask(LONG)
        make_room(shown.store)
        await shown.pilot.press("ctrl+q")
        await shown.until(lambda: not shown.pilot.app.is_running)
        assert [each.messages for each in shown.store.sessions()] == [2]


async def test_a_store_that_cannot_be_opened_is_told_in_the_chat(
    settings: Settings, paths: Paths
) -> None:
    problem = StorageError("no space left. Nothing of this chat is stored", "free some space")
    async with opened(settings, paths, problem=problem) as shown:
        assert "Nothing of this chat is stored" in shown.errors[0].text
        await shown.ask("one")
        assert len(shown.branch) == 2


async def test_a_setting_that_cannot_be_kept_is_told(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        paths.config_file.mkdir()  # a file cannot be written in its place
        await shown.pilot.press("f4")
        await shown.until(lambda: shown.pilot.app.screen is not shown.screen)
        await shown.pilot.press("enter")
        await shown.until(lambda: "config.toml" in shown.toasts)
        await shown.pilot.press("f3")
        await shown.until(lambda: any("config.toml" in error.text for error in shown.errors))


async def test_a_signal_does_not_hide_what_is_lost(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        fill(shown.store)
        await shown.ask(LONG)
        app = shown.pilot.app
        assert isinstance(app, TchatApp)
        app._end_by(signal.SIGTERM)
        await shown.until(lambda: not app.is_running)
        with pytest.raises(StorageError, match="the last messages are lost"):
            _exit_code(app)


async def test_going_back_to_a_session_finds_what_is_only_in_memory(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        session = shown.screen.conversation.session
        assert session is not None
        fill(shown.store)
        await shown.ask(LONG)
        await lost(shown)
        await shown.pilot.press("alt+n")
        await shown.until(lambda: shown.screen.conversation.session is None)
        await shown.ask("another " + LONG)
        await shown.screen.controllers.sessions.go_on_in(session)
        await shown.until(lambda: shown.screen.conversation.session is not None)
        assert [text for role, text in shown.branch if role == "user"] == ["one", LONG]
        make_room(shown.store)
        await shown.ask("three")
        await shown.until(lambda: "everything is stored" in shown.notices)
        assert sorted(each.messages for each in shown.store.sessions()) == [2, 6]


async def test_a_chat_outlives_its_file(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        paths.sessions_db.unlink()
        await shown.ask("two")
        await shown.until(lambda: "everything is stored" in shown.notices)
        assert "deleted or replaced" in shown.notices
        await shown.ask("three")
        assert shown.errors == []
        with SessionStore(paths.sessions_db) as other:
            (session,) = other.sessions()
            assert [m.text for m in other.branch(session.id)][::2] == ["one", "two", "three"]
        assert shown.entries[::2] == [("user", text) for text in ("one", "two", "three")]


async def test_a_session_deleted_elsewhere_does_not_end_the_chat(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        with SessionStore(paths.sessions_db) as other:
            other.delete(other.sessions()[0].id)
        await shown.type("two")
        await shown.until(lambda: "continues in a new session" in shown.notices)
        await shown.idle()
        assert [text for role, text in shown.branch if role == "user"] == ["two"]
        assert len(shown.branch) == 2


@pytest.mark.parametrize("typed", ["", "/quit"])
async def test_quitting_asks_once_before_what_is_in_memory_is_lost(
    settings: Settings, paths: Paths, typed: str
) -> None:
    async def leave(shown: Shown) -> None:
        await (shown.type(typed) if typed else shown.pilot.press("ctrl+q"))
        await shown.until(lambda: isinstance(shown.pilot.app.screen, Confirm))

    async with opened(settings, paths) as shown:
        await shown.ask("one")
        fill(shown.store)
        await shown.ask(LONG)
        await lost(shown)
        await leave(shown)
        await shown.pilot.press("escape")
        await shown.ask("two")
        await leave(shown)
        app = shown.pilot.app
        assert isinstance(app, TchatApp)
        await shown.pilot.press("y")
        await shown.until(lambda: not app.is_running)
        with pytest.raises(StorageError, match="the last messages are lost"):
            _exit_code(app)


async def test_quitting_does_not_ask_where_the_disk_takes_it_again(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        session = shown.screen.conversation.session
        assert session is not None
        fill(shown.store)
        await shown.ask(LONG)
        await lost(shown)
        make_room(shown.store)
        await shown.pilot.press("ctrl+q")
        await shown.until(lambda: not shown.pilot.app.is_running)
        assert len(shown.store.branch(session.id)) == 4


async def test_a_deleted_file_is_not_called_a_full_disk(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        paths.sessions_db.unlink()
        await shown.ask("two")
        await shown.until(lambda: "everything is stored" in shown.notices)
        assert "was deleted or replaced" in shown.notices
        assert "disk" not in shown.notices
