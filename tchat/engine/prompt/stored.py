"""Stored messages as a prompt holds them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tchat.engine.prompt import ChatMessage, MessageCall


class StoredCall(Protocol):
    """A call in a reply."""

    @property
    def id(self) -> str:
        """Its id in the reply."""
        ...

    @property
    def name(self) -> str:
        """The tool."""
        ...

    @property
    def arguments(self) -> Mapping[str, Any]:
        """A JSON object."""
        ...


class StoredOutcome(Protocol):
    """What became of a call."""

    @property
    def call_id(self) -> str:
        """The id of the call."""
        ...

    @property
    def name(self) -> str:
        """The tool."""
        ...


class StoredMessage(Protocol):
    """A message of a session."""

    @property
    def role(self) -> str:
        """As of a `ChatMessage`."""
        ...

    @property
    def text(self) -> str:
        """What was said, or the result."""
        ...

    @property
    def reasoning(self) -> str:
        """What was thought before."""
        ...

    @property
    def tool_calls(self) -> Sequence[StoredCall]:
        """The calls of a reply."""
        ...

    @property
    def tool_outcome(self) -> StoredOutcome | None:
        """Of a result only."""
        ...


def chat_message(stored: StoredMessage) -> ChatMessage:
    """A message with its calls, or with the call that it is the result of."""
    role, outcome = str(stored.role), stored.tool_outcome
    if outcome is not None:
        return ChatMessage(role, stored.text, tool_name=outcome.name, tool_call_id=outcome.call_id)
    if not stored.tool_calls:
        return ChatMessage(role, stored.text, stored.reasoning)
    calls = tuple(
        MessageCall(each.id, each.name, json.dumps(dict(each.arguments), ensure_ascii=False))
        for each in stored.tool_calls
    )
    return ChatMessage(role, stored.text, stored.reasoning, tool_calls=calls)
