"""Tool calls and their results as a model reads them: paired, and shortened where they are old."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from tchat.engine.prompt import ChatMessage
from tchat.engine.prompt.stored import chat_message
from tchat.sanitize import single_line
from tchat.sessions.records import Message
from tchat.sessions.tool_steps import paired


def messages_with_calls(path: Iterable[Message]) -> list[ChatMessage]:
    """The messages of a turn, each call with a result and each result with a call."""
    return [chat_message(message) for message in paired(path)]


def shortened(message: ChatMessage, count: Callable[[ChatMessage], int]) -> ChatMessage:
    """What stands for a result that is left out; the result itself where that is as short.

    Always the same text for the same result, so that the KV cache holds it.
    """
    name = single_line(message.tool_name)
    tokens = count(message)
    stub = replace(message, content=f"[result of {name}, {tokens:,} tokens, left out]")
    return stub if 2 * count(stub) < tokens else message
