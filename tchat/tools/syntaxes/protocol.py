"""What a call syntax is: how a family of models writes tool calls, and how that is parsed.

A parser takes the text of a reply as it streams and gives back events. However the text is cut into
chunks, the events are the same once neighbouring pieces of text are joined (`joined`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

# Names of tools, with the JSON schemas of their parameters.
Schemas = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningPiece:
    """A piece of the reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A call whose tool is known while its arguments are still being written."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class CallFinished:
    """A call as a whole; ``id`` is the model's own, or empty."""

    index: int
    name: str
    arguments: dict[str, Any]
    id: str = ""


@dataclass(frozen=True, slots=True)
class CallBroken:
    """A call that cannot be read: ``raw`` is what the model wrote, ``reason`` is why."""

    index: int
    name: str
    raw: str
    reason: str


CallEvent = TextPiece | ReasoningPiece | CallStarted | CallFinished | CallBroken


class ReplyStart(Enum):
    """Where in a reply the text behind a prompt starts."""

    OPEN = "open"  # the model decides: reasoning, an answer or a call
    REASONING = "reasoning"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call that is being written.

    Attributes:
        name: Its tool; empty while that is not known.
        text: What is there of it, from the mark that begins it; or, where ``is_arguments``, of its
            arguments alone.
    """

    name: str
    text: str
    is_arguments: bool = False


class CallParser(Protocol):
    """Reads one reply as it streams."""

    @property
    def in_reasoning(self) -> bool:
        """Whether the model is reasoning."""
        ...

    @property
    def open_call(self) -> OpenCall | None:
        """The call that is being written; None between calls."""
        ...

    def feed(self, text: str) -> list[CallEvent]:
        """What ``text``, the next piece of the reply, completes."""
        ...

    def close(self) -> list[CallEvent]:
        """What remains at the end of the reply."""
        ...


class CallSyntax(Protocol):
    """How one model writes reasoning, answers and calls."""

    @property
    def name(self) -> str:
        """The family, as its makers call it."""
        ...

    @property
    def triggers(self) -> tuple[str, ...]:
        """Texts of which one begins every call: from there on a grammar may hold it."""
        ...

    @property
    def head_triggers(self) -> tuple[str, ...]:
        """Texts that begin a call at the head of a reply, and mean nothing elsewhere."""
        ...

    def start_after(self, prompt: str) -> ReplyStart:
        """Where a reply behind ``prompt`` starts: the prompt may open the reasoning."""
        ...

    def parser(self, tools: Schemas, start: ReplyStart = ReplyStart.OPEN) -> CallParser:
        """A parser of one reply to a prompt that offers ``tools``."""
        ...


def joined(events: Iterable[CallEvent]) -> list[CallEvent]:
    """The events with neighbouring pieces of text joined."""
    found: list[CallEvent] = []
    for event in events:
        last = found[-1] if found else None
        if isinstance(event, TextPiece) and isinstance(last, TextPiece):
            found[-1] = TextPiece(last.text + event.text)
        elif isinstance(event, ReasoningPiece) and isinstance(last, ReasoningPiece):
            found[-1] = ReasoningPiece(last.text + event.text)
        else:
            found.append(event)
    return found
