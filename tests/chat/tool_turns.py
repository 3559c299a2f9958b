"""Chats with tools on a tiny model, whose replies are given."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tchat.chat.tool_loop import ChatTools
from tchat.engine.events import Event, TextDelta
from tchat.paths import Paths
from tchat.tools.approval import Approval
from tchat.tools.audit_log import AuditLog
from tchat.tools.executor import Answer, ApprovalChoice, ApprovalRequest, ToolExecutor
from tchat.tools.registry import ToolRegistry, ToolSettings
from tchat.tools.syntaxes import ToolChoice
from tchat.tools.tool import Effect, Tool, object_schema
from tests.chat.forced_replies import HERMES, MARKS, ForcedReplies
from tests.egress.user_log import user_log
from tests.tiny import write_tiny

OpenTools = Callable[..., ChatTools]


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
        settings = ToolSettings(
            lambda _: None,  # type: ignore[arg-type,return-value]
            paths.tool_undo,
            functools.cache(user_log),
        )
        registry = ToolRegistry(settings, paths.tools)
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


def tool(
    name: str,
    run: Callable[[Any], str],
    *effects: Effect,
    is_untrusted: bool = False,
    **properties: dict[str, Any],
) -> Tool:
    """A tool whose arguments are all required."""
    schema = object_schema(tuple(properties), **properties)
    return Tool(name, f"About {name}", schema, run, frozenset(effects), is_untrusted=is_untrusted)
