"""Frozen records of the store, with the enums of roles and states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypedDict

LAST_SECOND = 253_402_300_799  # of the year 9999: what can be shown as a date
LAST_ID = 2**53  # of a message; what JSON can carry


class Role(StrEnum):
    """The role of a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"  # what a tool call came to


class Status(StrEnum):
    """The state of a message."""

    STREAMING = "streaming"  # a process is writing it now
    DONE = "done"
    STOPPED = "stopped"  # the user stopped it
    INTERRUPTED = "interrupted"  # its process died, or the model or its server failed


class ToolState(StrEnum):
    """How a tool call ended."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"  # by the user or a rule
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that a model wrote; ``id`` tells the calls of one reply apart."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """What became of a call.

    Attributes:
        call_id: The id of the call.
        name: The tool.
        state: How it ended.
        decided_by: Who allowed or refused it; empty where nobody was asked.
        seconds: How long the tool ran.
    """

    call_id: str
    name: str
    state: ToolState
    decided_by: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A conversation.

    ``id`` is ten characters that sort by creation, except those of another program's chats, which
    come from what that calls them. ``settings`` holds this session's overrides of
    the sampling and of ``think``, as JSON values. ``messages`` counts the whole tree, not only the
    active path. Times are seconds since the epoch; ``updated_at`` is the last message's.
    """

    id: str
    title: str
    system: str
    created_at: float
    updated_at: float
    settings: Mapping[str, Any]
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A node of a session's tree, with what is needed to tell how it came about.

    ``text`` and ``reasoning`` are raw. ``model`` is the name or path as it was asked for,
    ``sampling`` holds the seed that was drawn, ``usage`` token counts, ``timings`` seconds. What
    is not known is empty. ``pinned``: it stays in the context window, whatever leaves it.
    ``unfinished`` holds the first bytes, in hexadecimal, of a character that the reply was cut in.

    ``tool_calls`` are what a reply called. Each result is a message of its own below it, of the
    role ``tool``, with its ``tool_outcome``; the next one hangs on that, then the reply that goes
    on.

    What the user made of a reply: ``rating`` is 1 for good, -1 for bad, 0 for nothing said;
    ``picked_at`` is when it was picked among the siblings that were there, 0 for never;
    ``by_person`` tells that a person wrote it. ``scores`` holds what the judges gave it.
    """

    id: int
    session_id: str
    parent_id: int | None
    role: Role
    text: str
    reasoning: str
    status: Status
    created_at: float
    model: str
    model_sha256: str
    quantization: str
    template_hash: str
    sampling: Mapping[str, Any]
    usage: Mapping[str, int]
    timings: Mapping[str, float]
    finish_reason: str
    pinned: bool = False
    rating: int = 0
    picked_at: float = 0.0
    by_person: bool = False
    scores: Mapping[str, float] = field(default_factory=dict)
    unfinished: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_outcome: ToolOutcome | None = None


class ReplyProvenance(TypedDict, total=False):
    """The fields of `Message` that say how it came about; all optional."""

    model: str
    model_sha256: str
    quantization: str
    template_hash: str
    sampling: Mapping[str, Any]
    usage: Mapping[str, int]
    timings: Mapping[str, float]
    finish_reason: str
    by_person: bool
    unfinished: str
    tool_calls: tuple[ToolCall, ...]
    tool_outcome: ToolOutcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTree:
    """A whole session with all its branches.

    ``messages`` has every parent before its children. ``active`` holds the ids that are the chosen
    one among their siblings.
    """

    session: Session
    messages: tuple[Message, ...]
    active: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedSession:
    """A session after an import, with the number of messages that were added to it.

    ``is_new``: it was not there before.
    """

    session: Session
    added: int
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit:
    """A message that a search found, or a session by its title; then ``message`` is None.

    ``snippet`` is a piece of the text on one line. ``spans`` are the places of the words in the
    snippet, ``(start, end)`` in characters, ascending and not overlapping. The snippet is raw: cut
    it at the spans first, then make the pieces printable.
    """

    session: Session
    message: Message | None
    snippet: str
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """A deletion, to undo it; ``root`` is None for a whole session."""

    session: Session
    root: int | None
    active_root: int | None
    used: int
    rows: tuple[Mapping[str, Any], ...]
