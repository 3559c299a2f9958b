"""The keys that lock the chat, and what is typed after them, wherever the focus is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.events import Key
from textual.widgets import Input, TextArea

from tchat.paths import Paths, user_paths
from tchat.settings import Settings
from tchat.tui.dialogs.unlock import PassphraseField, UnlockScreen
from tests.encryption.locks import PASSPHRASE, make_lock
from tests.tui.chat_stage import Shown, opened

OPENERS = {
    "nothing": [],
    "help": ["f1"],
    "models": ["f2"],
    "settings": ["f3"],
    "themes": ["f4"],
    "templates": ["f5"],
    "search": ["f6"],
    "palette": ["alt+x"],
    "sessions": ["ctrl+o"],
    "history": ["ctrl+r"],
    "tools": ["alt+u"],
    "title": ["alt+e"],
    "find": ["alt+i"],
    "judge": ["alt+j"],
    "branches": ["alt+k"],
    "sidebar": ["ctrl+b"],
    "manual": ["ctrl+x", "x"],
    "export": ["ctrl+x", "w"],
    "servers": ["ctrl+x", "2"],
    "leader": ["ctrl+x"],
    "commands": ["slash"],
}


@pytest.fixture
def paths() -> Paths:
    make_lock(user_paths())
    return user_paths()


def send(shown: Shown, *keys: str) -> None:
    """Type keys faster than any screen is drawn."""
    for key in keys:
        name = "space" if key == " " else key
        shown.pilot.app.post_message(Key(name, key if len(key) == 1 else None))


def typed_elsewhere(shown: Shown) -> str:
    """The text of all fields but the one of the lock."""
    app = shown.pilot.app
    return "\n".join(
        field.text if isinstance(field, TextArea) else field.value
        for stack in app._screen_stacks.values()
        for screen in stack
        if not isinstance(screen, UnlockScreen)
        for field in [*screen.query(Input), *screen.query(TextArea)]
    )


async def assert_it_locks(shown: Shown, *keys: str) -> None:
    """The keys lock at once, and all that follows is the passphrase."""
    app = shown.pilot.app
    send(shown, *keys, *PASSPHRASE)
    await shown.until(lambda: isinstance(app.screen, UnlockScreen))
    await shown.until(
        lambda: [each.value for each in app.screen.query(PassphraseField)] == [PASSPHRASE]
    )
    assert PASSPHRASE[-2:] not in typed_elsewhere(shown)
    await shown.pilot.press("enter")
    await shown.until(lambda: not isinstance(app.screen, UnlockScreen))
    await shown.idle()


@pytest.mark.parametrize(
    ("opener", "preset"),
    [*((each, "default") for each in OPENERS), ("nothing", "vim"), ("leader", "vim")],
)
async def test_the_key_of_the_lock_locks_whatever_is_open(
    settings: Settings, paths: Paths, opener: str, preset: str
) -> None:
    async with opened(replace(settings, keymap=preset), paths) as shown:
        await shown.pilot.press(*OPENERS[opener])
        await assert_it_locks(shown, "alt+l")


@pytest.mark.parametrize("opener", ["help", "models", "settings", "palette", "history", "find"])
async def test_the_key_of_the_lock_locks_a_dialog_that_is_only_opening(
    settings: Settings, paths: Paths, opener: str
) -> None:
    async with opened(settings, paths) as shown:
        send(shown, *OPENERS[opener])
        await assert_it_locks(shown, "alt+l")


@pytest.mark.parametrize("opener", ["nothing", "models", "settings", "palette", "history"])
async def test_the_leader_key_locks_from_dialogs_too(
    settings: Settings, paths: Paths, opener: str
) -> None:
    async with opened(settings, paths) as shown:
        await shown.pilot.press(*OPENERS[opener])
        await assert_it_locks(shown, "ctrl+x", "0")


async def test_keys_of_the_user_lock_from_dialogs(settings: Settings, paths: Paths) -> None:
    own = replace(settings, keys={"chat.lock": "f12", "chat.leader": "ctrl+y"})
    async with opened(own, paths) as shown:
        await shown.pilot.press("f2")
        await assert_it_locks(shown, "f12")
        await assert_it_locks(shown, "ctrl+y", "0")


async def test_what_follows_a_cut_in_a_field_is_typed(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.pilot.press("f2", "a", "b", "shift+home", "ctrl+x", "0")
        assert typed_elsewhere(shown).strip() == "0"


async def test_in_a_dialog_the_reason_is_told_that_nothing_is_locked(settings: Settings) -> None:
    async with opened(settings, user_paths()) as shown:
        await shown.pilot.press("f2", "alt+l")
        await shown.until(lambda: "`tchat lock on` encrypts them" in shown.toasts)
        assert typed_elsewhere(shown).strip() == ""
