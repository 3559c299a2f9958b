"""The engine's events: frozen. Each call of the engine or of a chat yields them in this order.

Every call: ``LoadProgress* → MessageStored? → CacheRestored? → PromptProgress+``. Then:

- generate: ``(TextDelta | ReasoningDelta)* → Ranked? → Finished``
- candidates: ``CandidateEvent(TextDelta | ReasoningDelta | Finished)* → Ranked?``
- choose: ``LabelScores? → Finished``; no scores where it was stopped

A turn with tools has several replies. Each but the last ends in ``StepFinished``, and the calls of
that follow: ``(TextDelta | ReasoningDelta | ToolCallStarted)* → StepFinished → ToolStep* →
MessageStored → PromptProgress+ → …``. Its one `Finished` ends the turn.

Only a chat yields `MessageStored`, within a `CandidateEvent` for each candidate, and `Ranked`.
A `Notice` comes anywhere between or at the end. A call that was stopped before the first token
ends in a plain `Finished`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    import numpy


class Reason(StrEnum):
    """Why a reply ended."""

    STOP = "stop"  # the model's end token, a stop string, or the end of the grammar
    LENGTH = "length"  # max_tokens, or the context is full
    LOOP = "loop"  # it began to repeat itself; its text ends before the second round
    CANCELLED = "cancelled"  # the user stopped it
    TOOL_CALLS = "tool_calls"  # it called tools


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """The model is being loaded; ``progress`` is from 0 to 1."""

    model: str
    progress: float


@dataclass(frozen=True, slots=True)
class CacheRestored:
    """``tokens`` of the prompt were restored from disk.

    ``saved`` is the seconds of prefill that this saved; 0 where that is unknown.
    """

    tokens: int
    seconds: float
    saved: float


@dataclass(frozen=True, slots=True)
class PromptProgress:
    """``done`` of ``total`` tokens are in the KV cache; ``reused`` of them were there before."""

    done: int
    total: int
    reused: int


@dataclass(frozen=True, slots=True)
class MessageStored:
    """The session has rows for the question and for the reply to come, with these ids.

    In a turn with tools, ``question`` is the message that the reply follows: perhaps a result.
    """

    question: int
    reply: int


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer: whole characters, not sanitized.

    ``tokens`` are those of the reply since the last piece: a character may take several, and text
    that may begin a stop string is held back.
    """

    text: str
    tokens: int = 1


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the reasoning, which is no part of the answer; otherwise as `TextDelta`."""

    text: str
    tokens: int = 1


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """The model writes a call of the tool ``name``, the ``index``-th of its reply."""

    index: int
    name: str


ReplyDelta: TypeAlias = TextDelta | ReasoningDelta


# Kinds of notices about the prefill cost, as ``--json`` prints them: before and after prefill.
PREFILL_COST, PREFILL_TIME = "price", "reloaded"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know, and no error.

    ``kind`` is one of ``template``, ``system``, ``think``, ``context``, ``window``, ``tool``,
    ``judge``, ``length``, ``loop``, ``sampling``, ``redaction``: the result is not what was asked
    for; ``model``, ``reread``, ``price``, ``reloaded``: it takes longer; ``storage``: it is not
    saved.
    """

    kind: str
    text: str

    @property
    def is_about_time(self) -> bool:
        """Whether only the time differs, and not the result."""
        return self.kind in ("model", "reread", PREFILL_COST, PREFILL_TIME)

    @property
    def is_failure(self) -> bool:
        """Whether something is lost."""
        return self.kind == "storage"


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Token counts of one reply.

    Args:
        prompt: All of the prompt, cached and prefilled.
        reused: Tokens that were cached.
        prefilled: Tokens that were prefilled.
        completion: Tokens of the reply.
        reasoning: How many of these are reasoning.
        restored: How many of ``reused`` came from disk.
        drafted: Tokens drafted by speculative decoding.
        accepted: How many of these were accepted.
    """

    prompt: int
    reused: int
    prefilled: int
    completion: int
    reasoning: int = 0
    restored: int = 0
    drafted: int = 0
    accepted: int = 0

    def as_json(self) -> dict[str, int]:
        """With the keys of stored sessions and JSON output."""
        return {
            "prompt": self.prompt,
            "reused": self.reused,
            "read": self.prefilled,
            "completion": self.completion,
            "reasoning": self.reasoning,
            "restored": self.restored,
            "guessed": self.drafted,
            "right": self.accepted,
        }


LEAST_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall-clock seconds of one reply."""

    load: float
    prefill: float
    decode: float
    restore: float = 0.0

    def as_json(self) -> dict[str, float]:
        """With the keys of stored sessions and JSON output."""
        return {
            "load": self.load,
            "read": self.prefill,
            "write": self.decode,
            "restore": self.restore,
        }

    @staticmethod
    def rate(tokens: int, seconds: float) -> float:
        """Tokens per second; 0 when nothing was measured, or in too short a time to tell."""
        return tokens / seconds if seconds >= LEAST_SECONDS else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class HiddenStates:
    """The state behind the final norm, averaged over the answer's ``tokens``; shape (n_embd,)."""

    state: numpy.ndarray[Any, numpy.dtype[numpy.float32]]
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a reply.

    Args:
        reason: Why it ended.
        text: The whole answer; shorter than its pieces where it began to repeat itself.
        reasoning: The whole reasoning, likewise.
        seed: The seed given, or the one drawn.
        usage: Token counts.
        timings: Seconds.
        log_probability: Of a candidate, the mean over its tokens.
        hidden_states: Where they were asked for.
        unfinished: The first bytes of a character that the reply was cut in. No text contains them;
            a continued reply starts behind them.
        steps: At the end of a turn with tools, the replies that called before this one.
    """

    reason: Reason
    text: str
    reasoning: str
    seed: int
    usage: TokenUsage
    timings: Timings
    log_probability: float | None = None
    hidden_states: HiddenStates | None = None
    unfinished: bytes = b""
    steps: tuple[Finished, ...] = ()

    @property
    def turn_usage(self) -> TokenUsage:
        """The token counts of the turn: the sums over its replies."""
        return _summed([each.usage for each in (*self.steps, self)])

    @property
    def turn_timings(self) -> Timings:
        """The seconds of the turn that the model took: the sums over its replies."""
        return _summed([each.timings for each in (*self.steps, self)])


_Facts = TypeVar("_Facts", TokenUsage, Timings)


def _summed(facts: Sequence[_Facts]) -> _Facts:
    """Numbers, each the sum of those in its place."""
    first, *rest = facts
    if not rest:
        return first
    return type(first)(*map(sum, zip(*map(astuple, facts), strict=True)))


def empty_reply(seed: int = 0) -> Finished:
    """The end of a reply that was stopped before it began."""
    return Finished(Reason.CANCELLED, "", "", seed, TokenUsage(0, 0, 0, 0), Timings(0.0, 0.0, 0.0))


@dataclass(frozen=True, slots=True)
class StepFinished:
    """The end of a reply that called tools, within a turn that goes on.

    Text, usage and timings are those of this reply, as those of the last `Finished` are of the last
    reply; `Finished.turn_usage` and `Finished.turn_timings` are the sums.
    """

    finished: Finished


class StepState(StrEnum):
    """What becomes of a call of a tool."""

    ASKING = "asking"  # the user is asked
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # the tool failed, or the call was not possible
    REFUSED = "refused"  # by a rule, by the user, or as nobody could be asked
    STOPPED = "stopped"  # by the user


@dataclass(frozen=True, slots=True)
class ToolStep:
    """A call of a tool enters a state.

    Args:
        reply: Id of the reply that called.
        index: Place of the call among those of the reply.
        name: The tool, not sanitized.
        arguments: What it is called with.
        state: The new state; each after ``RUNNING`` is the last.
        content: What came of it, for the model, not sanitized.
        seconds: How long the tool took.
        message: Id of the result, once it is stored.
    """

    reply: int
    index: int
    name: str
    arguments: Mapping[str, Any]
    state: StepState
    content: str = ""
    seconds: float = 0.0
    message: int | None = None


@dataclass(frozen=True, slots=True)
class CandidateEvent:
    """An event of one of several candidates, counted from 0."""

    index: int
    event: MessageStored | ReplyDelta | Finished


@dataclass(frozen=True, slots=True)
class Ranked:
    """The candidates are ranked: pairs of index and score, the best first, by a ``ranker``."""

    ranker: str
    scores: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Pairs of label and probability, the likeliest first; they sum to 1."""

    probabilities: tuple[tuple[str, float], ...]


Event: TypeAlias = (
    LoadProgress
    | MessageStored
    | CacheRestored
    | PromptProgress
    | ReplyDelta
    | Notice
    | LabelScores
    | CandidateEvent
    | Ranked
    | ToolCallStarted
    | StepFinished
    | ToolStep
    | Finished
)
