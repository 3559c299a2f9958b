"""The constraints of the game: bounds on perplexity, diversity and length of steered replies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy

from tchat.judge.features import Features
from tchat.judge.logistic_regression import Matrix, Vector

_RESAMPLES = 400  # of the bootstrap


@dataclass(frozen=True, slots=True)
class GameReply:
    """One reply, with features from the unsteered model.

    Args:
        prompt: The prompt.
        text: The reply.
        features: Its features.
    """

    prompt: str
    text: str
    features: Features


@dataclass(frozen=True, slots=True)
class ReplyMetrics:
    """Metrics of a set of replies.

    Args:
        perplexity: Under the unsteered model, over all tokens.
        distinct_2: Mean share of distinct token pairs.
        length: Mean number of tokens.
    """

    perplexity: float
    distinct_2: float
    length: float

    @classmethod
    def of(cls, replies: Sequence[GameReply]) -> ReplyMetrics:
        """Compute the metrics of at least one reply."""
        features = [reply.features for reply in replies]
        tokens = sum(each.tokens for each in features)
        total = sum(each.tokens * each.log_probability for each in features)
        return cls(
            perplexity=math.exp(-total / tokens),
            distinct_2=sum(each.distinct_2 for each in features) / len(replies),
            length=tokens / len(replies),
        )


@dataclass(frozen=True, slots=True)
class MetricRatio:
    """A metric of steered replies divided by that of unsteered ones.

    Args:
        value: The ratio.
        error: Its standard error, by bootstrap over prompts.
    """

    value: float = 1.0
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class MetricRatios:
    """The metrics of `ReplyMetrics` relative to unsteered replies to the same prompts."""

    perplexity: MetricRatio = MetricRatio()
    distinct_2: MetricRatio = MetricRatio()
    length: MetricRatio = MetricRatio()

    @classmethod
    def of(cls, own: Sequence[GameReply], steered: Sequence[GameReply]) -> MetricRatios:
        """Compare replies to the prompts that both sets answer, prompt by prompt.

        The comparison is paired, because prompts differ more than steering does.
        """
        both = {reply.prompt for reply in own} & {reply.prompt for reply in steered}
        prompts = sorted(both)
        if not prompts:
            return cls(length=MetricRatio(0.0))
        before, after = _by_prompt(own, prompts), _by_prompt(steered, prompts)
        rng = numpy.random.default_rng(0)
        draws = rng.integers(len(prompts), size=(_RESAMPLES, len(prompts)))
        values = _ratios(before.sum(axis=0), after.sum(axis=0))
        errors = _ratios(before[draws].sum(axis=1), after[draws].sum(axis=1)).std(axis=0)
        pairs = zip(values.tolist(), errors.tolist(), strict=True)
        return cls(*(MetricRatio(value, error) for value, error in pairs))


def _by_prompt(replies: Iterable[GameReply], prompts: Sequence[str]) -> Matrix:
    """Surprisal, tokens and distinct-2, averaged by prompt; shape (prompts, 3)."""
    found: dict[str, list[tuple[float, float, float]]] = {prompt: [] for prompt in prompts}
    for reply in replies:
        if reply.prompt in found:
            each = reply.features
            surprise = -each.log_probability * each.tokens
            found[reply.prompt].append((surprise, each.tokens, each.distinct_2))
    return numpy.array([numpy.mean(rows, axis=0) for rows in found.values()])


def _ratios(before: Matrix, after: Matrix) -> Vector:
    """Perplexity, distinct-2 and length, from sums as of `_by_prompt`; shape (..., 3)."""
    surprise = after[..., 0] / after[..., 1] - before[..., 0] / before[..., 1]
    shares = after[..., [2, 1]] / before[..., [2, 1]]
    return numpy.concatenate([numpy.exp(surprise)[..., None], shares], axis=-1)


@dataclass(frozen=True, slots=True)
class Constraints:
    """Bounds relative to unsteered replies.

    Args:
        perplexity: Maximum ratio.
        distinct_2: Minimum ratio.
        length: Minimum ratio; its inverse is the maximum.
    """

    perplexity: float = 1.15
    distinct_2: float = 0.95
    length: float = 0.67

    def broken(self, costs: MetricRatios) -> str:
        """The violated bound, for a person; empty if none is."""
        for name, ratio, room in self._rooms(costs):
            if room < 0:
                return f"{name} {ratio.value:.2f}x"
        return ""

    def pull(self, costs: MetricRatios) -> Vector:
        """For each of `SCALAR_FEATURES`, 1 to raise it, -1 to lower it, 0 to leave it."""
        short, long = costs.length.value < self.length, costs.length.value > 1 / self.length
        surprising = costs.perplexity.value > self.perplexity
        return numpy.array(
            [float(short) - float(long), surprising, costs.distinct_2.value < self.distinct_2],
            dtype=float,
        )

    def unclear(self, costs: MetricRatios) -> bool:
        """Whether a bound is within the standard error, so that more replies are needed."""
        return any(abs(room) < ratio.error for _, ratio, room in self._rooms(costs))

    def used(self, costs: MetricRatios) -> float:
        """Share of the tightest bound that is used; 1 is all of it."""
        distinct = (1 - costs.distinct_2.value) / (1 - self.distinct_2)
        return max(math.log(costs.perplexity.value) / math.log(self.perplexity), distinct, 0.0)

    def _rooms(self, costs: MetricRatios) -> Iterator[tuple[str, MetricRatio, float]]:
        """Yield the distance of each metric from its bound."""
        perplexity, distinct, length = costs.perplexity, costs.distinct_2, costs.length
        yield "perplexity", perplexity, self.perplexity - perplexity.value
        yield "diversity", distinct, distinct.value - self.distinct_2
        yield "length", length, min(length.value - self.length, 1 / self.length - length.value)
