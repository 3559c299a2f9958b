"""The turns of a chat, and ways to reshape them for templates that refuse some."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn. ``role`` is ``system``, ``user`` or ``assistant``; only a reply has reasoning.

    ``unfinished`` are the first bytes of a character that a reply was cut in, for going on.
    """

    role: str
    content: str
    reasoning: str = ""
    unfinished: bytes = b""


def system_in_user(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The chat with each system text at the head of the user turn after it."""
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
    """The chat with neighbours of one role joined, and a user turn first, empty if need be."""
    turns: list[ChatMessage] = []
    for message in messages:
        if not turns and message.role != "user":
            turns.append(ChatMessage("user", ""))
        if turns and turns[-1].role == message.role:
            joined = "\n\n".join(filter(None, (turns[-1].content, message.content)))
            turns[-1] = replace(message, content=joined)
        else:
            turns.append(message)
    return turns


def unused_character(texts: Iterable[str]) -> str:
    """A private-use character that none of ``texts`` contains.

    No filter of a template changes it: it has no case, is no whitespace, and JSON and HTML leave
    it as it is.

    Raises:
        ValueError: The texts contain all 65,534 candidates.
    """
    used = set().union(*texts)
    for code in range(0xF0000, 0xFFFFE):
        if chr(code) not in used:
            return chr(code)
    raise ValueError("every private-use character is in use")
