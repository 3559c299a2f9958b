"""Turns of a model that calls tools of an MCP server, end to end on the screen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tchat.paths import Paths
from tchat.settings import Sampling, Settings, Tools
from tests.chat.forced_replies import HERMES, MARKS, ForcedReplies, hermes_call
from tests.tiny import write_tiny
from tests.tools.mcp.stage import OFFICIAL, hostile
from tests.tui.chat_stage import Shown, opened
from tests.tui.stage import shows, takes_keys, text

Force = Callable[..., ForcedReplies]


@pytest.fixture
def force(monkeypatch: pytest.MonkeyPatch) -> Force:
    return lambda *texts: ForcedReplies(monkeypatch, texts)


@pytest.fixture
def hermes(tmp_path: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Settings:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    servers = {"o": OFFICIAL, "dies": hostile("die"), "evil": hostile("escapes")}
    paths.mcp_file.parent.mkdir(parents=True, exist_ok=True)
    paths.mcp_file.write_text(json.dumps({"mcpServers": servers}))
    model = write_tiny(tmp_path / "hermes.gguf", template=HERMES, user_defined=MARKS)
    return Settings(
        model=str(model),
        threads=1,
        ctx_size=4096,
        sampling=Sampling(temp=0, max_tokens=300),
        tools=Tools(enabled=("o__*", "dies__good", "evil__good")),
    )


def call(name: str, **arguments: Any) -> str:
    return hermes_call(json.dumps(arguments), name=name)


async def approved(shown: Shown) -> None:
    await shown.until(lambda: takes_keys(shown.pilot.app.screen))
    await shown.pilot.press("y")


def results(shown: Shown) -> list[str]:
    return [text for role, text in shown.branch if role == "tool"]


def has_results(shown: Shown, count: int) -> bool:
    return len(results(shown)) == count


async def test_each_call_is_asked_about_and_its_result_goes_to_the_model(
    hermes: Settings, paths: Paths, force: Force
) -> None:
    force(call("o__add", a=40, b=2), call("dies__good"), call("evil__good"), "It is 42.")
    async with opened(hermes, paths, (100, 40)) as shown:
        await shown.type("What is 40 + 2?")
        for count in (1, 2, 3):
            await approved(shown)
            await shown.until(partial(has_results, shown, count))
        await shown.idle()
        added, died, evil = results(shown)
        assert added == "42"
        assert died.startswith("the MCP server dies cannot be used: it ended with exit code 3")
        assert "\x1b" not in evil
        assert "\u202e" not in evil
        assert shown.branch[-1] == ("assistant", "It is 42.")
        await shows(shown.pilot.app, "▸ o__add")


async def test_esc_stops_a_call_that_hangs_and_the_chat_goes_on(
    hermes: Settings, paths: Paths, force: Force
) -> None:
    force(call("o__for_ever"), "", "Fine.")
    async with opened(hermes, paths, (100, 40)) as shown:
        await shown.type("Wait for it")
        await approved(shown)
        await shown.until(lambda: "o__for_ever" in text(shown.pilot.app))
        await shown.pilot.pause(0.5)
        start = time.monotonic()
        await shown.pilot.press("escape")
        await shown.idle()
        assert time.monotonic() - start < 20
        log = paths.log_file
        await shown.until(
            lambda: log.exists() and "for_ever was cancelled" in log.read_text(encoding="utf-8")
        )
        servers = shown.screen.context.conversation.servers.open(hermes)
        assert servers.status()[0].state == "ready"


async def test_a_form_of_a_server_is_answered_in_its_call(
    hermes: Settings, paths: Paths, force: Force
) -> None:
    force(call("o__book"), "Booked.")
    off = replace(hermes, tools=replace(hermes.tools, enabled=("o__book",)))
    async with opened(off, paths, (100, 40)) as shown:
        await shown.type("Book a table")
        await approved(shown)
        await shown.until(lambda: "Which table?" in text(shown.pilot.app))
        await shown.until(lambda: takes_keys(shown.pilot.app.screen))
        await shown.pilot.press("escape")
        await shown.until(lambda: bool(results(shown)))
        assert results(shown) == ["not booked: decline"]
        await shown.idle()
