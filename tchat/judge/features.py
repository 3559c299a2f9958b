"""Features of a reply: averaged hidden states and three scalars, and how they are extracted."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tchat.engine.engine import Engine
from tchat.engine.prompt import ChatMessage
from tchat.errors import DoesNotFit

if TYPE_CHECKING:
    import numpy

    from tchat.engine.events import Finished

    Floats = numpy.ndarray[Any, numpy.dtype[numpy.float32]]

SCALAR_FEATURES = ("length", "log_probability", "distinct_2")


@dataclass(frozen=True, slots=True)
class Features:
    """The features of one reply."""

    states: Mapping[int, Floats]  # by layer, averaged over the reply's tokens, shape (n_embd,)
    # Values of `SCALAR_FEATURES`: log(1 + tokens), the mean natural logarithm of their probability,
    # and the share of token pairs that are different.
    plain: tuple[float, float, float]

    @property
    def tokens(self) -> int:
        """Number of tokens of the reply."""
        return round(math.expm1(self.plain[0]))

    @property
    def log_probability(self) -> float:
        """Mean natural log-probability of its tokens under the unsteered model."""
        return self.plain[1]

    @property
    def distinct_2(self) -> float:
        """Share of distinct token pairs (distinct-2)."""
        return self.plain[2]

    def vector(self, layer: int) -> numpy.ndarray[Any, numpy.dtype[numpy.float64]]:
        """The hidden state of ``layer`` followed by the scalars, shape (n_embd + 3,)."""
        import numpy

        return numpy.concatenate([self.states[layer].astype(numpy.float64), self.plain])


def generated_reply_features(reply: Finished, layer: int) -> Features | None:
    """The features of a reply that came with an `HiddenStates`, of the final ``layer``.

    None if it has none, or not finite ones.
    """
    import numpy

    if reply.hidden_states is None or reply.log_probability is None:
        return None
    if not numpy.isfinite([reply.log_probability, *reply.hidden_states.state]).all():
        return None
    tokens = reply.hidden_states.tokens
    plain = (math.log1p(len(tokens)), reply.log_probability, distinct_n(tokens))
    return Features({layer: reply.hidden_states.state}, plain)


def distinct_n(items: Sequence[Hashable], size: int = 2) -> float:
    """Share of distinct n-grams of ``size`` items; 1 if there is none.

    Source: distinct-n of Li et al., "A diversity-promoting objective function", 2016.
    """
    runs = [tuple(items[at : at + size]) for at in range(len(items) - size + 1)]
    return len(set(runs)) / len(runs) if runs else 1.0


MAX_REPLY_TOKENS = 512  # tokens that are judged; what comes after adds little to an average
STEERED = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # places of the watched layers within the model


def middle_layers(blocks: int) -> list[int]:
    """Layers to steer, of a model with ``blocks`` layers."""
    return sorted({min(max(1, round(share * blocks)), blocks - 1) for share in STEERED})


class FeatureExtractor:
    """Extracts features with the model of a loaded engine; close it before the engine.

    Args:
        engine: Must be loaded.
        layers: Layers to record besides the last, from 1 on; they add about 10 % of time.
        longest: Tokens of a reply to use; the rest is ignored.
    """

    def __init__(
        self, engine: Engine, layers: Sequence[int] = (), *, longest: int = MAX_REPLY_TOKENS
    ) -> None:
        self._engine = engine
        self._longest = longest
        self._reader = engine.hidden_state_reader(layers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the llama.cpp context."""
        self._reader.close()

    @property
    def stopped(self) -> bool:
        """Whether the cancel flag is set."""
        return self._engine.cancel.is_set()

    def read(self, messages: Sequence[ChatMessage], reply: str) -> Features | None:
        """The features of ``reply``; None when it is empty, or the cancel flag was set.

        If the messages do not fit the context, only the last is used.

        Raises:
            DoesNotFit: Not even the last message and the reply fit.
        """
        tokens = self._engine.text_tokens(reply)[: self._longest]
        try:
            prompt = self._engine.prompt_tokens(messages)
            if len(prompt) + len(tokens) > self._reader.size and len(messages) > 1:
                prompt = self._engine.prompt_tokens(messages[-1:])
        except InterruptedError:
            return None
        if not tokens or not prompt:
            return None
        observation = self._reader.read(prompt, tokens)
        if observation is None:
            return None
        plain = (math.log1p(len(tokens)), observation.log_probability, distinct_n(tokens))
        return Features(observation.states, plain)

    def features(self, messages: Sequence[ChatMessage], reply: str) -> Features | None:
        """As `read`, for one of many replies: None also if it is too long.

        Raises:
            InterruptedError: The cancel flag was set.
        """
        try:
            found = self.read(messages, reply)
        except DoesNotFit:
            return None
        if found is None and self.stopped:
            raise InterruptedError
        return found
