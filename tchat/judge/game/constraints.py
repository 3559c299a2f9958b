"""What a step of the game may cost: the bounds within which steered replies must stay."""

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
class ReplyMetrics:
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
    def of(cls, replies: Sequence[GameReply]) -> ReplyMetrics:
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
class MetricRatio:
    """A figure of steered replies over the same of unsteered ones.

    Args:
        value: The ratio.
        error: Its standard error, by resampling the prompts.
    """

    value: float = 1.0
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class MetricRatios:
    """The figures of `ReplyMetrics`, against those of unsteered replies to the same prompts."""

    perplexity: MetricRatio = MetricRatio()
    distinct_2: MetricRatio = MetricRatio()
    length: MetricRatio = MetricRatio()

    @classmethod
    def of(cls, own: Sequence[GameReply], steered: Sequence[GameReply]) -> MetricRatios:
        """Compare all replies to the prompts that both answer, prompt by prompt.

        Prompts differ more than steering does, so the same ones are compared, and the error is
        that of having drawn just these. Where there is no such prompt, nothing was written.
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
    """Surprise, tokens and distinct-2, the mean over a prompt's replies; shape (prompts, 3)."""
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
    """Bounds, as shares of the unsteered replies' own figures.

    Args:
        perplexity: The most.
        distinct_2: The least.
        length: The least, and its inverse the most.
    """

    perplexity: float = 1.15
    distinct_2: float = 0.95
    length: float = 0.67

    def broken(self, costs: MetricRatios) -> str:
        """Which bound is broken, in words; empty when none is."""
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
        """Whether a bound is closer than the standard error, and more replies would tell."""
        return any(abs(room) < ratio.error for _, ratio, room in self._rooms(costs))

    def used(self, costs: MetricRatios) -> float:
        """How much of its bounds is used up: 1 is all of that which is used most."""
        distinct = (1 - costs.distinct_2.value) / (1 - self.distinct_2)
        return max(math.log(costs.perplexity.value) / math.log(self.perplexity), distinct, 0.0)

    def _rooms(self, costs: MetricRatios) -> Iterator[tuple[str, MetricRatio, float]]:
        """How far each figure is within its bound."""
        perplexity, distinct, length = costs.perplexity, costs.distinct_2, costs.length
        yield "perplexity", perplexity, self.perplexity - perplexity.value
        yield "diversity", distinct, distinct.value - self.distinct_2
        yield "length", length, min(length.value - self.length, 1 / self.length - length.value)
