"""The chat screen: flows from a key to the transcript, with a tiny model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tchat.paths import Paths
from tchat.sessions.records import Role, Status
from tchat.sessions.store import SessionStore
from tchat.settings import Sampling, Settings
from tchat.tui.controllers.transcript import LAST
from tchat.tui.dialogs.dialog import Confirm, Picker
from tchat.tui.dialogs.help import HelpScreen
from tchat.tui.dialogs.models import ModelPicker
from tchat.tui.dialogs.sessions import SessionsScreen
from tchat.tui.dialogs.settings import SettingsScreen
from tchat.tui.dialogs.themes import ThemePicker
from tchat.tui.widgets.prompt_draft import Draft
from tests.sessions.stores import new_session

from .chat_stage import ENDLESS, opened
from .stage import text


async def test_a_prompt_is_answered_and_stored(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("Hello")
        assert shown.branch[0] == ("user", "Hello")
        assert shown.branch[1][0] == "assistant"
        assert shown.branch[1][1]
        assert shown.entries == shown.branch


async def test_a_long_session_is_there_from_its_first_message_to_its_last(
    settings: Settings, paths: Paths
) -> None:
    with SessionStore(paths.sessions_db) as store:
        session = new_session(store, title="Long")
        parent: int | None = None
        for number in range(2 * LAST + 50):
            role = Role.ASSISTANT if number % 2 else Role.USER
            parent = store.add(session.id, role, f"message {number}", parent_id=parent).id
    async with opened(settings, paths, session=session) as shown:
        await shown.until(lambda: len(shown.entries) == 2 * LAST + 50)
        assert shown.entries == shown.branch
        await shown.pilot.press("ctrl+home")
        assert "message 0" in shown.screen.controllers.transcript.view.render_line(1).text


@pytest.mark.usefixtures("slowly")
async def test_a_prompt_sent_meanwhile_waits_and_is_answered(
    settings: Settings, paths: Paths
) -> None:
    async with opened(replace(settings, sampling=ENDLESS), paths) as shown:
        await shown.type("one")
        await shown.until(lambda: any(r == "assistant" and t for r, t in shown.entries))
        await shown.type("two")
        assert shown.screen.prompt.queue == ["two"]
        await shown.pilot.press("escape")
        await shown.idle()
        assert len(shown.branch) == 2
        assert shown.screen.prompt.queue == ["two"]
        await shown.pilot.press("enter")
        await shown.until(lambda: len(shown.branch) == 4)
        assert shown.screen.prompt.queue == []
        await shown.until(lambda: bool(shown.entries[-1][1]))
        await shown.pilot.press("escape")
        await shown.idle()
        assert [text for role, text in shown.branch if role == "user"] == ["one", "two"]


@pytest.mark.usefixtures("slowly")
async def test_escape_stops_and_the_partial_reply_stays(settings: Settings, paths: Paths) -> None:
    async with opened(replace(settings, sampling=ENDLESS), paths) as shown:
        await shown.type("go on for ever")
        await shown.until(lambda: any(r == "assistant" and t for r, t in shown.entries))
        await shown.pilot.press("escape")
        await shown.idle()
        session = shown.screen.conversation.session
        assert session is not None
        reply = shown.store.branch(session.id)[-1]
        assert reply.role is Role.ASSISTANT
        assert reply.status is Status.STOPPED
        assert reply.text


async def test_regenerating_makes_a_sibling_that_can_be_flipped(
    settings: Settings, paths: Paths
) -> None:
    hot = replace(settings, sampling=Sampling(temp=2, max_tokens=12))
    async with opened(hot, paths) as shown:
        await shown.ask("Hello")
        first = shown.branch[1]
        await shown.pilot.press("alt+r")
        await shown.until(lambda: len(shown.branch) == 2 and shown.branch[1] != first)
        await shown.idle()
        await shown.pilot.press("alt+up", "less_than_sign")
        await shown.until(lambda: shown.branch[1] == first)
        await shown.until(lambda: shown.entries == shown.branch)


async def test_editing_an_earlier_message_makes_a_branch(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.pilot.press("alt+up", "alt+up", "e")
        await shown.pilot.pause()
        assert shown.screen.prompt.draft.text == "one"
        await shown.type("uno")
        await shown.until(lambda: len(shown.branch) == 2 and shown.branch[0][1] == "uno")
        await shown.idle()
        assert shown.entries == shown.branch


async def test_a_deleted_message_can_be_brought_back(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.ask("two")
        before = shown.branch
        await shown.pilot.press("alt+up", "alt+up", "d")
        await shown.until(lambda: shown.branch == before[:2] == shown.entries)
        await shown.pilot.press("alt+z")
        await shown.until(lambda: shown.branch == before == shown.entries)


@pytest.mark.parametrize(
    ("key", "dialog"),
    [
        ("f1", HelpScreen),
        ("f2", ModelPicker),
        ("f3", SettingsScreen),
        ("f4", ThemePicker),
        ("f5", Picker),
        ("f6", SessionsScreen),
        ("ctrl+o", SessionsScreen),
        ("alt+k", Picker),
        ("alt+x", Picker),
    ],
)
@pytest.mark.parametrize("size", [(60, 16), (120, 40)])
async def test_every_dialog_opens_and_closes(
    settings: Settings, paths: Paths, key: str, dialog: type, size: tuple[int, int]
) -> None:
    async with opened(settings, paths, size) as shown:
        await shown.pilot.press(key)
        await shown.until(lambda: isinstance(shown.pilot.app.screen, dialog))
        await shown.pilot.press("escape")
        await shown.until(lambda: shown.pilot.app.screen is shown.screen)


async def test_a_session_is_found_and_opened(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("about whales")
        await shown.pilot.press("alt+n")
        await shown.until(lambda: shown.screen.conversation.session is None)
        await shown.ask("about cheese")
        await shown.pilot.press("ctrl+o")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, SessionsScreen))
        await shown.pilot.press(*"whales", "enter")
        await shown.until(lambda: bool(shown.branch) and shown.branch[0][1] == "about whales")
        await shown.until(lambda: shown.entries == shown.branch)


async def test_private_mode_stores_nothing(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.pilot.press("f8")
        await shown.until(lambda: shown.screen.conversation.private)
        await shown.ask("a secret")
        assert shown.store.sessions() == []
        assert shown.screen.prompt.private
        assert not (paths.config / "history.jsonl").exists()


@pytest.mark.parametrize("leave", ["f8", "alt+n", "/new", "/private", "/open {id}"])
async def test_a_private_session_is_not_thrown_away_unasked(
    settings: Settings, paths: Paths, leave: str
) -> None:
    async with opened(settings, paths) as shown:
        other = new_session(shown.store, title="other")
        await shown.pilot.press("f8")
        await shown.until(lambda: shown.screen.conversation.private)
        await shown.ask("a secret")
        secret = shown.branch

        async def try_to_leave(answer: str) -> None:
            if leave.startswith("/"):
                await shown.type(leave.format(id=other.id))
            else:
                await shown.pilot.press(leave)
            await shown.until(lambda: isinstance(shown.pilot.app.screen, Confirm))
            await shown.until(lambda: "2 messages are stored nowhere" in text(shown.pilot.app))
            await shown.pilot.press(answer)
            await shown.until(lambda: shown.pilot.app.screen is shown.screen)

        for answer in ("enter", "escape", "n"):
            await try_to_leave(answer)
            await shown.idle()
            assert shown.entries == shown.branch == secret
        await try_to_leave("y")
        await shown.until(lambda: shown.branch == [] and shown.entries == [])


@pytest.mark.parametrize("leave", ["ctrl+q", "/quit", "ctrl+c"])
async def test_quitting_asks_before_a_private_session_is_lost(
    settings: Settings, paths: Paths, leave: str
) -> None:
    async with opened(settings, paths) as shown:
        await shown.pilot.press("f8")
        await shown.until(lambda: shown.screen.conversation.private)
        await shown.ask("a secret")

        async def quit_and(answer: str) -> None:
            if leave.startswith("/"):
                await shown.type(leave)
            else:
                await shown.pilot.press(*[leave] * (2 if leave == "ctrl+c" else 1))
            await shown.until(lambda: isinstance(shown.pilot.app.screen, Confirm))
            await shown.until(lambda: "Quit, and lose" in text(shown.pilot.app))
            await shown.pilot.press(answer)

        await quit_and("escape")
        await shown.until(lambda: shown.pilot.app.screen is shown.screen)
        assert shown.entries == shown.branch
        await quit_and("y")
        await shown.until(lambda: not shown.pilot.app.is_running)


async def test_a_private_session_without_messages_is_left_at_once(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.pilot.press("f8")
        await shown.until(lambda: shown.screen.conversation.private)
        await shown.idle()
        await shown.pilot.press("f8")
        await shown.until(lambda: not shown.screen.conversation.private)


async def test_settings_and_model_can_be_changed_while_chatting(
    settings: Settings, paths: Paths, tiny_spm: Path
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.type("/set max_tokens 3")
        await shown.until(lambda: shown.screen.conversation.settings.sampling.max_tokens == 3)
        await shown.type(f"/model {tiny_spm}")
        await shown.until(lambda: shown.screen.conversation.settings.model == str(tiny_spm))
        await shown.idle()
        await shown.ask("two")
        session = shown.screen.conversation.session
        assert session is not None
        reply = shown.store.branch(session.id)[-1]
        assert reply.model == str(tiny_spm)
        assert reply.usage["completion"] <= 3


async def test_a_missing_model_is_an_error_in_the_transcript(
    settings: Settings, paths: Paths
) -> None:
    async with opened(replace(settings, model="/nowhere/model.gguf"), paths) as shown:
        assert any(role == "error" and "model.gguf" in text for role, text in shown.entries)
        await shown.type("Hello")
        await shown.until(lambda: len(shown.branch) == 1)
        await shown.idle()
        await shown.type(f"/model {settings.model}")
        await shown.idle()
        await shown.type("/continue")
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.idle()


@pytest.mark.parametrize(
    "command", ["/help", "/stats", "/version", "/show temp", "/system", "/title x"]
)
async def test_commands_never_break_the_screen(
    settings: Settings, paths: Paths, command: str
) -> None:
    async with opened(settings, paths) as shown:
        await shown.type(command)
        await shown.pilot.pause()
        await shown.pilot.press("escape")
        await shown.ask("still there?")
        assert shown.branch[0] == ("user", "still there?")


async def test_an_unknown_command_is_told_and_not_lost(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.type("/exprot")
        await shown.pilot.pause()
        assert shown.screen.prompt.draft.text == "/exprot"
        assert shown.branch == []


async def test_ctrl_c_clears_then_stops_then_twice_quits(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        shown.screen.prompt.load(Draft("some words"))
        await shown.pilot.press("ctrl+c")
        assert shown.screen.prompt.draft.text == ""
        await shown.pilot.press("ctrl+c", "ctrl+c")
        await shown.until(lambda: not shown.pilot.app.is_running)


async def test_a_theme_file_of_the_users_is_taken_when_it_is_saved(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        themes = Path(__file__).parents[2] / "themes"
        paths.themes.mkdir(parents=True)
        (paths.themes / "mine.toml").write_text((themes / "tchat-light.toml").read_text())
        await shown.until(lambda: "mine" in shown.pilot.app.available_themes)
        await shown.type("/theme mine")
        await shown.until(lambda: shown.pilot.app.theme == "mine")
        assert 'theme = "mine"' in paths.config_file.read_text()


async def test_a_key_does_not_wait_for_its_turn_to_be_painted(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings, paths) as shown:
        shown.screen._update_timer.stop()  # from now on there are no turns
        painted: list[str] = []
        app = shown.pilot.app
        monkeypatch.setattr(
            app, "post_display_hook", lambda: painted.append(shown.screen.prompt.draft.text)
        )
        await shown.pilot.press("x")
        assert painted[-1:] == ["x"]


@pytest.mark.parametrize(("encoding", "told"), [("auto", True), ("koi8-r", False)])
async def test_the_encoding_of_a_file_is_found_and_told_or_set(
    settings: Settings, paths: Paths, tmp_path: Path, encoding: str, told: bool
) -> None:
    text = "Привет, мир! Это обычный русский текст."
    note = tmp_path / "note.txt"
    note.write_bytes(text.encode("koi8-r"))
    async with opened(replace(settings, encoding=encoding), paths) as shown:
        shown.screen.prompt.load(f"read @{note}")
        draft = replace(shown.screen.prompt.draft, files=((f"@{note}", str(note)),))
        shown.screen.prompt.load(draft)
        await shown.pilot.press("enter")
        await shown.until(lambda: len(shown.branch) > 1)
        await shown.idle()
        assert text in shown.branch[0][1]
        assert ("note.txt is not UTF-8: read as KOI8-R" in shown.notices) is told
