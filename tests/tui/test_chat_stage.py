"""The stage of the tests itself: a test that fails says so at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tchat.paths import user_paths
from tchat.settings import Settings
from tests.tiny import write_tiny

from .chat_stage import ENDLESS, opened

SOON = 20.0  # seconds


@pytest.mark.parametrize("doing", ["nothing", "a reply", "a dialog"])
async def test_a_failure_is_told_whatever_goes_on(tmp_path: Path, doing: str) -> None:
    settings = Settings(model=str(write_tiny(tmp_path / "m.gguf")), threads=1, sampling=ENDLESS)

    async def fails() -> None:
        async with opened(settings, user_paths()) as shown:
            if doing == "a reply":
                await shown.type("hi")
                await shown.until(lambda: len(shown.branch) == 2)
            elif doing == "a dialog":
                await shown.pilot.press("f1")
            raise AssertionError("the test's own words")

    with pytest.raises(AssertionError, match="the test's own words"):
        await asyncio.wait_for(fails(), SOON)
