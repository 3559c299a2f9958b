"""A reply cut inside a character, on the screen: no part of it is shown, and it goes on."""

from __future__ import annotations

from pathlib import Path

from tchat.paths import Paths
from tchat.settings import Sampling, Settings
from tests.tiny import SPECIALS
from tests.tui.chat_stage import opened
from tests.tui.stage import shows, text

BYTES = "é".encode()


def only(byte: int) -> str:
    """A bias by which the tiny model writes nothing but this byte."""
    return f"{len(SPECIALS) + byte}=1000"


async def test_the_rest_of_a_character_comes_with_continue(tiny_model: Path, paths: Paths) -> None:
    sampling = Sampling(temp=0.0, max_tokens=1, logit_bias=(only(BYTES[0]),))
    async with opened(
        Settings(model=str(tiny_model), threads=1, sampling=sampling), paths
    ) as shown:
        await shown.ask("Hello")
        assert shown.messages[-1].text == ""
        assert shown.messages[-1].unfinished == BYTES[:1].hex()
        assert "\ufffd" not in text(shown.pilot.app)
        await shown.type(f"/set logit_bias {only(BYTES[1])}")
        await shown.idle()
        await shown.type("/continue")
        await shown.until(lambda: shown.messages[-1].text != "")
        await shown.idle()
        assert shown.messages[-1].text == "é"
        await shows(shown.pilot.app, "é")
