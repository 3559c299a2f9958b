"""Tool calls and their results as a model reads them: paired, and shortened where they are old."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from tchat.engine.prompt import ChatMessage
from tchat.engine.prompt.stored import chat_message
from tchat.sanitize import single_line
from tchat.sessions.records import Message
from tchat.sessions.tool_steps import paired

CHARACTERS = 8  # of a result for each token that it may have, at most


def messages_with_calls(path: Iterable[Message]) -> list[ChatMessage]:
    """The messages of a turn, each call with a result and each result with a call."""
    return [chat_message(message) for message in paired(path)]


def excerpted(
    messages: Sequence[ChatMessage], tokens: int, count: Callable[[ChatMessage], int]
) -> list[ChatMessage]:
    """Results with the middle of the long ones left out, so that they have ``tokens`` together."""
    made = list(messages)
    left = tokens
    by_size = sorted(range(len(made)), key=lambda place: count(made[place]))
    for waiting, place in zip(range(len(made), 0, -1), by_size, strict=True):
        made[place] = _excerpt(made[place], left // waiting, count)
        left -= count(made[place])
    return made


def _excerpt(message: ChatMessage, tokens: int, count: Callable[[ChatMessage], int]) -> ChatMessage:
    """A result, or its beginning and end with at most ``tokens``."""
    text, made = message.content, message
    kept = min(len(text), CHARACTERS * max(tokens, 1))
    if len(text) > kept:
        made = _without_middle(message, kept)
    while (size := count(made)) > tokens and kept:
        kept = int(min(len(text) - 1, kept * min(0.95, 0.95 * tokens / size)))
        made = _without_middle(message, kept)
    return made


def _without_middle(message: ChatMessage, kept: int) -> ChatMessage:
    text = message.content
    left_out = len(text) - kept
    end = len(text) - kept // 3
    shown = f"{text[: kept - kept // 3]}\n[{left_out:,} characters left out]\n{text[end:]}"
    return replace(message, content=shown)


def shortened(message: ChatMessage, count: Callable[[ChatMessage], int]) -> ChatMessage:
    """What stands for a result that is left out; the result itself where that is as short.

    Always the same text for the same result, so that the KV cache holds it.
    """
    name = single_line(message.tool_name)
    tokens = count(message)
    stub = replace(message, content=f"[result of {name}, {tokens:,} tokens, left out]")
    return stub if 2 * count(stub) < tokens else message
