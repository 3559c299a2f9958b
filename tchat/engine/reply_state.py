"""One reply while it is generated: sampler, text so far, and why it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from tchat.engine.context import Context
from tchat.engine.events import (
    HiddenStates,
    Notice,
    Reason,
    ReasoningDelta,
    ReplyDelta,
    TextDelta,
    ToolCallStarted,
)
from tchat.engine.kv_cache import text_decoder
from tchat.engine.loading import LoadedModel
from tchat.engine.prompt.encoder import EncodedPrompt
from tchat.engine.prompt.message_formats import PieceKind, ReplyPhase
from tchat.engine.prompt.reasoning import ReasoningSplitter, ReplyMarks
from tchat.engine.sampling import Sampler
from tchat.settings import Sampling
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.engine.loop_guard import LoopGuard
    from tchat.engine.scoring import FinalStates
    from tchat.engine.tool_reply import CallGrammar, ReplyReader, ToolReplies

ASKED_WITHIN = 300  # tokens at the end of the prompt that may ask to repeat something
ASKED_TOKENS = 1500  # and how long that may be repeated
GUARDED_FROM = 60  # tokens; a shorter text is no loop, and the guard is not even imported


class ReplyState:
    """One reply: its sampler, its text so far, and why it ended. Close it.

    Args:
        loaded: The model that writes it.
        prompt: What it answers.
        prefilled: The prompt's tokens as they are in the KV cache.
        sampling: How tokens are drawn.
        seed: Seed of the sampler.
        scored: Whether to compute ``log_probability``, which takes 0.1 ms a token.
        states: Whether to collect ``hidden_states``; the context has to compute them.
        tools: How it is read where it may call tools.
        continues: Whether it goes on with an answer that the prompt ends in.

    Attributes:
        output: Its answer and reasoning so far.
        reason: Why it ended; None while it goes on.
        written: Tokens of the reply.
        reasoned: How many of them are reasoning.

    Raises:
        UsageError: The sampling cannot be carried out.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        prompt: EncodedPrompt,
        prefilled: Sequence[int],
        sampling: Sampling,
        seed: int,
        *,
        scored: bool = False,
        states: bool = False,
        tools: ToolReplies | None = None,
        continues: bool = False,
    ) -> None:
        self._states: FinalStates | None = None
        self._scores: list[float] | None = [] if scored else None
        if states:
            from tchat.engine.scoring import FinalStates

            self._states = FinalStates()
        self._score = 0.0  # of the token drawn last
        self._model = loaded.model
        self._limit = loaded.context.size - len(prefilled)
        if sampling.max_tokens >= 0:
            self._limit = min(self._limit, sampling.max_tokens)
        # A grammar describes the answer, from its first token on.
        marks = ReplyMarks() if sampling.grammar else loaded.template.marks
        phase = ReplyPhase.ANSWER if sampling.grammar else prompt.phase
        stops = (*sampling.stop, *prompt.stops)
        specials = self._model.special_strings() | self._model.user_defined_strings()
        reader = tools.reader(prompt.text, continues) if tools is not None else None
        self._marks = marks.controls(specials) if reader is None else specials
        self.output = ReplyText(
            marks,
            phase,
            stops,
            prompt.unfinished,
            only_tokens=reader is None and marks.are_tokens(specials),
            reader=reader,
        )
        self._sampler = Sampler(self._model, sampling, seed=seed, prompt=prefilled)
        self._call_grammar: CallGrammar | None = None
        if tools is not None and reader is not None:
            from tchat.engine.tool_reply import CallGrammar

            ends_reply = tools.ends_with_grammar
            try:
                self._call_grammar = CallGrammar(self._sampler, reader, ends_reply=ends_reply)
            except BaseException:
                self._sampler.close()
                raise
        # What the user's grammar allows may repeat itself, and has to end as the grammar says.
        is_guarded = sampling.loop_guard and not sampling.grammar
        self._guard = ReplyGuard(self.output, self._prompt_end) if is_guarded else None
        self._prefilled = prefilled
        self.seed = seed
        self.written = self.reasoned = self._called = 0
        self.reason: Reason | None = None if self._limit > 0 else Reason.LENGTH

    def _prompt_end(self) -> str:
        pieces = map(self._model.piece, self._prefilled[-ASKED_WITHIN:])
        return b"".join(pieces).decode("utf-8", "replace")

    def close(self) -> None:
        """Free the sampler. Closing twice is harmless."""
        self._sampler.close()

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What the user should know about the reply at its end."""
        if self._call_grammar is not None or self.output.text or not self.output.called_tool:
            return ()
        text = tr("the model called a tool instead of answering, and there is none")
        return (Notice("tool", text),)

    @property
    def tokens_left(self) -> int:
        """Tokens that it may still have."""
        return self._limit - self.written

    def draw(self, context: Context, row: int = -1) -> int:
        """Draw the next token from the ``row``-th output row of the last decode."""
        if self._states is not None and self.written > self.reasoned:
            self._states.add(context, row)
        token = self._sampler.sample(context, row)
        if self._scores is not None:
            self._score = context.log_probability(row, token)
        return token

    def append(self, token: int) -> list[ReplyDelta]:
        """Add a drawn token; returns its events, and sets ``reason`` if the reply ends with it."""
        if self._model.ends_reply(token):
            self.reason = Reason.STOP
            return []
        self.written += 1
        if self._scores is not None:
            self._scores.append(self._score)
        in_reasoning = self.output.in_reasoning
        self.reasoned += in_reasoning
        if self._states is not None and not in_reasoning:
            self._states.add_token(token)
        piece = self._model.piece(token)
        mark = bool(self._marks) and piece.decode("utf-8", "replace") in self._marks
        # Control tokens have no text, unless they mark something.
        shown = piece if mark or not self._model.is_control(token) else b""
        events = self.output.feed(shown, mark=mark)
        if self._call_grammar is not None:
            self._call_grammar.update()
        if self.output.stopped:
            self.reason = Reason.STOP
        elif self._is_looping(token, shown):
            self.reason = Reason.LOOP
        elif self.written >= self._limit:
            self.reason = Reason.LENGTH
        return events

    def take_calls(self) -> Iterator[ToolCallStarted]:
        """The calls that began since the last time."""
        names, self.output.calls = self.output.calls, []
        for name in names:
            yield ToolCallStarted(self._called, name)
            self._called += 1

    def _is_looping(self, token: int, shown: bytes) -> bool:
        """Whether it repeats itself; then its text is cut."""
        if self._guard is None or not self._guard.feed(token, shown):
            return False
        self._guard.cut()
        return True

    def stop(self, reason: Reason) -> None:
        """End it where it is, unless it has ended."""
        self.reason = self.reason or reason

    @property
    def log_probability(self) -> float | None:
        """Mean log-probability of its tokens without the end token; None without tokens.

        By the model's own distribution, whatever the sampling.
        """
        return sum(self._scores) / len(self._scores) if self._scores else None

    @property
    def hidden_states(self) -> HiddenStates | None:
        """The hidden states of the answer; None where they were not collected, or are none."""
        return self._states.mean if self._states else None


class ReplyGuard:
    """Detects loops in the reasoning and in the answer, each on its own.

    An answer may repeat its reasoning. Words that the prompt asks to repeat may be repeated for
    `ASKED_TOKENS` tokens, but not in a call; ``prompt_end`` gives its last text.
    """

    def __init__(self, output: ReplyText, prompt_end: Callable[[], str]) -> None:
        self._output = output
        self._prompt_end = prompt_end
        self._allowed = 0  # length of the part up to which it may loop
        self._begin()

    def _begin(self) -> None:
        self._in_reasoning = self._output.in_reasoning
        self._guard: LoopGuard | None = None
        self._first: list[tuple[int, bytes]] = []
        self._lengths = [self._output.length]

    def feed(self, token: int, piece: bytes) -> bool:
        """Add a token whose text ``output`` has; returns whether the reply loops."""
        if self._output.in_reasoning is not self._in_reasoning:
            self._begin()
        self._lengths.append(self._output.length)
        if self._guard is not None:
            return self._guard.feed(token, piece) and not self._is_asked(self._guard)
        self._first.append((token, piece))
        if len(self._first) >= GUARDED_FROM:
            from tchat.engine.loop_guard import LoopGuard

            self._guard = LoopGuard()
            for each in self._first:
                self._guard.feed(*each)
        return False

    def _is_asked(self, guard: LoopGuard) -> bool:
        if self._output.is_calling:
            return False
        if len(self._lengths) >= self._allowed:
            if self._allowed or not guard.repeats_what_is_asked(self._prompt_end()):
                return False
            self._allowed = len(self._lengths) + ASKED_TOKENS
        return True

    def cut(self) -> None:
        """Cut the text before the second round of the loop that `feed` found."""
        if self._guard is not None:
            self._output.cut(self._lengths[self._guard.second_round])


# Stands in for "<" where it is text and no part of a mark. No text contains it: Unicode reserves
# it for internal use.
_HIDE = str.maketrans("<", "\U0010fffe")
_SHOW = str.maketrans("\U0010fffe", "<")


class StopFilter:
    """Passes text on up to the first stop string; holds back what may begin one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._pending = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """The text that can be shown now."""
        if self.stopped:
            return ""
        if not self._stops:
            return text
        text = self._pending + text
        found = [position for stop in self._stops if (position := text.find(stop)) >= 0]
        if found:
            self.stopped, self._pending = True, ""
            return text[: min(found)]
        keep = max(_overlap(text, stop) for stop in self._stops)
        self._pending = text[len(text) - keep :]
        return text[: len(text) - keep]

    def close(self) -> str:
        """The text held back, which was no stop string after all."""
        pending, self._pending = self._pending, ""
        return pending


def _overlap(text: str, stop: str) -> int:
    """Length of the longest suffix of ``text`` that begins ``stop``."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


class ReplyText:
    """Turns the tokens of a reply into answer and reasoning, up to a stop string in the answer.

    It starts in ``phase``, inside a character whose first bytes are ``unfinished``. With
    ``only_tokens``, marks are tokens, and the same letters written as text are text. A ``reader``
    reads it in place of ``marks``, and tells of calls.
    """

    def __init__(
        self,
        marks: ReplyMarks,
        phase: ReplyPhase,
        stops: Sequence[str],
        unfinished: bytes = b"",
        *,
        only_tokens: bool = False,
        reader: ReplyReader | None = None,
    ) -> None:
        self._only_tokens = only_tokens
        self._decoder = text_decoder()
        self._decoder.decode(unfinished)
        self._reader = reader
        self._splitter = reader or ReasoningSplitter(marks, phase)
        self.calls: list[str] = []  # the tools whose calls began since this was last taken
        self._filter = StopFilter(stops)
        self._tokens = 0  # since the last event
        self._answer: list[str] = []
        self._reasoning: list[str] = []
        self._answered = self._reasoned = 0  # characters
        self._is_cut = False

    @property
    def stopped(self) -> bool:
        """Whether a stop string was reached."""
        return self._filter.stopped

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._answer)

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._reasoning)

    @property
    def length(self) -> int:
        """Characters of the answer so far, or of the reasoning while that goes on."""
        return self._reasoned if self.in_reasoning else self._answered

    @property
    def unfinished(self) -> bytes:
        """The first bytes of a character that the reply was cut in, which no text contains."""
        return b"" if self.stopped or self._is_cut else self._decoder.getstate()[0]

    @property
    def called_tool(self) -> bool:
        """Whether the model called a tool; the call is no part of the text."""
        return self._splitter.called

    @property
    def is_calling(self) -> bool:
        """Whether the model is writing a call, to the ``reader``."""
        return self._reader is not None and self._reader.is_calling

    @property
    def in_reasoning(self) -> bool:
        """Whether the model is reasoning now."""
        return self._splitter.phase is ReplyPhase.REASONING

    def feed(self, data: bytes, *, mark: bool = False) -> list[ReplyDelta]:
        """Add the bytes of the next token, which may be a ``mark``."""
        self._tokens += 1
        text = self._decoder.decode(data)
        if not text:
            return []
        if self._only_tokens and not mark:
            text = text.translate(_HIDE)
        return self._events(self._splitter.feed(text))

    def cut(self, start: int) -> None:
        """Keep what is before ``start`` of the answer, or of the reasoning while that goes on.

        The sentence that begins before it is completed. Nothing more is shown.
        """
        from tchat.engine.loop_guard import round_end

        self._is_cut = True
        pieces = self._reasoning if self.in_reasoning else self._answer
        text = "".join(pieces)
        pieces[:] = [text[: round_end(text, start)]]

    def close(self) -> list[ReplyDelta]:
        """Release the text held back; an incomplete character is dropped."""
        if self._is_cut:
            return []
        events = self._events(self._splitter.close())
        if rest := self._filter.close():
            self._answer.append(rest)
            events.append(TextDelta(rest, self._take_tokens()))
        return events

    def _events(self, pieces: Iterable[tuple[PieceKind, str]]) -> list[ReplyDelta]:
        events: list[ReplyDelta] = []
        for kind, piece in pieces:
            text = piece.translate(_SHOW) if self._only_tokens else piece
            if kind is PieceKind.ANSWER:
                if text := self._filter.feed(text):
                    self._answer.append(text)
                    self._answered += len(text)
                    events.append(TextDelta(text, self._take_tokens()))
            elif kind is PieceKind.REASONING and not self.stopped:
                self._reasoning.append(text)
                self._reasoned += len(text)
                events.append(ReasoningDelta(text, self._take_tokens()))
            elif kind is PieceKind.CALL:
                self.calls.append(text)
        return events

    def _take_tokens(self) -> int:
        tokens, self._tokens = self._tokens, 0
        return tokens
