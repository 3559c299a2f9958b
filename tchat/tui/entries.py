"""Stored messages as entries of the transcript."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tchat.chat.attachments import split_attachments
from tchat.models.files import short_model_name
from tchat.sessions.records import Message, Role
from tchat.tui.widgets.transcript.entry import Entry


def entries_of(branch: Sequence[Message], positions: Mapping[int, tuple[int, int]]) -> list[Entry]:
    """One entry for each message; ``positions`` tells which of how many siblings it is."""
    return [entry_of(message, positions.get(message.id, (1, 1))) for message in branch]


def entry_of(message: Message, sibling: tuple[int, int] = (1, 1)) -> Entry:
    """The entry of one message; files that were put in front are named only."""
    usage = message.usage
    files, text = (
        split_attachments(message.text) if message.role is Role.USER else ([], message.text)
    )
    return Entry(
        key=message.id,
        role=message.role.value,
        text=text,
        reasoning=message.reasoning,
        status=message.status.value,
        created_at=message.created_at,
        tokens=usage.get("completion"),
        reasoning_tokens=usage.get("reasoning"),
        sibling=sibling,
        pinned=message.pinned,
        rating=message.rating,
        by_person=message.by_person,
        scores=tuple(message.scores.items()),
        attachments=tuple(files),
        label=short_model_name(message.model),
    )
