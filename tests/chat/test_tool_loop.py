"""Turns in which the model calls tools: every step, what is stored, and what is prefilled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tchat.chat.tool_loop import ChatTools
from tchat.engine.events import (
    Event,
    MessageStored,
    Reason,
    StepFinished,
    StepState,
    TextDelta,
    ToolCallStarted,
    ToolStep,
)
from tchat.paths import Paths
from tchat.sessions.records import ToolState
from tchat.sessions.store import SessionStore
from tchat.tools.approval import Approval
from tchat.tools.audit_log import AuditLog
from tchat.tools.executor import Answer, ApprovalChoice, ApprovalRequest, ToolExecutor
from tchat.tools.registry import ToolRegistry, ToolSettings
from tchat.tools.syntaxes import ToolChoice
from tchat.tools.tool import Tool
from tests.chat.conftest import OpenChat
from tests.chat.forced_replies import HERMES, MARKS, ForcedReplies, hermes_call
from tests.tiny import write_tiny

OpenTools = Callable[..., ChatTools]
CALL = hermes_call('{"expression": "2+2"}')


@pytest.fixture
def hermes(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "hermes.gguf", template=HERMES, user_defined=MARKS)


@pytest.fixture
def open_tools(paths: Paths) -> OpenTools:
    def make(
        *tools: Tool,
        names: Sequence[str] = ("calculator",),
        choice: str = "auto",
        max_steps: int = 10,
        ask: Callable[[ApprovalRequest], Answer] = lambda _: Answer(ApprovalChoice.ONCE),
    ) -> ChatTools:
        registry = ToolRegistry(ToolSettings(lambda _: None, paths.tool_undo), paths.tools)  # type: ignore[arg-type,return-value]
        for tool in tools:
            registry.add(tool)
        names = (*names, *(tool.name for tool in tools))
        chosen = ToolChoice.parse(choice, names)
        executor = ToolExecutor(
            registry, frozenset(names), None, Approval(), AuditLog(paths.tool_log), ask
        )
        return ChatTools(executor, tuple(names), chosen, max_steps)

    return make


@pytest.fixture
def force(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ForcedReplies]:
    return lambda *texts: ForcedReplies(monkeypatch, texts)


def of_kind(events: Sequence[Event], kind: Any) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def answer(events: Sequence[Event]) -> str:
    return "".join(event.text for event in of_kind(events, TextDelta))


def test_a_call_runs_and_the_model_answers_behind_its_result(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, hermes: Path, store: SessionStore
) -> None:
    chat = open_chat(model=str(hermes), max_tokens=300)
    chat.tools = open_tools()
    force("I look." + CALL, "It is 4.")

    events = list(chat.send("What is 2+2?"))

    kinds = [type(e).__name__ for e in events if not isinstance(e, TextDelta)]
    assert kinds[kinds.index("MessageStored") :] == [
        *("MessageStored", "PromptProgress", "PromptProgress", "ToolCallStarted", "StepFinished"),
        *("ToolStep", "ToolStep", "MessageStored", "PromptProgress", "PromptProgress", "Finished"),
    ]
    assert answer(events) == "I look.It is 4."
    running, done = of_kind(events, ToolStep)
    assert (running.state, done.state, done.content) == (StepState.RUNNING, StepState.DONE, "4")
    assert of_kind(events, ToolCallStarted) == [ToolCallStarted(0, "calculator")]
    assert of_kind(events, StepFinished)[0].finished.reason is Reason.TOOL_CALLS
    assert events[-1].reason is Reason.STOP  # type: ignore[union-attr]
    user, call, result, reply = store.branch(chat.session.id)  # type: ignore[union-attr]
    assert [m.role for m in (user, call, result, reply)] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert call.text == "I look."
    assert [(c.name, dict(c.arguments)) for c in call.tool_calls] == [
        ("calculator", {"expression": "2+2"})
    ]
    assert result.tool_outcome is not None
    assert result.tool_outcome.state is ToolState.DONE
    assert result.tool_outcome.call_id == call.tool_calls[0].id
    assert done.message == result.id
    assert of_kind(events, MessageStored)[1] == MessageStored(result.id, reply.id)
