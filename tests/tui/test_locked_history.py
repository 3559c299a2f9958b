"""Earlier prompts on the screen of an encrypted store."""

from __future__ import annotations

import pytest

from tchat.paths import Paths, user_paths
from tchat.settings import Settings
from tests.encryption.locks import make_lock
from tests.tui.chat_stage import opened

WORD = "quetzalcoatl"


@pytest.fixture
def paths() -> Paths:
    """A store that is encrypted and unlocked."""
    make_lock(user_paths())
    return user_paths()


async def test_a_prompt_is_recalled_after_a_restart(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths, encrypted=True) as shown:
        await shown.ask(f"tell me of the {WORD}")
        await shown.until((paths.config / "history.jsonl").exists)
    async with opened(settings, paths, encrypted=True) as shown:
        await shown.pilot.press("up")
        await shown.until(lambda: shown.screen.prompt.draft.text == f"tell me of the {WORD}")
    for path in (*paths.config.rglob("*"), *paths.cache.rglob("*")):
        assert path.is_dir() or WORD.encode() not in path.read_bytes(), path
