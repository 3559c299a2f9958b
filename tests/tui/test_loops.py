"""A reply that repeats itself, in the screen."""

from __future__ import annotations

from dataclasses import replace

from tchat.paths import Paths
from tchat.settings import Sampling, Settings
from tests.tui.chat_stage import opened

LOOPS = Sampling(temp=0, max_tokens=300, logit_bias=("the=1000",))


async def test_it_is_shown_without_its_repetition_and_can_go_on(
    settings: Settings, paths: Paths
) -> None:
    async with opened(replace(settings, sampling=LOOPS), paths) as shown:
        await shown.ask("Hello")
        assert "Stopped: it began to repeat itself. Alt+G continues it; /regen dry" in shown.notices
        kept = shown.last.text
        assert 0 < kept.count("the") < 5
        assert shown.branch[-1] == ("assistant", kept)
        await shown.pilot.press("alt+g")
        await shown.until(lambda: shown.branch[-1][1] != kept)
        await shown.idle()
        assert shown.branch[-1][1].count("the") > 200


async def test_it_can_be_tried_again_with_a_penalty(settings: Settings, paths: Paths) -> None:
    sampling = replace(LOOPS, logit_bias=("the=12",))
    async with opened(replace(settings, sampling=sampling), paths) as shown:
        await shown.ask("Hello")
        kept = shown.last.text
        await shown.type("/regen dry")
        await shown.until(lambda: shown.branch[-1][1] != kept)
        await shown.idle()
        assert shown.messages[-1].sampling["dry_multiplier"] == 0.8
