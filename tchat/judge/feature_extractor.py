"""From texts to features: replies read by the unsteered model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from tchat.engine.engine import Engine
from tchat.engine.prompt.messages import ChatMessage
from tchat.errors import DoesNotFit
from tchat.judge.features import Features, reply_features

MAX_REPLY_TOKENS = 512  # tokens that are judged; what comes after adds little to an average
STEERED = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # places of the watched layers within the model


def middle_layers(blocks: int) -> list[int]:
    """Layers to watch for steering, of a model of ``blocks`` blocks."""
    return sorted({min(max(1, round(share * blocks)), blocks - 1) for share in STEERED})


class FeatureExtractor:
    """Reads replies with a loaded engine's model; close it before the engine.

    Args:
        engine: Whose model reads; it must be loaded.
        layers: Watched besides the final state, from 1 on; reading costs a tenth more with them.
        longest: Tokens of a reply that are judged.
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
        """Free the context."""
        self._reader.close()

    @property
    def stopped(self) -> bool:
        """Whether the cancel flag is set."""
        return self._engine.cancel.is_set()

    def tokens(self, reply: str) -> list[int]:
        """The tokens of a reply that are judged."""
        return self._engine.text_tokens(reply)[: self._longest]

    def read(self, messages: Sequence[ChatMessage], reply: str) -> Features | None:
        """The features of ``reply``; None when it is empty, or the cancel flag was set.

        Where all messages exceed what is read at once, only the last is read.

        Raises:
            DoesNotFit: That one and the reply exceed it too.
        """
        tokens = self.tokens(reply)
        try:
            prompt = self._engine.prompt_tokens(messages)
            if len(prompt) + len(tokens) > self._reader.size and len(messages) > 1:
                prompt = self._engine.prompt_tokens(messages[-1:])
        except InterruptedError:
            return None
        if not tokens or not prompt:
            return None
        observation = self._reader.read(prompt, tokens)
        return reply_features(observation, tokens) if observation else None

    def features(self, messages: Sequence[ChatMessage], reply: str) -> Features | None:
        """As `read`, for one reply of many: None when it is empty or too long.

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
