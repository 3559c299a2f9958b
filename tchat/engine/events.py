"""What the engine says while it works: frozen events, in this order.

``LoadProgress* → CacheRestored? → PromptProgress+ → (Token | Reasoning)* → Finished``, with a
`Notice` anywhere between; from a chat, `MessageStored` before `CacheRestored`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy


class Reason(StrEnum):
    """Why a reply ended."""

    STOP = "stop"  # the model's end token, a stop string, or the end of the grammar
    LENGTH = "length"  # max_tokens, or the context is full
    CANCELLED = "cancelled"  # the user stopped it


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """The model is being loaded; ``progress`` is 0..1."""

    model: str
    progress: float


@dataclass(frozen=True, slots=True)
class CacheRestored:
    """A part of the prompt was taken from disk instead of reading it.

    ``tokens`` took ``seconds`` and saved ``saved`` seconds of reading, 0 where the speed of
    reading is not known yet.
    """

    tokens: int
    seconds: float
    saved: float


@dataclass(frozen=True, slots=True)
class PromptProgress:
    """The prompt is being read into the KV cache.

    ``done`` of ``total`` tokens are in the cache, ``reused`` of them were there before.
    """

    done: int
    total: int
    reused: int


@dataclass(frozen=True, slots=True)
class MessageStored:
    """The session has a row for the question and one for the reply to come, with these ids."""

    question: int
    reply: int


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the answer: whole characters of one or more tokens. ``text`` is raw."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of the model's reasoning, which is not part of the answer. ``text`` is raw."""

    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know and that is no failure.

    ``kind`` is one of ``template``, ``system``, ``think``, ``context``, ``window``, ``tool``,
    ``judge``: the result is another than was asked for; ``model``, ``reread``, ``price``: it takes
    longer; ``storage``: it is not kept.
    """

    kind: str
    text: str

    @property
    def is_about_time(self) -> bool:
        """Whether the result is the same, and only later."""
        return self.kind in ("model", "reread", "price")

    @property
    def is_failure(self) -> bool:
        """Whether something is lost."""
        return self.kind == "storage"


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one reply.

    ``prompt`` counts all of the prompt, reused and read; ``restored`` are those reused that came
    from disk. ``right`` of ``guessed`` tokens were decoded ahead of their turn and stayed.
    """

    prompt: int
    reused: int
    read: int
    completion: int
    reasoning: int = 0
    restored: int = 0
    guessed: int = 0
    right: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall-clock seconds of one reply."""

    load: float
    read: float
    write: float
    restore: float = 0.0

    @staticmethod
    def rate(tokens: int, seconds: float) -> float:
        """Tokens a second; 0 when nothing was measured."""
        return tokens / seconds if seconds > 0 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class HiddenStates:
    """What the model made of a reply while it wrote it.

    ``state`` is the one behind the final norm, averaged over the answer's tokens, shape (width,);
    ``tokens`` are these.
    """

    state: numpy.ndarray[Any, numpy.dtype[numpy.float32]]
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """The reply is complete; always the last event.

    ``text`` and ``reasoning`` are the whole of the pieces streamed before, ``seed`` the one drawn
    or given. ``log_probability`` is the mean over the reply's tokens, of a candidate; ``observed``
    comes where it was asked for. ``unfinished`` are the first bytes of a character that the reply
    was cut in: no text holds them, and a reply that is continued goes on behind them.
    """

    reason: Reason
    text: str
    reasoning: str
    seed: int
    usage: Usage
    timings: Timings
    log_probability: float | None = None
    observed: HiddenStates | None = None
    unfinished: bytes = b""


@dataclass(frozen=True, slots=True)
class CandidateEvent:
    """Something of one of several replies that are written side by side, counted from 0."""

    index: int
    event: MessageStored | Token | Reasoning | Finished


@dataclass(frozen=True, slots=True)
class Ranked:
    """Candidates were put into order.

    ``scores`` are pairs of index and score, the best first; ``judge`` says what gave them.
    """

    judge: str
    scores: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class LabelScores:
    """One of fixed replies was chosen.

    ``probabilities`` are pairs of label and probability, the likeliest first; they sum to 1.
    """

    probabilities: tuple[tuple[str, float], ...]


Event: TypeAlias = (
    LoadProgress
    | MessageStored
    | CacheRestored
    | PromptProgress
    | Token
    | Reasoning
    | Notice
    | LabelScores
    | CandidateEvent
    | Ranked
    | Finished
)
