"""Stored turns in which a model called tools."""

from __future__ import annotations

from typing import Any

from tchat.sessions.records import Message, Role, ToolCall, ToolOutcome, ToolState
from tchat.sessions.store import Store


def call(call_id: str, name: str, **arguments: Any) -> ToolCall:
    """A call with the keyword arguments."""
    return ToolCall(id=call_id, name=name, arguments=arguments)


def add_result(
    store: Store,
    parent: Message,
    call_id: str,
    text: str,
    *,
    name: str = "look",
    state: ToolState = ToolState.DONE,
) -> Message:
    """Store what a call came to, below ``parent``."""
    outcome = ToolOutcome(call_id=call_id, name=name, state=state, decided_by="rule", seconds=0.25)
    return store.add(parent.session_id, Role.TOOL, text, parent_id=parent.id, tool_outcome=outcome)


def add_call_turn(
    store: Store,
    session_id: str,
    result: str,
    *,
    parent_id: int | None = None,
    answer: str = "It is {result}.",
) -> tuple[Message, Message, Message]:
    """A reply that looks, the result, and the answer; below a message, or the last one."""
    parent = parent_id or store.branch(session_id, 1)[-1].id
    asked = store.add(
        session_id,
        Role.ASSISTANT,
        "",
        parent_id=parent,
        reasoning="I must look.",
        tool_calls=(call("c1", "look", path="a.txt"),),
        model="tiny",
    )
    found = add_result(store, asked, "c1", result)
    text = answer.format(result=result)
    last = store.add(session_id, Role.ASSISTANT, text, parent_id=found.id, model="tiny")
    return asked, found, last
