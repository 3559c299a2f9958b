"""A template that explodes for one word: a stop ends it, and the chat goes on without it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tchat.engine.events import Notice, Reason
from tchat.engine.prompt import sandbox_limits
from tchat.sessions.records import Role
from tests.chat.conftest import OpenChat
from tests.chat.test_chat import finished
from tests.tiny import CHATML, write_tiny

TRAP = CHATML + (
    "{% if 'boom' in messages[-1].content %}"
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}"
)


@pytest.fixture
def trap(tmp_path: Path) -> str:
    return str(write_tiny(tmp_path / "trap.gguf", template=TRAP))


def test_a_stop_ends_the_rendering_and_the_next_prompt_is_answered(
    open_chat: OpenChat, trap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_limits, "_SECONDS", 100.0)
    chat = open_chat(model=trap, max_tokens=4)
    assert finished(chat.send("Hello")).text
    stop = threading.Timer(0.3, chat.cancel.set)
    stop.start()
    assert finished(chat.send("boom")).reason is Reason.CANCELLED
    stop.join()
    chat.cancel.clear()
    assert finished(chat.send("Hello again")).text


def test_a_stop_ends_the_rendering_while_a_session_opens(
    open_chat: OpenChat, trap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_chat(model=trap, max_tokens=4)
    assert finished(first.send("Hello")).text
    assert first.session is not None
    last = first.store.branch(first.session.id)[-1]
    asked = first.store.add(first.session.id, Role.USER, "What?", parent_id=last.id)
    first.store.add(first.session.id, Role.ASSISTANT, "boom", parent_id=asked.id)
    monkeypatch.setattr(sandbox_limits, "_SECONDS", 20.0)
    chat = open_chat(model=trap, max_tokens=4, session=first.store.get(first.session.id))
    stop = threading.Timer(0.5, chat.cancel.set)
    stop.start()
    began = time.thread_time()
    list(chat.load_and_restore())
    assert time.thread_time() - began < 10
    stop.join()
    chat.cancel.clear()
    monkeypatch.setattr(sandbox_limits, "_SECONDS", 0.1)
    assert finished(chat.send("Hello again")).text


def test_an_overrun_is_said_and_another_form_is_used(
    open_chat: OpenChat, trap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_limits, "_SECONDS", 0.1)
    chat = open_chat(model=trap, max_tokens=4)
    events = list(chat.send("boom"))
    assert finished(events).text
    told = [event.text for event in events if isinstance(event, Notice)]
    assert any("takes too long" in text and "is used instead" in text for text in told)
