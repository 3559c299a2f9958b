"""The chunks of a streamed completion as events: text, reasoning, calls of tools, usage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tchat.engine.events import Reason, ReasoningDelta, ReplyDelta, TextDelta
from tchat.engine.prompt.reasoning import PieceKind, ReasoningSplitter, ReplyMarks, ReplyPhase

if TYPE_CHECKING:
    from tchat.redaction.outgoing import OutgoingRedaction, RestoredStream

MOST_CHARACTERS = 16 << 20  # of one reply
MOST_CALLS = 128
TAG = "think"  # around reasoning, where the server leaves it in the text


class ReplyTooLong(Exception):
    """A reply is longer than any that makes sense."""


@dataclass(slots=True)
class StreamedCall:
    """A call of a tool, as far as it came; ``arguments`` are JSON."""

    id: str = ""
    name: str = ""
    arguments: str = ""

    def as_text(self, redaction: OutgoingRedaction | None = None) -> str:
        """As a model writes it in the syntax of Hermes; what was redacted is put back."""
        name = json.dumps(self.name, ensure_ascii=False)
        arguments = self.arguments or "{}"
        if redaction is not None:
            arguments = redaction.restore_document(arguments)
        return f'<tool_call>{{"name": {name}, "arguments": {arguments}}}</tool_call>'


@dataclass(slots=True)
class Usage:
    """Token counts as the server tells them; None where it does not."""

    prompt: int | None = None
    cached: int | None = None
    completion: int | None = None
    reasoning: int | None = None
    prefill_seconds: float | None = None
    decode_seconds: float | None = None

    def update(self, chunk: Mapping[str, Any]) -> None:
        """Take what a chunk tells: ``usage``, and ``timings`` of llama.cpp."""
        usage = _mapping(chunk.get("usage"))
        self.prompt = _count(usage.get("prompt_tokens"), self.prompt)
        self.completion = _count(usage.get("completion_tokens"), self.completion)
        details = _mapping(usage.get("prompt_tokens_details"))
        self.cached = _count(details.get("cached_tokens"), self.cached)
        details = _mapping(usage.get("completion_tokens_details"))
        self.reasoning = _count(details.get("reasoning_tokens"), self.reasoning)
        timings = _mapping(chunk.get("timings"))
        self.cached = _count(timings.get("cache_n"), self.cached)
        self.prefill_seconds = _seconds(timings.get("prompt_ms"), self.prefill_seconds)
        self.decode_seconds = _seconds(timings.get("predicted_ms"), self.decode_seconds)


@dataclass(slots=True)
class ServerReply:
    """One choice while it streams.

    Attributes:
        text: The answer so far.
        reasoning: The reasoning so far.
        calls: Calls of tools, by their index.
        reason: Why it ended; None while it goes on.
        logprobs: Log-probabilities of its tokens.
        first_tokens: Alternatives for its first token, each with its log-probability.
        deltas: Pieces so far.
        redaction: Puts values back; None where nothing was redacted.
    """

    starts_in_answer: bool = False
    redaction: OutgoingRedaction | None = None
    calls: dict[int, StreamedCall] = field(default_factory=dict)
    reason: Reason | None = None
    logprobs: list[float] = field(default_factory=list)
    first_tokens: tuple[tuple[str, float], ...] = ()
    deltas: int = 0
    _answer: list[str] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)
    _length: int = 0
    _splitter: ReasoningSplitter | None = None
    _has_field: bool = False  # the server tells reasoning apart
    _restored: RestoredStream | None = None
    _restored_kind: PieceKind = PieceKind.ANSWER  # of the text that it holds back

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._answer)

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._reasoning)

    def feed(self, choice: Mapping[str, Any]) -> list[ReplyDelta]:
        """Add a chunk of it; returns its events.

        Raises:
            ReplyTooLong: It has become too long.
        """
        part = _mapping(choice.get("delta")) or _mapping(choice.get("message"))
        events: list[ReplyDelta] = []
        reasoning = part.get("reasoning_content") or part.get("reasoning")
        if isinstance(reasoning, str) and reasoning:
            self._has_field = True
            events += self._grown(PieceKind.REASONING, reasoning)
        content = part.get("content")
        if content is None:
            content = choice.get("text")
        if text := _text_of(content):
            for kind, piece in self._split(text):
                events += self._grown(kind, piece)
        calls = part.get("tool_calls")
        for place, call in enumerate(calls if isinstance(calls, list) else ()):
            self._add_call(place, _mapping(call))
        self._add_logprobs(_mapping(choice.get("logprobs")).get("content"))
        if isinstance(end := choice.get("finish_reason"), str) and end:
            self.reason = _REASONS.get(end, Reason.STOP)
        self.deltas += bool(events)
        return events

    def close(self) -> list[ReplyDelta]:
        """End it; returns the text held back."""
        pieces = self._splitter.close() if self._splitter else []
        events = [event for kind, piece in pieces for event in self._grown(kind, piece)]
        return events + self._released()

    @property
    def log_probability(self) -> float | None:
        """The mean over its tokens; None where the server gives none."""
        return sum(self.logprobs) / len(self.logprobs) if self.logprobs else None

    def _split(self, text: str) -> list[tuple[PieceKind, str]]:
        """Split reasoning off that stands in the text between tags."""
        if self._has_field:
            return [(PieceKind.ANSWER, text)]
        if self._splitter is None:
            phase = ReplyPhase.ANSWER if self.starts_in_answer else ReplyPhase.START
            self._splitter = ReasoningSplitter(ReplyMarks(tag=TAG), phase)
        return self._splitter.feed(text)

    def _grown(self, kind: PieceKind, piece: str) -> list[ReplyDelta]:
        if self.redaction is None:
            return self._added(kind, piece)
        events = self._released() if kind is not self._restored_kind else []
        if self._restored is None:
            from tchat.redaction.outgoing import RestoredStream

            self._restored = RestoredStream(self.redaction)
        self._restored_kind = kind
        restored = self._restored.feed(piece)
        return events + (self._added(kind, restored) if restored else [])

    def _released(self) -> list[ReplyDelta]:
        """What was held back as the beginning of a placeholder."""
        held = self._restored.close() if self._restored is not None else ""
        return self._added(self._restored_kind, held) if held else []

    def _added(self, kind: PieceKind, piece: str) -> list[ReplyDelta]:
        self._length += len(piece)
        if self._length > MOST_CHARACTERS:
            raise ReplyTooLong
        if kind is PieceKind.ANSWER:
            self._answer.append(piece)
            return [TextDelta(piece)]
        if kind is PieceKind.REASONING:
            self._reasoning.append(piece)
            return [ReasoningDelta(piece)]
        return []

    def _add_call(self, place: int, part: Mapping[str, Any]) -> None:
        index = part.get("index")
        if type(index) is not int or index < 0:
            index = self._index_without_one(place, part)
        if index not in self.calls and len(self.calls) >= MOST_CALLS:
            raise ReplyTooLong
        call = self.calls.setdefault(index, StreamedCall())
        function = _mapping(part.get("function"))
        arguments = function.get("arguments")
        if isinstance(arguments, Mapping):
            arguments = json.dumps(arguments, ensure_ascii=False)
        if isinstance(part.get("id"), str) and not call.id:
            call.id = part["id"]
        name = function.get("name")  # some servers repeat it with each piece
        if isinstance(name, str) and name != call.name and not call.arguments:
            call.name += name
        if isinstance(arguments, str):
            call.arguments += arguments
            self._length += len(arguments)
        if self._length > MOST_CHARACTERS:
            raise ReplyTooLong

    def _index_without_one(self, place: int, part: Mapping[str, Any]) -> int:
        """The index of a call whose server gives none: by its id, else by its place."""
        identity = part.get("id")
        if isinstance(identity, str) and identity:
            known = (index for index, call in self.calls.items() if call.id == identity)
            return next(known, max(self.calls, default=-1) + 1)
        return max(self.calls, default=place)

    def _add_logprobs(self, tokens: object) -> None:
        for token in map(_mapping, tokens if isinstance(tokens, list) else ()):
            logprob = token.get("logprob")
            if not isinstance(logprob, int | float):
                continue
            if not self.logprobs:
                likely = token.get("top_logprobs")
                pairs = map(_mapping, likely if isinstance(likely, list) else ())
                self.first_tokens = tuple(
                    (each["token"], float(each["logprob"]))
                    for each in (*pairs, token)
                    if isinstance(each.get("token"), str)
                    and isinstance(each.get("logprob"), int | float)
                )
            self.logprobs.append(float(logprob))


_REASONS = {
    "stop": Reason.STOP,
    "eos": Reason.STOP,
    "length": Reason.LENGTH,
    "max_tokens": Reason.LENGTH,
}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: object, before: int | None) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 40 else before


def _seconds(value: object, before: float | None) -> float | None:
    is_number = isinstance(value, int | float) and 0 <= value < 1e12
    return float(value) / 1000 if is_number else before  # type: ignore[arg-type]


def _text_of(content: object) -> str:
    """The text of ``content``: a text, or a list of parts."""
    if isinstance(content, str):
        return content
    parts = map(_mapping, content if isinstance(content, list) else ())
    return "".join(each["text"] for each in parts if isinstance(each.get("text"), str))
