"""The state of one reply while it is generated: sampler, text so far, and why it ended."""

from __future__ import annotations

from collections.abc import Sequence

from tchat.engine.context import Context
from tchat.engine.detokenizer import ReplyText
from tchat.engine.events import HiddenStates, Notice, Reason, Reasoning, Token
from tchat.engine.hidden_states import FinalStates
from tchat.engine.label_scoring import log_probability
from tchat.engine.loading import LoadedModel
from tchat.engine.prompt.encoder import EncodedPrompt
from tchat.engine.prompt.message_formats import ReplyPhase
from tchat.engine.prompt.reasoning import ReplyMarks
from tchat.engine.sampling import Sampler
from tchat.settings import Sampling


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

    Attributes:
        reason: Why it ended; None while it goes on.
        written: Tokens of the reply.
        reasoned: How many of them are reasoning.
        seed: Seed of the sampler.

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
    ) -> None:
        self._states = FinalStates() if states else None
        self._scores: list[float] | None = [] if scored else None
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
        self._marks = marks.controls(specials)
        self._reply = ReplyText(
            marks, phase, stops, prompt.unfinished, only_tokens=marks.are_tokens(specials)
        )
        self._sampler = Sampler(self._model, sampling, seed=seed, prompt=prefilled)
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
        """The first bytes of a character that the reply was cut in."""
        return self._reply.unfinished

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What the user should know about the reply at its end."""
        if self.text or not self._reply.called_tool:
            return ()
        text = "the model called a tool instead of answering, and there is none"
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
            self._score = log_probability(context, row, token)
        return token

    def append(self, token: int) -> list[Token | Reasoning]:
        """Add a drawn token; returns its events, and sets ``reason`` if the reply ends with it."""
        if self._model.ends_reply(token):
            self.reason = Reason.STOP
            return []
        self.written += 1
        if self._scores is not None:
            self._scores.append(self._score)
        in_reasoning = self._reply.in_reasoning
        self.reasoned += in_reasoning
        if self._states is not None and not in_reasoning:
            self._states.add_token(token)
        piece = self._model.piece(token)
        mark = bool(self._marks) and piece.decode("utf-8", "replace") in self._marks
        # Control tokens have no text, unless they mark something.
        shown = piece if mark or not self._model.is_control(token) else b""
        events = self._reply.feed(shown, mark=mark)
        if self._reply.stopped:
            self.reason = Reason.STOP
        elif self.written >= self._limit:
            self.reason = Reason.LENGTH
        return events

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

    def flush(self) -> list[Token | Reasoning]:
        """Release the text held back, at the end of the reply."""
        return self._reply.close()
