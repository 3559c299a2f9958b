"""Control vectors, how they are computed, and the constraints that steered replies must meet.

A control vector is a direction per layer, added to hidden states. Source: Zou et al.,
"Representation engineering", arXiv 2310.01405; the file is the one of llama.cpp's
``llama-cvector-generator``. The constraints bound perplexity, diversity and length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from tchat.engine.loading import ControlVector
from tchat.judge.discriminator import whole
from tchat.judge.features import Features
from tchat.judge.linear_head import Matrix, Vector
from tchat.private_files import private_folder
from tchat.translation import N_, tr

ARCHITECTURE = "controlvector"


@dataclass(frozen=True, slots=True)
class Steering:
    """A control vector.

    Args:
        directions: From the layer, from 1 on, to the vector added to its output, shape (n_embd,).
    """

    directions: Mapping[int, Vector]

    def moved(self, gradients: Mapping[int, Vector], step: Mapping[int, float]) -> Steering:
        """Move by ``gradients``, scaled to the length in ``step`` for each layer."""
        moved = dict(self.directions)
        for layer, gradient in gradients.items():
            length = float(numpy.linalg.norm(gradient))
            if length:
                here = moved.get(layer, numpy.zeros_like(gradient))
                moved[layer] = here + gradient * (step[layer] / length)
        return Steering(moved)

    def vectors(self) -> tuple[ControlVector, ...]:
        """For `Engine.steered`; empty without directions."""
        if not self.directions:
            return ()
        width = len(next(iter(self.directions.values())))
        rows = {layer: row.tolist() for layer, row in self.directions.items()}
        return (ControlVector(Path("steering"), width, rows),)


def write_control_vector(steering: Steering, path: Path, *, architecture: str) -> None:
    """Write a GGUF file that tchat and llama.cpp load with ``--control-vector``.

    The file is written atomically.

    Args:
        steering: At least one direction.
        path: The file.
        architecture: GGUF architecture of the model, for example ``llama``.

    Raises:
        StorageError: It cannot be written.
    """
    import gguf

    private_folder(path.parent)
    with whole(path) as partial:
        writer: Any = gguf.GGUFWriter(partial, ARCHITECTURE)
        writer.add_string(f"{ARCHITECTURE}.model_hint", architecture)
        writer.add_uint32(f"{ARCHITECTURE}.layer_count", max(steering.directions))
        for layer, direction in sorted(steering.directions.items()):
            writer.add_tensor(f"direction.{layer}", direction.astype(numpy.float32))
        try:
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()


MASSIVE_ACTIVATION = 5.0  # times the median size of a state's numbers


def control_directions(
    replies: Sequence[GameReply],
    scores: Vector,
    layers: Sequence[int],
    sought: Sequence[float] = (0.0, 0.0, 0.0),
) -> dict[int, Vector]:
    """Compute the direction of each layer: the covariance of hidden states with the score.

    To first order this moves the mean state like sampling replies with a probability that grows
    with the score (exponential tilting), which is where best-of-n leads. Only the part of the score
    counts that perplexity, diversity and length do not explain. Massive activations are not moved,
    since that breaks the model (Sun et al., "Massive activations in large language models",
    arXiv 2402.17762). The direction is zero where no prompt has several replies.

    Args:
        replies: Unsteered, several per prompt.
        scores: Scores of the discriminator, shape (replies,).
        layers: Steered layers.
        sought: Weight of each of `SCALAR_FEATURES` against 1 for the score; both are counted
            in standard deviations of what the other figures do not explain.
    """
    prompts = [reply.prompt for reply in replies]
    bounded = numpy.clip(scores, -6.0, 6.0)[:, None]  # one reply must not decide for all
    score = _within(bounded, prompts)[:, 0]
    scalars = _within(numpy.array([reply.features.plain for reply in replies]), prompts)
    target = _standardize(_unexplained(score, scalars))
    for at, weight in enumerate(sought):
        target += weight * _standardize(
            _unexplained(scalars[:, at], numpy.delete(scalars, at, axis=1))
        )
    return {layer: _control_direction(replies, prompts, target, layer) for layer in layers}


def _control_direction(
    replies: Sequence[GameReply], prompts: Sequence[str], target: Vector, layer: int
) -> Vector:
    states = numpy.stack([r.features.states[layer] for r in replies]).astype(numpy.float64)
    sizes = numpy.abs(states).mean(axis=0)
    covariance = _within(states, prompts).T @ target / len(replies)
    direction: Vector = numpy.where(
        sizes < MASSIVE_ACTIVATION * numpy.median(sizes), covariance, 0.0
    )
    return direction


def _within(rows: Matrix, prompts: Sequence[str]) -> Matrix:
    """Subtract from each row the mean of its prompt; shape as ``rows``."""
    _, groups, counts = numpy.unique(prompts, return_inverse=True, return_counts=True)
    sums = numpy.zeros((len(counts), rows.shape[1]))
    numpy.add.at(sums, groups, rows)
    centred: Matrix = rows - (sums / counts[:, None])[groups]
    return centred


def _unexplained(values: Vector, by: Matrix) -> Vector:
    """The residual of a regression on the columns of ``by``; shape as ``values``."""
    rest: Vector = values - by @ numpy.linalg.lstsq(by, values, rcond=None)[0]
    return rest


def _standardize(values: Vector) -> Vector:
    """Divide by the standard deviation, unless it is zero."""
    spread = values.std()
    return values / spread if spread > 1e-9 else values


_RESAMPLES = 400  # of the bootstrap


@dataclass(frozen=True, slots=True)
class GameReply:
    """One reply, with features from the unsteered model."""

    prompt: str
    text: str
    features: Features


@dataclass(frozen=True, slots=True)
class ReplyMetrics:
    """Metrics of a set of replies."""

    perplexity: float  # under the unsteered model, over all tokens
    distinct_2: float  # mean share of distinct token pairs
    length: float  # mean number of tokens

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
    """A metric of steered replies divided by that of unsteered ones."""

    value: float = 1.0
    error: float = 0.0  # standard error, by bootstrap over prompts


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
    """Bounds relative to unsteered replies."""

    perplexity: float = 1.15  # maximum ratio
    distinct_2: float = 0.95  # minimum ratio
    length: float = 0.67  # minimum ratio; its inverse is the maximum

    def broken(self, costs: MetricRatios) -> str:
        """The violated bound, for a person; empty if none is."""
        for name, ratio, margin in self._margins(costs):
            if margin < 0:
                return tr("{name} {ratio:.2f}x", name=tr(name), ratio=ratio.value)
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
        return any(abs(margin) < ratio.error for _, ratio, margin in self._margins(costs))

    def used(self, costs: MetricRatios) -> float:
        """Share of the tightest bound that is used; 1 is all of it."""
        distinct = (1 - costs.distinct_2.value) / (1 - self.distinct_2)
        return max(math.log(costs.perplexity.value) / math.log(self.perplexity), distinct, 0.0)

    def _margins(self, costs: MetricRatios) -> Iterator[tuple[str, MetricRatio, float]]:
        """Yield the distance of each metric from its bound."""
        perplexity, distinct, length = costs.perplexity, costs.distinct_2, costs.length
        yield N_("perplexity"), perplexity, self.perplexity - perplexity.value
        yield N_("diversity"), distinct, distinct.value - self.distinct_2
        yield N_("length"), length, min(length.value - self.length, 1 / self.length - length.value)
