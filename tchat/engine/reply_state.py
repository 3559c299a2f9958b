"""One reply while it is written: tokens are drawn, become text, and come to an end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tchat.engine.context import Context
from tchat.engine.events import HiddenStates, Notice, Reason, Reasoning, Token
from tchat.engine.loading import LoadedModel
from tchat.engine.prompt.reasoning import ReplyMarks, ReplyPhase
from tchat.engine.prompt.tokenization import EncodedPrompt
from tchat.engine.reply import ReplyText
from tchat.engine.sampling import Sampler
from tchat.engine.states import FinalStates
from tchat.settings import Sampling


class ReplyState:
    """One reply: its sampler, its text so far, and why it ended. Close it.

    Args:
        loaded: The model that writes it.
        prompt: What it answers.
        read: The prompt's tokens as they stand in the KV cache.
        sampling: How tokens are drawn.
        seed: Of the draw.
        scored: Whether ``log_probability`` is wanted, which takes 0.1 ms a token.
        states: Whether ``observed`` is wanted; the context has to give states then.

    Attributes:
        reason: Why it ended; None while it goes on.
        written: Tokens of the reply.
        reasoned: How many of them were reasoning.
        seed: Of the draw.

    Raises:
        UsageError: The sampling cannot be carried out.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        prompt: EncodedPrompt,
        read: Sequence[int],
        sampling: Sampling,
        seed: int,
        *,
        scored: bool = False,
        states: bool = False,
    ) -> None:
        self._states = FinalStates(loaded.model.shape.n_embd) if states else None
        self._scores: list[float] | None = [] if scored else None
        self._score = 0.0  # of the token drawn last
        self._model = loaded.model
        self._limit = loaded.context.size - len(read)
        if sampling.max_tokens >= 0:
            self._limit = min(self._limit, sampling.max_tokens)
        # A grammar describes the answer, from its first token on.
        marks = ReplyMarks() if sampling.grammar else loaded.template.marks
        phase = ReplyPhase.ANSWER if sampling.grammar else prompt.phase
        stops = (*sampling.stop, *prompt.stops)
        known = self._model.special_strings() | self._model.user_defined_strings()
        self._marks = marks.controls(known)
        self._reply = ReplyText(
            marks, phase, stops, prompt.unfinished, only_tokens=marks.are_tokens(known)
        )
        self._sampler = Sampler(self._model, sampling, seed=seed, prompt=read)
        self.seed = seed
        self.written = self.reasoned = 0
        self.reason: Reason | None = None if self._limit > 0 else Reason.LENGTH

    def close(self) -> None:
        """Free the sampler. Closing twice is harmless."""
        self._sampler.close()

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._reply.text

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return self._reply.reasoning

    @property
    def unfinished(self) -> bytes:
        """The bytes so far of a character that the reply was cut in."""
        return self._reply.unfinished

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What is to be said of the reply at its end."""
        if self.text or not self._reply.called:
            return ()
        text = "the model called a tool instead of answering, and there is none"
        return (Notice("tool", text),)

    @property
    def left(self) -> int:
        """Tokens that it may still have."""
        return self._limit - self.written

    def draw(self, context: Context, row: int = -1) -> int:
        """Draw the next token from the ``row``-th output row of the last decode."""
        if self._states is not None and self.written > self.reasoned:
            self._states.add(context, row)
        token = self._sampler.sample(context, row)
        if self._scores is not None:
            self._score = log_probability(context, row, token, self._model.shape.n_vocab)
        return token

    def take(self, token: int) -> Iterator[Token | Reasoning]:
        """Add a token that was drawn; sets ``reason`` when the reply ends with it."""
        if self._model.ends_reply(token):
            self.reason = Reason.STOP
            return
        self.written += 1
        if self._scores is not None:
            self._scores.append(self._score)
        self.reasoned += self._reply.in_reasoning
        if self._states is not None and not self._reply.in_reasoning:
            self._states.note(token)
        piece = self._model.piece(token)
        mark = bool(self._marks) and piece.decode("utf-8", "replace") in self._marks
        # Control tokens have no text, unless they mark something.
        shown = piece if mark or not self._model.is_control(token) else b""
        yield from self._reply.feed(shown, mark=mark)
        if self._reply.stopped:
            self.reason = Reason.STOP
        elif self.written >= self._limit:
            self.reason = Reason.LENGTH

    def stop(self, reason: Reason) -> None:
        """End it where it is, unless it has ended."""
        self.reason = self.reason or reason

    @property
    def log_probability(self) -> float | None:
        """Mean natural logarithm of the probabilities of its tokens, without its end mark.

        By the model's own distribution, whatever the sampling. None where there is none.
        """
        return sum(self._scores) / len(self._scores) if self._scores else None

    @property
    def observed(self) -> HiddenStates | None:
        """What the model made of the answer; None where that was not wanted, or is nothing."""
        return self._states.observed if self._states else None

    def end(self) -> Iterator[Token | Reasoning]:
        """Let go of the text that was held back."""
        yield from self._reply.close()


def log_probability(context: Context, row: int, token: int, vocabulary: int) -> float:
    """Natural logarithm of a token's probability by the ``row``-th output of the last decode."""
    import numpy

    logits = numpy.ctypeslib.as_array(context.logits(row), shape=(vocabulary,))
    shifted = logits - logits.max()
    own = shifted[token]
    return float(own - numpy.log(numpy.exp(shifted, out=shifted).sum()))
