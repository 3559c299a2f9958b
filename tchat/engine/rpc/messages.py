"""What the engine's child process and its parent say to each other, pickled.

The parent sends `EngineRequest`, one at a time, and meanwhile `Stop` and `EndCandidate`. The child
answers a request with events, and with `Done` or `Failed` at its end. It says `Alive` while it
works, and `Broken` before llama.cpp ends it. A reply that may call tools is read in the parent, so
the child sends a `ReaderCall` for each token, and waits for the `ReaderState`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tchat.engine.model import ModelShape
from tchat.engine.prompt import ChatMessage
from tchat.engine.prompt.message_formats import PieceKind, ReplyPhase
from tchat.engine.tool_reply import Hold

PROTECTED = "protected"  # an argument of the child: no other process may read its memory


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """A call of the method ``name``; ``number`` is one higher than that of the last."""

    number: int
    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stop:
    """End the request of this number early."""

    number: int


@dataclass(frozen=True, slots=True)
class EndCandidate:
    """End one of the candidates of a request early."""

    number: int
    index: int


@dataclass(frozen=True, slots=True)
class Done:
    """A request has ended; ``cached`` are the tokens in the KV cache."""

    value: Any
    cached: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """A request raised an error."""

    error: BaseException
    cached: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Alive:
    """A decode or another step of the loading has ended since the last message."""


@dataclass(frozen=True, slots=True)
class Broken:
    """llama.cpp ends the process, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class ReaderCall:
    """A call of the reader of the reply: ``open``, ``feed`` or ``close``."""

    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ReaderState:
    """What the reader of the reply to a request says after a call; see `ReplyReader`."""

    number: int
    pieces: tuple[tuple[PieceKind, str], ...]
    called: bool
    is_calling: bool
    phase: ReplyPhase
    hold: Hold | None


@dataclass(frozen=True, slots=True)
class LoadedFacts:
    """What a parent has to know of the loaded model."""

    context_size: int
    shape: ModelShape


@dataclass(frozen=True, slots=True)
class Messages:
    """A task's prompt, made before it was sent: `tchat.engine.batch.BatchTask` wants a function."""

    messages: tuple[ChatMessage, ...]

    def __call__(self) -> tuple[ChatMessage, ...]:
        """The messages."""
        return self.messages
