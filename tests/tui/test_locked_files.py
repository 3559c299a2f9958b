"""Earlier prompts, and the log, of the screen in an encrypted store."""

from __future__ import annotations

import sys

import pexpect
import pytest

from tchat.paths import Paths, user_paths
from tchat.settings import Settings
from tests.encryption.locks import PASSPHRASE, make_lock
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


NOISE = """
import os, sys
from tchat.paths import user_paths
from tchat.tui.terminal import guarded
paths = user_paths()
paths.encryption.unlock(sys.argv[1])
with guarded(paths.log):
    os.write(2, sys.argv[2].encode())
"""


def test_what_libraries_print_goes_encrypted_into_the_log(paths: Paths) -> None:
    command = ["-c", NOISE, PASSPHRASE, f"noise of the {WORD}\n"]
    child = pexpect.spawn(sys.executable, command, timeout=60)
    shown = child.read()
    child.close()
    assert (child.exitstatus, WORD.encode() in shown) == (0, False)
    assert "".join(paths.log.pieces()) == f"noise of the {WORD}\n"
    assert WORD.encode() not in paths.log_file.read_bytes()
