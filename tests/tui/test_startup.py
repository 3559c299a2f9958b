"""How the chat begins: the first picture waits for no disk, and nothing that is typed is lost."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from tchat.errors import UsageError
from tchat.paths import Paths
from tchat.sessions.records import Role, Session
from tchat.sessions.schema import CURRENT
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tchat.tui.app import TchatApp
from tchat.tui.dialogs.dialog import ListDialog
from tchat.tui.dialogs.help import HelpScreen
from tchat.tui.dialogs.history import HistoryScreen
from tchat.tui.dialogs.models import ModelPicker
from tchat.tui.dialogs.themes import ThemePicker
from tchat.tui.services.conversation import StartupState
from tchat.tui.widgets.fuzzy_list import Filter
from tests.imports import modules_after
from tests.sessions.stores import new_session
from tests.terminal import Terminal
from tests.tui.chat_stage import Shown, opened
from tests.tui.stage import PATIENCE

COMMAND = (sys.executable, "-m", "tchat")


@asynccontextmanager
async def waiting(
    settings: Settings, paths: Paths, session: Session | None = None
) -> AsyncIterator[tuple[Shown, Callable[[], None]]]:
    """The app before its sessions are open, and what lets them open."""
    disk = threading.Event()
    with SessionStore(paths.sessions_db) as store:

        def opening() -> StartupState:
            assert disk.wait(PATIENCE)
            return StartupState(settings, store, session)

        app = TchatApp(settings, paths, opening)
        try:
            async with app.run_test(size=(100, 30)) as pilot:
                await pilot.pause()
                yield Shown(pilot, store), disk.set
                if app.is_running:
                    await app.action_quit()
        finally:
            disk.set()


async def test_what_is_typed_and_sent_before_the_sessions_are_open_is_kept(
    settings: Settings, paths: Paths
) -> None:
    async with waiting(settings, paths) as (shown, let_open):
        await shown.type("Hello")
        await shown.pilot.press("s", "o")
        assert shown.screen.prompt.queue == ["Hello"]
        assert shown.pilot.app.screen is shown.screen
        let_open()
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.idle()
        assert shown.branch[0] == ("user", "Hello")
        assert shown.entries == shown.branch
        assert shown.screen.prompt.queue == []
        assert shown.screen.prompt.draft.text == "so"


async def test_a_prompt_sent_early_goes_into_the_session_that_is_opened(
    settings: Settings, paths: Paths
) -> None:
    with SessionStore(paths.sessions_db) as store:
        session = new_session(store, title="Before")
        asked = store.add(session.id, Role.USER, "one", parent_id=None)
        store.add(session.id, Role.ASSISTANT, "two", parent_id=asked.id)
    async with waiting(settings, paths, session) as (shown, let_open):
        await shown.type("three")
        let_open()
        await shown.until(lambda: len(shown.branch) == 4)
        await shown.idle()
        assert [text for _, text in shown.branch[:3]] == ["one", "two", "three"]
        assert shown.entries == shown.branch


async def test_a_command_sent_early_is_carried_out(settings: Settings, paths: Paths) -> None:
    async with waiting(settings, paths) as (shown, let_open):
        await shown.type("/version")
        let_open()
        await shown.until(lambda: shown.screen.context.is_ready and "tchat" in shown.notices)
        assert shown.branch == []


@pytest.mark.parametrize(
    ("keys", "dialog"),
    [
        (["f4"], ThemePicker),
        (["f1"], HelpScreen),
        (["ctrl+r"], HistoryScreen),
        (["ctrl+x", "m"], ModelPicker),
    ],
)
async def test_a_key_pressed_early_acts_once_the_sessions_are_open_and_so_do_those_after_it(
    settings: Settings, paths: Paths, keys: list[str], dialog: type[ListDialog]
) -> None:
    async with waiting(settings, paths) as (shown, let_open):
        await shown.pilot.press("a", *keys, "q", "x")
        assert not shown.screen.context.is_ready
        let_open()
        await shown.until(lambda: isinstance(shown.pilot.app.screen, dialog))
        typed = {"aqx"} if dialog is HistoryScreen else {"qx"}  # it searches for the draft
        await shown.until(
            lambda: {each.value for each in shown.pilot.app.screen.query(Filter)} == typed
        )
        assert shown.screen.prompt.draft.text == "a"


async def test_it_can_be_left_behind_a_key_that_waits(settings: Settings, paths: Paths) -> None:
    async with waiting(settings, paths) as (shown, _):
        await shown.pilot.press("f4", "ctrl+q")
        await shown.until(lambda: not shown.pilot.app.is_running)


async def test_it_can_be_left_before_the_sessions_are_open(
    settings: Settings, paths: Paths
) -> None:
    async with waiting(settings, paths) as (shown, _):
        await shown.pilot.press("ctrl+q")
        await shown.until(lambda: not shown.pilot.app.is_running)
        assert shown.pilot.app.return_code == 0


async def test_what_the_store_says_of_its_file_is_told(settings: Settings, paths: Paths) -> None:
    paths.sessions_db.parent.mkdir(parents=True, exist_ok=True)
    paths.sessions_db.write_text("These are my notes.\n" * 1000)
    async with opened(settings, paths) as shown:
        assert shown.store.notices
        assert shown.store.notices[0] in shown.notices


async def test_sessions_that_cannot_be_opened_end_the_app(settings: Settings, paths: Paths) -> None:
    def opening() -> StartupState:
        raise UsageError("there is no session to continue")

    app = TchatApp(settings, paths, opening)
    with pytest.raises(Exception, match="there is no session"):
        async with app.run_test() as pilot:
            await Shown(pilot, SessionStore.in_memory()).until(lambda: not app.is_running)
    assert isinstance(app.broken_by, UsageError)


def test_a_session_that_is_not_there_is_told_on_the_shell(home: Path) -> None:
    with Terminal((*COMMAND, "-c")) as terminal:
        assert terminal.ended() == 2
        assert "there is no session to continue; start one" in terminal.text
        assert terminal.keyboards == 0


def test_a_file_of_a_newer_tchat_is_told_in_the_chat(home: Path) -> None:
    with SessionStore(home / "sessions.db"):
        pass
    with closing(sqlite3.connect(home / "sessions.db")) as connection:
        connection.execute(f"PRAGMA user_version = {CURRENT + 1}")
    with Terminal((*COMMAND, "-m", "/nowhere/no.gguf")) as terminal:
        terminal.until("written by a newer tchat")
        stored = "Nothing of this chat is stored"  # on one line or two, by the length of the path
        terminal.until(lambda: stored in " ".join(terminal.text.replace("┃", " ").split()))
        terminal.send("\x11")
        assert terminal.ended() == 0


def test_warnings_about_settings_are_shown_in_the_screen_once(home: Path) -> None:
    with SessionStore(home / "sessions.db") as store:
        new_session(store, title="Before")
    config = home / "config.toml"
    config.write_text('max_tokens = 60\n"temp\\u001b[2Jp" = 1\n', encoding="utf-8")
    command = (*COMMAND, "-c", "-m", "/nowhere/no.gguf", "--judge", "logprob")
    with Terminal(command) as terminal:
        terminal.until("— `--judge` is now called `--ranker`")
        terminal.until("— warning: config.toml: `max_tokens` is ignored here")
        terminal.until("— warning: config.toml: unknown setting `temp")
        assert terminal.text.count("it belongs under [sampling]") == 1
        terminal.send("\x11")
        assert terminal.ended() == 0
    with Terminal((*command, "-q")) as terminal:
        terminal.until("✗ ")
        assert "max_tokens" not in terminal.text
        assert b"--ranker" not in terminal.written


def test_the_first_picture_waits_for_no_engine_store_or_transcript() -> None:
    heavy = {"sqlite3", "numpy", "tchat.engine.events", "tchat.sessions.store", "tchat.chat.chat"}
    heavy |= {"tchat.tui.widgets.transcript.view", "tchat.markdown", "tchat.decoding", "hashlib"}
    heavy |= {"tchat.chat.commands", "tchat.tui.controllers.controllers"}
    assert not heavy & modules_after("import tchat.tui.app")


CHATS = """
import asyncio, tempfile
from pathlib import Path
from tests.tui.chat_stage import opened
from tests.tui.random_user import tiny_settings
from tchat.paths import user_paths
async def chats():
    with tempfile.TemporaryDirectory() as folder:
        paths = user_paths({"TCHAT_HOME": folder})
        async with opened(tiny_settings(Path(folder)), paths) as shown:
            await shown.ask("Hello")
            shown.screen.prompt.load("/mcp and @")
            await shown.pilot.pause()
asyncio.run(chats())
"""


def test_a_chat_without_tools_and_servers_imports_nothing_of_them() -> None:
    unused = ("tchat.tools", "tchat.servers", "tchat.engine.rpc", "mcp", "httpx2", "pydantic")
    found = modules_after(CHATS)
    assert "tchat.tui.controllers.tools" in found
    assert [name for name in found if name.startswith(unused)] == []


IMPORT = "from tchat.tui.textual_imports import import_textual; import_textual()\n"


def test_the_screen_is_imported_without_textuals_palette() -> None:
    palette = {"textual.command", "textual.widgets._option_list", "textual.widgets._directory_tree"}
    found = modules_after(f"{IMPORT}import tchat.tui.app")
    assert "tchat.tui.chat_screen" in found
    assert not palette & found


def test_textuals_palette_can_be_imported_afterwards() -> None:
    code = "from textual.command import CommandPalette\nassert CommandPalette.is_open"
    after = modules_after(f"{IMPORT}import tchat.tui.app\n{code}")
    assert "textual.widgets._option_list" in after
    before = modules_after(f"{code}\n{IMPORT}import tchat.tui.app")
    assert "textual.widgets._option_list" in before
