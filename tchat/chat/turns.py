"""A session's messages as the turns of a prompt."""

from __future__ import annotations

from collections.abc import Sequence

from tchat.chat.attachments import split_attachments
from tchat.engine.prompt.messages import ChatMessage
from tchat.sanitize import single_line
from tchat.sessions.records import Message, Role, Status

TITLE_LENGTH = 60  # characters


def group_turns(path: Sequence[Message]) -> list[list[ChatMessage]]:
    """Messages from the root to a question, each question together with its reply."""
    turns: list[list[ChatMessage]] = []
    for message in path:
        if message.role is Role.USER or not turns:
            turns.append([])
        turns[-1].append(ChatMessage(message.role.value, message.text, message.reasoning))
    return turns


def turn_starts(path: Sequence[Message]) -> list[int]:
    """Ids of the messages that the turns of `group_turns` begin with."""
    return [each.id for place, each in enumerate(path) if each.role is Role.USER or not place]


def pinned_turns(path: Sequence[Message]) -> frozenset[int]:
    """Which turns of `group_turns` have a message in them that is pinned."""
    places = {start: place for place, start in enumerate(turn_starts(path))}
    turns, turn = set(), 0
    for message in path:
        turn = places.get(message.id, turn)
        if message.pinned:
            turns.add(turn)
    return frozenset(turns)


def drop_unanswered(path: Sequence[Message]) -> list[Message]:
    """``path`` without the prompts that were stopped before any reply: the model reads none."""
    replied = {each.parent_id for each in path if each.role is Role.ASSISTANT}
    return [
        each
        for each in path
        if each.role is not Role.USER or each.status is not Status.STOPPED or each.id in replied
    ]


def title_for(prompt: str) -> str:
    """A title for a session that begins with ``prompt``: its first line with words in it.

    The files in front of it give the title, by their names, only where it has no words.
    """
    files, asked = split_attachments(prompt)
    lines = (line.strip("#*>-` \t") for line in asked.splitlines())
    first = next((line for line in lines if any(map(str.isalnum, line))), ", ".join(files))
    return single_line(first or prompt, limit=TITLE_LENGTH)


def left_out_text(path: Sequence[Message], turns: Sequence[int], context: int) -> str:
    """What the user is told when some of the oldest turns no longer go into the prompt."""
    start = turn_starts(path)[turns[0]]
    first = next((message.text for message in path if message.id == start), "")
    count = len(turns)
    which = f"the oldest {count:,} turns (from" if count > 1 else "the oldest turn ("
    return (
        f"the context of {context:,} tokens is full: {which} “{single_line(first, limit=40)}”) "
        f"{'are' if count > 1 else 'is'} left out of the prompt and kept in the session"
    )
