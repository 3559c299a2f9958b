"""What the transcript shows: one message, notice or error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Key: TypeAlias = int | str
Role: TypeAlias = Literal["user", "assistant", "system", "notice", "error"]
Status: TypeAlias = Literal["streaming", "done", "stopped", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One message of the conversation, or something that tchat itself says in it.

    Attributes:
        key: Names the entry in the transcript; unique in it.
        role: Who speaks. Only an assistant's text is read as Markdown.
        text: What was said, raw: it is made safe to print when it is shown.
        reasoning: What the model thought before it spoke, raw.
        status: How far it got.
        created_at: Seconds since the epoch; None when it is not known.
        tokens: Tokens of text and reasoning together.
        reasoning_tokens: Tokens of the reasoning alone.
        sibling: Which of how many alternatives this is, from 1.
        pinned: Whether it stays in the context.
        rating: 1 where the user called it good, -1 for bad.
        by_person: Whether a person wrote this reply.
        scores: What judges gave it, by their names.
        attachments: Names of the files that go with it.
        label: Who speaks in more detail, for example the model.
        retry: Whether an error offers to try again.
    """

    key: Key
    role: Role
    text: str = ""
    reasoning: str = ""
    status: Status = "done"
    created_at: float | None = None
    tokens: int | None = None
    reasoning_tokens: int | None = None
    sibling: tuple[int, int] = (1, 1)
    pinned: bool = False
    rating: int = 0
    by_person: bool = False
    scores: tuple[tuple[str, float], ...] = ()
    attachments: tuple[str, ...] = ()
    label: str = ""
    retry: bool = True
