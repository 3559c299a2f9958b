"""Tool calls and their results as a model reads them: paired, and shortened where they are old."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from tchat.engine.prompt import ChatMessage, MessageCall
from tchat.sanitize import single_line
from tchat.sessions.records import Message
from tchat.sessions.serialization import json_of
from tchat.sessions.tool_steps import paired


def messages_with_calls(path: Iterable[Message]) -> list[ChatMessage]:
    """The messages of a turn, each call with a result and each result with a call."""
    return [_chat_message(message) for message in paired(path)]


def _chat_message(message: Message) -> ChatMessage:
    role, outcome = message.role.value, message.tool_outcome
    if outcome is not None:
        return ChatMessage(role, message.text, tool_name=outcome.name, tool_call_id=outcome.call_id)
    if not message.tool_calls:
        return ChatMessage(role, message.text, message.reasoning)
    calls = (
        MessageCall(each.id, each.name, json_of(each.arguments)) for each in message.tool_calls
    )
    return ChatMessage(role, message.text, message.reasoning, tool_calls=tuple(calls))


def shortened(message: ChatMessage, count: Callable[[ChatMessage], int]) -> ChatMessage:
    """What stands for a result that is left out; the result itself where that is as short.

    Always the same text for the same result, so that the KV cache holds it.
    """
    name = single_line(message.tool_name)
    tokens = count(message)
    stub = replace(message, content=f"[result of {name}, {tokens:,} tokens, left out]")
    return stub if 2 * count(stub) < tokens else message
