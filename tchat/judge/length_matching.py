"""Pairs of a person's and the generator's reply whose lengths give nothing away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from tchat.engine.prompt.messages import ChatMessage
from tchat.judge.logistic_regression import auc

MAX_AUC_BY_LENGTH = 0.58  # AUC of the length alone, either way around
MIN_TOKENS = 8  # tokens; less says nothing about who wrote it


@dataclass(frozen=True, slots=True)
class ReplyPair:
    """Two replies to one prompt.

    Args:
        prompt: What was asked.
        person: What a person replied.
        person_tokens: How many tokens that is.
        generated: What the generator replied.
        generated_tokens: How many tokens that is.
        before: System prompt and messages before the prompt.
    """

    prompt: str
    person: str
    person_tokens: int
    generated: str
    generated_tokens: int
    before: tuple[ChatMessage, ...] = ()

    @property
    def asked(self) -> tuple[ChatMessage, ...]:
        """What both reply to, the prompt last."""
        return (*self.before, ChatMessage("user", self.prompt))

    @property
    def ratio(self) -> float:
        """Logarithm of the generated length over the person's."""
        return math.log(self.generated_tokens / self.person_tokens)


def match_lengths(pairs: Sequence[ReplyPair]) -> list[ReplyPair]:
    """The pairs with the most unequal lengths left out, until length alone tells little.

    The rest may keep a length that is a weak sign: AUC of at most `MAX_AUC_BY_LENGTH`.
    """
    kept = [p for p in pairs if min(p.person_tokens, p.generated_tokens) >= MIN_TOKENS]
    while len(kept) > 2:
        value = auc_by_length(kept)
        if 1 - MAX_AUC_BY_LENGTH <= value <= MAX_AUC_BY_LENGTH:
            break
        longer = value < 0.5  # the generator's are longer
        kept.remove(max(kept, key=lambda p: p.ratio if longer else -p.ratio))
    return kept


def auc_by_length(pairs: Sequence[ReplyPair]) -> float:
    """How well length alone tells a person's reply: AUC, 0.5 is not at all."""
    lengths = [p.person_tokens for p in pairs] + [p.generated_tokens for p in pairs]
    labels = numpy.arange(2 * len(pairs)) < len(pairs)
    return auc(numpy.array(lengths, dtype=float), labels)
