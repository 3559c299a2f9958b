"""The locked screen: nothing of the chat is seen, nothing is lost, and all is back afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from textual.widgets import Static

from tchat.encryption.encryption import Encryption
from tchat.encryption.lock_file import EncryptionState
from tchat.errors import StorageError, StoreLocked
from tchat.paths import Paths, user_paths
from tchat.sessions.database import Database
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tchat.tui.app import TchatApp
from tchat.tui.controllers import lock as lock_controller
from tchat.tui.dialogs.settings import SettingsScreen
from tchat.tui.dialogs.unlock import PassphraseField, UnlockScreen
from tchat.tui.screen_lock import ScreenLock
from tchat.tui.services.conversation import StartupState
from tests.encryption.locks import PASSPHRASE, make_lock
from tests.tui.chat_stage import ENDLESS, Shown, opened

LONG = replace(ENDLESS, max_tokens=300)
WORDS = "The walrus and the carpenter"


@pytest.fixture
def encryption() -> Encryption:
    """An unlocked store, as a start with a keyring finds it."""
    return make_lock(user_paths())


@pytest.fixture
def paths(encryption: Encryption) -> Paths:
    found = user_paths()
    assert found.encryption is encryption
    return found


def locked_screen(shown: Shown) -> UnlockScreen:
    screen = shown.pilot.app.screen
    assert isinstance(screen, UnlockScreen)
    return screen


def is_locked(shown: Shown) -> bool:
    return isinstance(shown.pilot.app.screen, UnlockScreen)


def picture(shown: Shown) -> str:
    """What the terminal shows."""
    lines = shown.pilot.app.screen._compositor.render_strips()
    return "\n".join(line.text for line in lines)


def told(shown: Shown) -> str:
    return str(locked_screen(shown).query_one("#told", Static).content)


async def lock(shown: Shown, key: str = "alt+l") -> None:
    await shown.pilot.press(key)
    await shown.until(lambda: is_locked(shown) and "locked" in picture(shown))


async def type_passphrase(shown: Shown, passphrase: str = PASSPHRASE) -> None:
    await shown.pilot.press(*("space" if key == " " else key for key in passphrase), "enter")


async def unlock(shown: Shown, passphrase: str = PASSPHRASE) -> None:
    await type_passphrase(shown, passphrase)
    await shown.until(lambda: not is_locked(shown))
    await shown.idle()


async def test_a_locked_chat_shows_nothing_and_comes_back_as_it_was(
    settings: Settings, paths: Paths, encryption: Encryption
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask(WORDS)
        shown.screen.prompt.load("a draft of cabbages")
        before = shown.entries
        await shown.pilot.pause()
        assert "walrus" in picture(shown)
        await lock(shown)
        await shown.until(lambda: not encryption.is_unlocked)
        seen = picture(shown)
        assert "walrus" not in seen
        assert "cabbages" not in seen
        assert "The chat is locked." in seen
        with pytest.raises(StoreLocked):
            shown.store.sessions()
        await unlock(shown)
        assert encryption.is_unlocked
        assert shown.entries == before
        assert shown.screen.prompt.draft.text == "a draft of cabbages"
        assert "walrus" in picture(shown)
        await shown.pilot.press("enter")
        await shown.until(lambda: len(shown.branch) == 4)
        await shown.idle()


async def test_a_wrong_passphrase_is_told_and_slows_the_next_tries(
    settings: Settings, paths: Paths, encryption: Encryption
) -> None:
    async with opened(settings, paths) as shown:
        await lock(shown)
        await type_passphrase(shown, "WRONG")
        await shown.until(lambda: "Caps Lock" in told(shown))
        await type_passphrase(shown, "wrong")
        await shown.until(lambda: "The passphrase is wrong." in told(shown))
        await shown.until(lambda: "Try again in" in told(shown))
        assert is_locked(shown)
        assert encryption.wait > 0
        await shown.until(lambda: encryption.wait == 0)
        await unlock(shown)
        assert encryption.wait == 0


async def test_a_reply_under_way_is_stored_before_the_key_is_forgotten(
    settings: Settings, paths: Paths, encryption: Encryption, slowly: None
) -> None:
    async with opened(replace(settings, sampling=LONG), paths) as shown:
        await shown.type(WORDS)
        await shown.until(lambda: bool(shown.messages) and shown.last.role == "assistant")
        await lock(shown)
        assert shown.screen.controllers.turn.is_busy
        assert encryption.is_unlocked
        assert "A reply is being written" in told(shown)
        await shown.until(lambda: not encryption.is_unlocked)
        assert told(shown) == ""
        await unlock(shown)
        assert shown.messages[-1].status == "done"
        assert shown.entries == shown.branch


async def test_a_reply_of_a_private_chat_is_not_said_to_be_stored(
    settings: Settings, paths: Paths, slowly: None
) -> None:
    async with opened(replace(settings, sampling=LONG), paths) as shown:
        await shown.pilot.press("f8")
        await shown.until(lambda: shown.screen.conversation.private)
        await shown.idle()
        await shown.type(WORDS)
        await shown.until(lambda: bool(shown.messages) and shown.last.role == "assistant")
        await lock(shown)
        assert "and not stored" in told(shown)
        await unlock(shown)


async def test_a_reply_goes_on_where_the_chat_is_unlocked_before_its_end(
    settings: Settings, paths: Paths, encryption: Encryption, slowly: None
) -> None:
    async with opened(replace(settings, sampling=ENDLESS), paths) as shown:
        await shown.type(WORDS)
        await shown.until(lambda: bool(shown.messages) and shown.last.role == "assistant")
        await lock(shown)
        locked_screen(shown).query_one(PassphraseField).value = PASSPHRASE
        await shown.pilot.press("enter")
        await shown.until(lambda: not is_locked(shown))
        assert shown.screen.controllers.turn.is_busy
        await shown.pilot.press("escape")
        await shown.idle()
        assert encryption.is_unlocked
        assert shown.entries == shown.branch


async def test_an_open_dialog_is_hidden_and_still_open_afterwards(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.pilot.press("f3")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, SettingsScreen))
        shown.screen.controllers.lock.lock()
        await shown.until(lambda: is_locked(shown) and "locked" in picture(shown))
        assert "Settings" not in picture(shown)
        await type_passphrase(shown)
        await shown.until(lambda: isinstance(shown.pilot.app.screen, SettingsScreen))


async def test_toasts_and_dialogs_of_meanwhile_wait(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await lock(shown)
        shown.pilot.app.notify("secret oysters", markup=False)
        shown.screen.controllers.help.show_help()
        await shown.pilot.pause(0.2)
        assert is_locked(shown)
        assert "oysters" not in picture(shown)
        assert "oysters" not in shown.toasts
        await type_passphrase(shown)
        await shown.until(lambda: not is_locked(shown))
        await shown.until(lambda: "oysters" in shown.toasts)
        assert shown.pilot.app.screen is not shown.screen  # the help


async def test_the_chat_locks_itself_when_nobody_uses_it(
    settings: Settings,
    paths: Paths,
    encryption: Encryption,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lock_controller, "LOOK_EVERY", 0.05)
    async with opened(replace(settings, lock_after=1), paths) as shown:
        app = shown.pilot.app
        assert isinstance(app, TchatApp)
        assert app.lock is not None
        await shown.pilot.press("a")
        await asyncio.sleep(0.2)
        assert not is_locked(shown)
        app.lock.used_at -= 61
        await shown.until(lambda: is_locked(shown))
        await shown.until(lambda: not encryption.is_unlocked)
        await unlock(shown)
        assert shown.screen.prompt.draft.text == "a"


async def test_what_is_typed_after_a_long_rest_goes_nowhere(
    settings: Settings, paths: Paths
) -> None:
    async with opened(replace(settings, lock_after=1), paths) as shown:
        app = shown.pilot.app
        assert isinstance(app, TchatApp)
        assert app.lock is not None
        app.lock.used_at -= 61  # the machine slept: no timer ran
        await shown.pilot.press("x")
        await shown.until(lambda: is_locked(shown))
        await unlock(shown)
        assert shown.screen.prompt.draft.text == ""


async def test_zero_minutes_never_lock(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_controller, "LOOK_EVERY", 0.05)
    async with opened(settings, paths) as shown:
        app = shown.pilot.app
        assert isinstance(app, TchatApp)
        assert app.lock is not None
        app.lock.used_at -= 100_000
        await asyncio.sleep(0.2)
        await shown.pilot.press("x")
        assert not is_locked(shown)


async def test_it_can_be_left_while_it_is_locked(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask(WORDS)
        await lock(shown)
        await shown.pilot.press("ctrl+q")
        await shown.until(lambda: not shown.pilot.app.is_running)
        assert shown.pilot.app.return_code == 0


async def test_a_private_chat_is_locked_too_and_not_lost_by_one_key(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.pilot.press("f8")
        await shown.until(lambda: shown.screen.conversation.private)
        await shown.idle()
        await shown.ask(WORDS)
        await lock(shown)
        await shown.pilot.press("ctrl+q")
        await shown.until(lambda: "quit again" in told(shown))
        await unlock(shown)
        assert shown.entries[0] == ("user", WORDS)
        await lock(shown)
        await shown.pilot.press("ctrl+q", "ctrl+q")
        await shown.until(lambda: not shown.pilot.app.is_running)


@pytest.mark.parametrize("typed", ["/lock", None])
async def test_a_store_in_clear_is_not_locked_and_the_reason_is_told(
    settings: Settings, typed: str | None, home_paths: Paths
) -> None:
    async with opened(settings, home_paths) as shown:
        if typed:
            await shown.type(typed)
        else:
            await shown.pilot.press("alt+l")
        await shown.until(lambda: "`tchat lock on` encrypts them" in shown.toasts)
        assert not is_locked(shown)


@pytest.fixture
def home_paths() -> Paths:
    return user_paths()


# At the start


@asynccontextmanager
async def starting(
    settings: Settings, paths: Paths, *, private: bool = False
) -> AsyncIterator[tuple[Shown, list[str]]]:
    """The app before its store is open, and what was opened: `stored` or `private`."""
    opened_stores: list[str] = []
    stores: list[SessionStore] = []

    def store_of(kind: str) -> StartupState:
        opened_stores.append(kind)
        stored = kind == "stored"
        file, encryption = (paths.sessions_db, paths.encryption) if stored else (None, None)
        stores.append(SessionStore(file, encryption))
        return StartupState(settings, stores[-1])

    app = TchatApp(
        settings,
        paths,
        lambda: store_of("private" if private else "stored"),
        open_private=lambda: store_of("private"),
        private=private,
    )
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        try:
            yield Shown(pilot, SessionStore.in_memory()), opened_stores
        finally:
            if app.is_running:
                await app.action_quit()
            for each in stores:
                each.close()


@pytest.fixture
def locked(encryption: Encryption) -> Paths:
    """The folders of a store that nothing opens but the user."""
    fresh = Encryption(encryption.lock_file)
    return replace(user_paths(), encryption=fresh)


async def test_a_locked_store_is_unlocked_before_anything_of_it_is_opened(
    settings: Settings, locked: Paths
) -> None:
    async with starting(settings, locked) as (shown, stores):
        await shown.until(lambda: is_locked(shown) and "encrypted" in picture(shown))
        assert "Continue without history" in picture(shown)
        assert stores == []
        await type_passphrase(shown)
        await shown.until(lambda: shown.screen.context.is_ready)
        await shown.idle()
        assert stores == ["stored"]
        assert not shown.screen.conversation.private
        await shown.ask(WORDS)
        assert shown.branch[0] == ("user", WORDS)


async def test_what_is_typed_before_the_question_is_the_passphrase_and_no_prompt(
    settings: Settings, locked: Paths
) -> None:
    async with starting(settings, locked) as (shown, stores):
        await type_passphrase(shown)
        await shown.until(lambda: shown.screen.context.is_ready)
        await shown.idle()
        assert stores == ["stored"]
        assert shown.branch == []
        assert shown.screen.prompt.draft.text == ""


async def test_the_model_loads_while_the_passphrase_is_typed(
    settings: Settings, locked: Paths, encryption: Encryption
) -> None:
    async with opened(settings, replace(user_paths(), encryption=encryption)):
        pass  # the file is checked: only then it is loaded unseen
    locked.sessions_db.unlink(missing_ok=True)
    async with starting(settings, locked) as (shown, _):
        await shown.until(lambda: is_locked(shown))
        app = shown.pilot.app
        assert isinstance(app, TchatApp)
        await shown.until(lambda: app._early_model is not None)
        early = app._early_model
        assert early is not None
        await shown.until(lambda: early.is_loaded)
        await type_passphrase(shown)
        await shown.until(lambda: shown.screen.context.is_ready)
        model = shown.screen.conversation.chat.model
        assert model is not None
        await shown.ask(WORDS)
        assert shown.screen.conversation.chat.model is model


@pytest.mark.parametrize("how", ["f8", "button"])
async def test_a_chat_without_history_can_be_begun_and_touches_no_store(
    settings: Settings, locked: Paths, how: str
) -> None:
    async with starting(settings, locked) as (shown, stores):
        await shown.until(lambda: is_locked(shown))
        await shown.pilot.press(*(["f8"] if how == "f8" else ["tab", "enter"]))
        await shown.until(lambda: shown.screen.context.is_ready)
        await shown.idle()
        assert stores == ["private"]
        assert shown.screen.conversation.private
        await shown.ask(WORDS)
        assert shown.entries[0] == ("user", WORDS)
        assert shown.errors == []
        assert "locked" not in shown.toasts
        assert "locked" not in shown.notices
        assert not locked.sessions_db.exists()
        assert locked.encryption is not None
        assert not locked.encryption.is_unlocked


async def test_the_locked_start_can_be_left(settings: Settings, locked: Paths) -> None:
    async with starting(settings, locked) as (shown, stores):
        await shown.until(lambda: is_locked(shown))
        await shown.pilot.press("ctrl+q")
        await shown.until(lambda: not shown.pilot.app.is_running)
        assert stores == []
        assert shown.pilot.app.return_code == 0


async def test_a_chat_with_n_asks_for_nothing(settings: Settings, locked: Paths) -> None:
    async with starting(settings, locked, private=True) as (shown, _):
        await shown.until(lambda: shown.screen.context.is_ready)
        assert not is_locked(shown)
        await shown.pilot.press("h", "i")
        assert shown.screen.prompt.draft.text == "hi"


@pytest.mark.parametrize("state", [EncryptionState.TURNING_ON, EncryptionState.TURNING_OFF])
async def test_no_passphrase_is_asked_for_a_half_encrypted_store(
    settings: Settings, state: EncryptionState
) -> None:
    encryption = make_lock(user_paths(), state=state)
    encryption.forget()
    app = TchatApp(settings, user_paths(), lambda: StartupState(settings, SessionStore.in_memory()))
    assert await ScreenLock(app, encryption).try_sources()


@pytest.mark.parametrize("keymap", ["vim", "emacs"])
async def test_it_is_locked_in_every_preset_by_both_keys(
    settings: Settings, paths: Paths, keymap: str
) -> None:
    async with opened(replace(settings, keymap=keymap), paths) as shown:
        await shown.pilot.press("a")
        await lock(shown)
        await unlock(shown)
        await shown.pilot.press("ctrl+x", "0")
        await shown.until(lambda: is_locked(shown))


async def test_the_key_is_kept_for_messages_that_are_not_stored(
    settings: Settings, paths: Paths, encryption: Encryption, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask(WORDS)
        with monkeypatch.context() as full:

            def refuse(database: Database) -> None:
                if database.path is not None:
                    raise StorageError("no space left")

            full.setattr(Database, "_require_same_file", refuse)
            await shown.ask("and the oysters")
            assert shown.screen.conversation.failure is not None
            await lock(shown)
            await shown.until(lambda: not shown.screen.controllers.lock.is_busy)
            assert encryption.is_unlocked
            await shown.until(lambda: "The key is still in memory: " in told(shown))
            await shown.pilot.press("ctrl+q")
            await shown.until(lambda: "quit again" in told(shown))
            await unlock(shown)
        await shown.ask("and the sun")
        assert shown.screen.conversation.failure is None
        assert len(shown.branch) == 6


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "xterm"}])
async def test_the_locked_screen_needs_no_colours(
    settings: Settings, locked: Paths, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    async with starting(settings, locked) as (shown, _):
        await shown.until(lambda: is_locked(shown) and "encrypted" in picture(shown))
        await type_passphrase(shown, "wrong")
        await shown.until(lambda: "The passphrase is wrong." in picture(shown))


async def test_a_notification_of_a_locked_chat_tells_nothing_of_it(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "foot")
    async with opened(settings, paths) as shown:
        await shown.ask(WORDS)
        app = shown.pilot.app
        written: list[str] = []
        assert app._driver is not None
        monkeypatch.setattr(app._driver, "write", written.append)
        await lock(shown)
        app.app_focus = False
        shown.screen.controllers.turn._notifier.notify("read_secrets waits for your approval")
        notified = [each for each in written if "777;notify" in each]
        assert len(notified) == 1
        assert "the chat is locked" in notified[0]
        assert "walrus" not in notified[0]
        assert "secrets" not in notified[0]
