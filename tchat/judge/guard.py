"""What a step of the game may cost: the bounds within which steered replies must stay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tchat.judge.features import Features


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of the generator, read by the unsteered model.

    Args:
        prompt: What it replies to.
        text: What it says.
        features: As the discriminator sees it.
    """

    prompt: str
    text: str
    features: Features


@dataclass(frozen=True, slots=True)
class Health:
    """Figures of some replies.

    Args:
        perplexity: The unsteered model's, over all their tokens.
        distinct_2: Mean share of different token pairs.
        length: Mean tokens.
    """

    perplexity: float
    distinct_2: float
    length: float

    @classmethod
    def of(cls, replies: Sequence[Reply]) -> Health:
        """The figures of at least one reply."""
        features = [reply.features for reply in replies]
        tokens = sum(each.tokens for each in features)
        total = sum(each.tokens * each.log_probability for each in features)
        return cls(
            perplexity=math.exp(-total / tokens),
            distinct_2=sum(each.distinct_2 for each in features) / len(replies),
            length=tokens / len(replies),
        )


@dataclass(frozen=True, slots=True)
class Guard:
    """Bounds, as shares of the unsteered replies' own figures.

    Args:
        perplexity: The most.
        distinct_2: The least.
        length: The least, and its inverse the most.
    """

    perplexity: float = 1.15
    distinct_2: float = 0.95
    length: float = 0.67

    def broken(self, before: Health, now: Health) -> str:
        """Which bound is broken, in words; empty when none is."""
        if now.perplexity > self.perplexity * before.perplexity:
            return f"perplexity {now.perplexity / before.perplexity:.2f}x"
        if now.distinct_2 < self.distinct_2 * before.distinct_2:
            return f"diversity {now.distinct_2 / before.distinct_2:.2f}x"
        if not self.length <= now.length / before.length <= 1 / self.length:
            return f"length {now.length / before.length:.2f}x"
        return ""
