"""The context window: which turns go into the prompt, and why the others do not."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tchat.engine.prompt.messages import ChatMessage
from tchat.errors import DoesNotFit

Turn: TypeAlias = Sequence[ChatMessage]
Count = Callable[[Sequence[ChatMessage]], int]

REPLY_SHARE = 4  # a quarter of the context is kept free for the reply,
REPLY_MOST = 1024  # up to this many tokens
REFILL = 0.75  # turns leave until this share of the room is used, so that they leave rarely


@dataclass(frozen=True, slots=True)
class ContextWindow:
    """The messages of one prompt.

    Args:
        messages: System message and the turns kept, oldest first.
        first: The turn that the window begins with; of those before it only pinned ones are in.
        left_out: The turns that are not in it.
        tokens: Of the prompt; infinite where it is too long to be counted.
    """

    messages: tuple[ChatMessage, ...]
    first: int
    left_out: tuple[int, ...] = ()
    tokens: float = 0


def reply_reserve(context: int, max_tokens: int) -> int:
    """Tokens to keep free for the reply in a context of ``context`` tokens; at least one."""
    share = min(REPLY_MOST, context // REPLY_SHARE)
    return max(1, min(max_tokens, context // 2)) if max_tokens >= 0 else share


def fit_window(
    system: Sequence[ChatMessage],
    turns: Sequence[Sequence[ChatMessage]],
    *,
    room: int,
    count: Count,
    first: int = 0,
    pinned: Collection[int] = (),
) -> ContextWindow:
    """Leave the oldest whole turns out until the prompt fits.

    The system message, the pinned turns and the last one always stay, even where they do not fit.
    Once turns must leave, a quarter of the room is freed
    at once: each time they do, the KV cache is read again from there.

    Args:
        system: The system message, or nothing.
        turns: Each a question with its reply; the last is the new one.
        room: Tokens that the prompt may have.
        count: Exact tokens of a prompt.
        first: The turn that the window began with the last time; those before it stay out.
        pinned: Turns that stay, as places in ``turns``.
    """

    def messages(first: int) -> tuple[ChatMessage, ...]:
        return (
            *system,
            *(message for turn in window_turns(turns, first, pinned) for message in turn),
        )

    def size(first: int) -> float:
        try:
            return count(messages(first))
        except DoesNotFit:
            return math.inf

    last = len(turns) - 1
    first = min(first, last)
    tokens = size(first)
    if tokens > room:
        # The prompt only gets shorter with each turn that leaves, so the place can be bisected.
        goal = room * REFILL
        first = bisect_left(range(last), -goal, lo=min(first + 1, last), key=lambda n: -size(n))
        tokens = size(first)
    left_out = tuple(n for n in range(first) if n not in pinned)
    return ContextWindow(messages(first), first, left_out, tokens)


def window_turns(turns: Sequence[Turn], first: int, pinned: Collection[int]) -> list[Turn]:
    """The turns of a window that begins with ``first``."""
    return [turn for place, turn in enumerate(turns) if place >= first or place in pinned]
