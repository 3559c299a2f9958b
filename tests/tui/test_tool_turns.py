"""Turns with tools end to end: a model that calls, the loop, the questions, and what is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tchat.chat.tool_setup import open_log
from tchat.paths import Paths
from tchat.settings import Sampling, Settings, Tools
from tchat.tui.dialogs.approval import ApprovalDialog
from tests.chat.forced_replies import HERMES, MARKS, ForcedReplies, hermes_call
from tests.tiny import write_tiny
from tests.tui.chat_stage import Shown, opened
from tests.tui.stage import shows, takes_keys, text

Force = Callable[..., ForcedReplies]


@pytest.fixture
def force(monkeypatch: pytest.MonkeyPatch) -> Force:
    return lambda *texts: ForcedReplies(monkeypatch, texts)


@pytest.fixture
def hermes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "notes.txt").write_text("one\n")
    model = write_tiny(tmp_path / "hermes.gguf", template=HERMES, user_defined=MARKS)
    names = ("calculator", "read_file", "run_command")
    return Settings(
        model=str(model),
        threads=1,
        sampling=Sampling(temp=0, max_tokens=300),
        tools=Tools(enabled=names, allow=("read_file",)),
    )


def call(name: str, **arguments: Any) -> str:
    return hermes_call(json.dumps(arguments), name=name)


async def answered(shown: Shown, key: str) -> None:
    await shown.until(lambda: takes_keys(shown.pilot.app.screen))
    await shown.pilot.press(key)


async def test_a_model_calls_reads_the_results_and_answers(
    hermes: Settings, paths: Paths, force: Force
) -> None:
    force(
        "I look." + call("calculator", expression="2+2") + call("read_file", path="notes.txt"),
        call("read_file", path="missing.txt"),
        "It is 4.",
    )
    async with opened(hermes, paths, (100, 40)) as shown:
        assert "3 tools" in text(shown.pilot.app).splitlines()[0]
        await shown.type("What is 2+2?")
        await shown.until(lambda: len(shown.branch) == 7)
        await shown.idle()
        seen = text(shown.pilot.app)
        places = [
            seen.index(each)
            for each in (
                *("I look.", "▸ calculator 2+2 · 1 B", "▸ read_file notes.txt"),
                *("▸ ✗ read_file · failed", "It is 4."),
            )
        ]
        assert places == sorted(places)
        live = seen
        session = shown.screen.conversation.session
        await shown.screen.controllers.sessions.open(None)
        await shown.screen.controllers.sessions.open(session)
        await shown.idle()
        again = text(shown.pilot.app)
        assert all(row in again for row in live.splitlines() if row.strip().startswith("▸"))


@pytest.mark.parametrize(("key", "told"), [("y", "2 B"), ("n", "refused")])
async def test_a_call_with_consequences_asks_and_the_model_is_told(
    hermes: Settings, paths: Paths, force: Force, key: str, told: str
) -> None:
    force(call("run_command", command=["echo", "a"]), "Done.")
    async with opened(hermes, paths, (100, 40)) as shown:
        await shown.type("Run it")
        await answered(shown, key)
        await shown.until(lambda: len(shown.branch) == 4)
        await shown.idle()
        await shows(shown.pilot.app, f"run_command echo a · {told}")
        outcome = shown.messages[2].tool_outcome
        assert outcome is not None
        assert outcome.state.value == ("done" if key == "y" else "refused")
        assert shown.branch[-1] == ("assistant", "Done.")


async def test_a_private_session_leaves_no_word_in_the_log_of_calls(
    hermes: Settings, paths: Paths, force: Force
) -> None:
    force(call("calculator", expression="4711+1"), "Done.")
    settings = replace(hermes, tools=replace(hermes.tools, allow=("calculator",)))
    async with opened(settings, paths, (100, 40)) as shown:
        await shown.pilot.press("f8")
        await shown.until(lambda: shown.screen.conversation.private)
        await shown.type("Compute")
        await shown.until(lambda: len(shown.branch) == 4)
        await shown.idle()
    [line] = open_log(paths).lines()
    assert line["tool"] == "calculator"
    assert "arguments" not in line
    assert "4711" not in paths.tool_log.read_text()


async def test_escape_denies_and_a_second_one_stops_the_turn_which_can_go_on(
    hermes: Settings, paths: Paths, force: Force
) -> None:
    run = call("run_command", command=["echo", "a"])
    force(run + run, "Later.")
    async with opened(hermes, paths, (100, 40)) as shown:
        await shown.type("Run it")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, ApprovalDialog))
        first = shown.pilot.app.screen
        await shown.pilot.press("escape")
        await shown.until(lambda: shown.pilot.app.screen is not first)
        await shown.until(lambda: isinstance(shown.pilot.app.screen, ApprovalDialog))
        await shown.pilot.press("escape")
        await shown.idle()
        await shows(shown.pilot.app, "refused")
        assert shown.branch[1][0] == "assistant"
        assert shown.branch[-1][0] == "tool"
        await shown.pilot.press("alt+g")
        await shown.until(lambda: shown.branch[-1] == ("assistant", "Later."))
        await shown.idle()


async def test_a_turn_that_repeats_itself_ends_and_says_so(
    hermes: Settings, paths: Paths, force: Force
) -> None:
    same = call("calculator", expression="2+2")
    force(*[same] * 6)
    async with opened(replace(hermes), paths, (100, 40)) as shown:
        await shown.type("Count")
        await shown.until(lambda: "same call again and again" in shown.notices)
        await shown.idle()
