"""What must be read again is told where the prompt is typed, and after it was sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.paths import Paths
from tchat.settings import Sampling, Settings
from tchat.tui.widgets.status import StatusLine
from tests.tui.chat_stage import opened

DOCUMENT = "the be to of and in that have it for not on with he as you do at this " * 12


async def test_another_system_prompt_has_a_price(
    tiny_model: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tchat.chat.prefill_cost.WORTH_SECONDS", 1e-9)
    sampling = Sampling(temp=0, max_tokens=3)
    settings = Settings(
        model=str(tiny_model), threads=1, prefill_while_typing=False, sampling=sampling
    )
    async with opened(settings, paths) as shown:

        def line() -> str:
            return shown.screen.query_one(StatusLine).render().plain

        await shown.ask(DOCUMENT)
        assert "Reload" not in line()
        await shown.type("/system Be brief.")
        await shown.until(lambda: "Reloading" in line())
        assert "system prompt changed" in line()
        await shown.ask("Why?")
        assert "Reloaded " in shown.notices
        assert "Reloading" not in shown.notices
        await shown.until(lambda: "Reloading" not in line())
