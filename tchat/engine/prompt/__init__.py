"""Chats as prompts: chat templates, their sandbox and errors, and tokens that no text can forge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

IsStopped: TypeAlias = Callable[[], bool]


def never() -> bool:
    """An `IsStopped` that is always False."""
    return False


class TemplateFailure(Exception):
    """A template does not compile, or raises; the message is one line."""


class TemplateOverrun(TemplateFailure):
    """A template takes too long or makes too much; other ways of calling it are no use."""


@dataclass(frozen=True, slots=True)
class MessageCall:
    """A call of the tool ``name`` in a reply; its ``arguments`` are a JSON object."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of the ``role`` ``system``, ``user``, ``assistant`` or ``tool``.

    Attributes:
        unfinished: The first bytes of a character that a reply was cut in, to continue it.
        tool_calls: What a reply calls.
        tool_name: Of a result, the tool.
        tool_call_id: Of a result, the call.
    """

    role: str
    content: str
    reasoning: str = ""
    unfinished: bytes = b""
    tool_calls: tuple[MessageCall, ...] = ()
    tool_name: str = ""
    tool_call_id: str = ""


def system_in_user(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The chat with each system text at the head of the next user message."""
    turns: list[ChatMessage] = []
    waiting: list[str] = []
    for message in messages:
        if message.role == "system":
            waiting.append(message.content)
        elif waiting and message.role == "user":
            turns.append(replace(message, content="\n\n".join([*waiting, message.content])))
            waiting = []
        else:
            turns.append(message)
    if waiting:
        turns.append(ChatMessage("user", "\n\n".join(waiting)))
    return turns


def merge_same_roles(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The chat with neighbours of one role merged, and a user message first, empty if need be."""
    turns: list[ChatMessage] = []
    for message in messages:
        if not turns and message.role != "user":
            turns.append(ChatMessage("user", ""))
        is_plain = message.role != "tool" and not message.tool_calls
        if turns and turns[-1].role == message.role and is_plain and not turns[-1].tool_calls:
            joined = "\n\n".join(filter(None, (turns[-1].content, message.content)))
            turns[-1] = replace(message, content=joined)
        else:
            turns.append(message)
    return turns
