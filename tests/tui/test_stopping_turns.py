"""Esc: it belongs to one turn, and holds from Enter to its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tchat.chat import attachments
from tchat.chat.chat import Chat
from tchat.chat.context_window import WindowFitter
from tchat.chat.reply_journal import ReplyJournal
from tchat.engine.context import Context
from tchat.engine.prompt.encoder import PromptEncoder
from tchat.engine.reply_state import ReplyState
from tchat.paths import Paths
from tchat.sessions.records import Status
from tchat.settings import Sampling, Settings
from tchat.tui.controllers import context

from .chat_stage import ENDLESS, Shown, opened


class Gate:
    """Holds a call, the first time it is made, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.reached, self.open = threading.Event(), threading.Event()

    def before(self, owner: Any, name: str, skip: int = 0) -> None:
        original: Callable[..., Any] = getattr(owner, name)
        calls = iter(range(10**6))

        def held(*args: Any, **named: Any) -> Any:
            if next(calls) == skip:
                self.reached.set()
                assert self.open.wait(20)
            return original(*args, **named)

        self._monkeypatch.setattr(owner, name, held)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open.set()


@pytest.fixture
def endless(settings: Settings) -> Settings:
    return replace(settings, sampling=replace(ENDLESS, max_tokens=200))


async def stop_at(shown: Shown, gate: Gate) -> None:
    """Press Esc once the turn has come to the gate, and let it go on."""
    await shown.until(gate.reached.is_set)
    await shown.pilot.press("escape")
    gate.open.set()
    await shown.idle()


async def goes_on(shown: Shown) -> None:
    """The next turn is not stopped."""
    shown.screen.conversation.chat.settings = replace(
        shown.screen.conversation.settings, sampling=Sampling(temp=0, max_tokens=3)
    )
    shown.screen.prompt.load("")
    await shown.ask("and now")
    assert shown.messages[-1].role.value == "assistant"
    assert shown.messages[-1].status.value == "done"
    assert not shown.errors


async def test_while_a_file_is_read(
    endless: Settings, paths: Paths, gate: Gate, tmp_path: Path
) -> None:
    """Nothing was sent: the draft comes back whole, in front of what was typed meanwhile."""
    note = tmp_path / "note.md"
    note.write_text("a note")
    async with opened(endless, paths) as shown:
        gate.before(attachments, "read_attachment")
        shown.screen.prompt.load(f"read @{note} please")
        draft = replace(shown.screen.prompt.draft, files=((f"@{note}", str(note)),))
        shown.screen.prompt.load(draft)
        await shown.pilot.press("enter")
        await shown.until(gate.reached.is_set)
        shown.screen.prompt.load("typed meanwhile")
        await stop_at(shown, gate)
        assert shown.branch == []
        back = shown.screen.prompt.draft
        assert back.text == f"{draft.text}\n\ntyped meanwhile"
        assert back.files == draft.files
        await goes_on(shown)


@pytest.mark.parametrize(
    ("owner", "name", "skip"),
    [
        (Chat, "_ask", 0),  # the question is stored
        (WindowFitter, "fit", 0),  # windowed
        (PromptEncoder, "for_reply", 0),  # tokenized
        (ReplyJournal, "open", 0),
        (Context, "decode", 0),  # read
        (ReplyState, "draw", 0),
        (ReplyState, "draw", 7),  # between tokens
    ],
)
async def test_while_it_is_prepared_read_and_written(
    endless: Settings, paths: Paths, gate: Gate, owner: type, name: str, skip: int
) -> None:
    async with opened(replace(endless, prefill_while_typing=False), paths) as shown:
        if owner in {WindowFitter, PromptEncoder}:  # the draft is counted too
            shown.screen.controllers.draft.count_soon = lambda: None  # type: ignore[method-assign]
        gate.before(owner, name, skip)
        await shown.type("Hello")
        await stop_at(shown, gate)
        assert shown.branch[0] == ("user", "Hello")
        written = shown.messages[-1].usage.get("completion", 0)
        assert written <= skip + 2
        assert shown.entries == shown.branch
        await goes_on(shown)


async def test_while_the_engine_is_at_something_else(
    endless: Settings, paths: Paths, gate: Gate
) -> None:
    async with opened(endless, paths) as shown:
        busy = shown.screen.conversation._engine.run(lambda: gate.open.wait(20))
        task = asyncio.ensure_future(busy)
        await shown.type("Hello")
        gate.reached.set()
        await stop_at(shown, gate)
        await task
        assert shown.branch == [("user", "Hello")]
        await goes_on(shown)


async def test_after_the_end_it_does_not_reach_the_next_turn(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        whole = shown.messages[-1]
        for _ in range(3):
            await shown.pilot.press("escape", "escape")
            shown.screen.controllers.turn.stop()
            shown.screen.controllers.turn.state.request.stop()  # type: ignore[union-attr]
            await shown.type("/regen")
            await shown.idle()
            assert shown.messages[-1].text == whole.text
            assert shown.messages[-1].status == whole.status


async def test_a_trial_that_was_stopped_before_it_began_is_left(
    endless: Settings, paths: Paths, gate: Gate
) -> None:
    async with opened(endless, paths) as shown:
        gate.before(context, "_read", 0)
        shown.screen.controllers.draft.count_soon = lambda: None  # type: ignore[method-assign]
        await shown.type("/try 2 Hello")
        await stop_at(shown, gate)
        assert shown.branch == []
        assert shown.screen.prompt.draft.text == "/try 2 Hello"
        assert not shown.screen.controllers.candidates.is_open
        await goes_on(shown)


async def test_an_edit_that_was_stopped_before_it_began_goes_on(
    settings: Settings, paths: Paths, gate: Gate
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        shown.screen.controllers.draft.count_soon = lambda: None  # type: ignore[method-assign]
        await shown.type("/edit")
        await shown.until(lambda: shown.screen.controllers.prompt_mode.mode is not None)
        gate.before(context, "_read", 0)
        await shown.type("one more")
        await stop_at(shown, gate)
        assert shown.screen.controllers.prompt_mode.mode is not None
        await shown.pilot.press("enter")
        await shown.until(lambda: len(shown.branch) == 2 and shown.branch[0][1] == "one more")
        await shown.idle()


# Prompts that wait


async def test_prompts_that_wait_come_back_whole(
    settings: Settings, paths: Paths, tmp_path: Path, slowly: None
) -> None:
    """Labels of chips that stand for different pastes stay apart."""
    note = tmp_path / "note.md"
    note.write_text("a note")
    many = replace(settings, sampling=replace(ENDLESS, max_tokens=2000))
    async with opened(many, paths) as shown:
        prompt = shown.screen.prompt
        await shown.type("go")
        await shown.until(lambda: any(each.role == "assistant" for each in shown.all_entries))
        pastes = ["a\n" * 60, "b\n" * 60]
        for paste in pastes:
            prompt.insert(paste)
            await shown.pilot.press("enter")
            await shown.pilot.pause()
        prompt.load(f"see @{note} ")
        draft = replace(prompt.draft, files=((f"@{note}", str(note)),))
        prompt.load(draft)
        await shown.pilot.press("enter")
        await shown.pilot.pause()
        prompt.insert("c\n" * 60)
        await shown.pilot.press("alt+n")
        await shown.until(lambda: shown.screen.conversation.session is None)
        await shown.idle()
        back = prompt.draft
        assert back.full_text == "\n\n".join([*pastes, f"see @{note} ", "c\n" * 60])
        assert back.attachments == (str(note),)
        assert shown.branch == []


@pytest.mark.usefixtures("slowly")
async def test_escape_leaves_an_edit_before_it_stops_the_reply(
    settings: Settings, paths: Paths
) -> None:
    async with opened(replace(settings, sampling=ENDLESS), paths) as shown:
        await shown.type("go on for ever")
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.point_at(0)
        await shown.pilot.press("e")
        await shown.until(lambda: shown.screen.prompt.mode.endswith("Esc cancels"))
        await shown.pilot.press("escape")
        await shown.until(lambda: not shown.screen.prompt.mode)
        assert shown.screen.prompt.draft.text == ""
        assert shown.screen.controllers.turn.is_busy
        await shown.pilot.press("escape")
        await shown.idle()
        assert shown.messages[-1].status is Status.STOPPED
