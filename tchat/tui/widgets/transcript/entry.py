"""One entry of the transcript: its data, and the format it is laid out in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from tchat.tui.widgets.transcript.lines import Palette

Key: TypeAlias = int | str
Role: TypeAlias = Literal["user", "assistant", "system", "tool", "notice", "error"]
Status: TypeAlias = Literal["streaming", "done", "stopped", "interrupted"]


@dataclass(frozen=True, slots=True)
class Step:
    """A call of a tool; what came of it is the text of its entry.

    Attributes:
        name: The tool, raw.
        arguments: As the model wrote them.
        state: ``writing``, or a value of `tchat.engine.events.StepState`.
        seconds: How long it took, or takes so far.
        sent_to: The host or server elsewhere that it is sent to, raw; empty on this machine.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    state: str = "done"
    seconds: float = 0.0
    sent_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A message of the conversation, a call of a tool, a notice, or an error.

    Attributes:
        key: Unique in the transcript.
        role: Who speaks; only an assistant's text is Markdown.
        text: The text, raw: it is made printable when it is shown.
        reasoning: The model's reasoning, raw.
        created_at: Seconds since the epoch; None if unknown.
        tokens: Tokens of text and reasoning together.
        reasoning_tokens: Tokens of the reasoning alone.
        sibling: Number of this sibling, from 1, and their count.
        pinned: Whether it stays in the context.
        rating: The user's: 1 for good, -1 for bad.
        by_person: Whether a person wrote this reply.
        scores: Name and score of each ranker.
        attachments: Names of the files sent with it.
        label: The short name of the model; empty if unknown.
        speed: Tokens a second that a reply was written at.
        seconds: How long a reply took, from the end of loading to its last token.
        retry: Whether an error offers to try again.
        step: What was called, where the text is the result of a tool.
        sent_to: The server elsewhere that wrote a reply, raw; empty on this machine.
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
    speed: float | None = None
    seconds: float | None = None
    retry: bool = True
    step: Step | None = None
    sent_to: str = ""


GUTTER = 2  # cells on the left, for the bars and the cursor
MARGIN = 1  # cells on the right
MEASURE = 96  # cells of the longest line of text
NARROWEST = 8  # cells of the shortest


@dataclass(frozen=True, slots=True)
class Format:
    """How entries are laid out.

    Attributes:
        width: Cells of the whole transcript.
        details: Whether to show speed, duration and time of each message.
        scores: Whether to show the judges' scores.
        roles: Whether a line above each message says who speaks.
    """

    palette: Palette
    width: int
    details: bool = False
    scores: bool = False
    roles: bool = True

    @property
    def cells(self) -> int:
        """Width of the text."""
        return max(NARROWEST, min(MEASURE, self.width - GUTTER - MARGIN))

    @property
    def left(self) -> int:
        """Cells left of the gutter, which put the text in the middle of a wide screen."""
        return max(0, (self.width - GUTTER - MARGIN - self.cells) // 2)
