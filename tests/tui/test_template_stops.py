"""What the engine counts for the screen ends at a stop, also inside a chat template."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tchat.engine.events import Event
from tchat.engine.prompt import sandbox_limits
from tchat.paths import Paths
from tchat.sessions.store import SessionStore
from tchat.settings import Sampling, Settings
from tchat.tui.services.conversation import Conversation
from tests.chat.test_template_limits import TRAP
from tests.tiny import write_tiny

SOON = 8.0  # seconds; the template alone would take 60


@pytest.fixture
async def conversation(
    tmp_path: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Conversation]:
    model = write_tiny(tmp_path / "trap.gguf", template=TRAP)
    sampling = Sampling(temp=0, max_tokens=3)
    with SessionStore(paths.sessions_db) as store:
        made = Conversation(Settings(model=str(model), threads=1, sampling=sampling), paths, store)
        await answered(made, "Hello")
        monkeypatch.setattr(sandbox_limits, "_SECONDS", 60.0)
        yield made
        await made.close()


async def answered(conversation: Conversation, prompt: str) -> list[Event]:
    request = conversation.request()
    return [
        event
        async for batch in conversation.stream(lambda chat: chat.send(prompt), request)
        for event in batch
    ]


async def test_a_turn_does_not_wait_for_a_prefill_cost(conversation: Conversation) -> None:
    cost = asyncio.create_task(conversation.prefill_cost("boom"))
    await asyncio.sleep(0.5)
    await asyncio.wait_for(answered(conversation, "Hello again"), SOON)
    assert await cost is None


async def test_closing_does_not_wait_for_a_prefill_cost(conversation: Conversation) -> None:
    cost = asyncio.create_task(conversation.prefill_cost("boom"))
    await asyncio.sleep(0.5)
    await asyncio.wait_for(conversation.close(), SOON)
    assert await cost is None


async def test_a_prefill_cost_that_waits_is_dropped_at_a_stop(conversation: Conversation) -> None:
    prices = [asyncio.create_task(conversation.prefill_cost("boom")) for _ in range(3)]
    await asyncio.sleep(0.5)
    conversation.stop()
    assert await asyncio.wait_for(asyncio.gather(*prices), SOON) == [None] * 3


async def test_a_turn_does_not_wait_for_a_draft_that_is_read(conversation: Conversation) -> None:
    reading = asyncio.create_task(conversation.prefill_draft("and then boom went it", print))
    await asyncio.sleep(0.5)
    await asyncio.wait_for(answered(conversation, "Hello again"), SOON)
    assert conversation.session is not None
    branch = conversation.store.branch(conversation.session.id)
    assert [message.text for message in branch if message.role == "user"][-1] == "Hello again"
    await reading
