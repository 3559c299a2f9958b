"""A calibrated linear classifier over the features of one layer, and its model selection.

It is a logistic regression with an L2 penalty, cross-validated. Plain numpy: a few hundred examples
of a few hundred features take milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, NamedTuple, TypeAlias

import numpy

from tchat.judge.features import SCALAR_FEATURES, Features

OUTER_FOLDS = 5
# How much more a plain figure counts than one of the hundreds of numbers of a state.
EMPHASES = (1.0, 8.0, 32.0)

Matrix: TypeAlias = "numpy.ndarray[Any, numpy.dtype[numpy.float64]]"
Vector: TypeAlias = Matrix
Labels: TypeAlias = "numpy.ndarray[Any, numpy.dtype[numpy.bool_]]"

# Per example; the strongest first, each warms the next.
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
FOLDS = 5
_STEPS, _TOLERANCE = 30, 1e-6
_SMALLEST = 1e-3  # scale of a feature without weight, which may get some again
_FARTHEST = 30.0  # a logit; exp of more is a probability of 1 within a double


@dataclass(frozen=True, slots=True)
class LinearHead:
    """A calibrated linear classifier of replies."""

    layer: int  # of its hidden states
    center: Vector  # mean of the features, shape (n_embd + 3,)
    spread: Vector  # scale of the features, same shape
    line: LinearModel  # of the standardized features
    calibration: PlattScaling  # from score to probability

    def scores(self, features: Matrix) -> Vector:
        """Calibrated logits, shape (examples,), of features of shape (examples, width + 3)."""
        raw = self.line.scores((features - self.center) / self.spread)
        result: Vector = self.calibration.slope * raw + self.calibration.offset
        return result

    def score(self, features: Features) -> float:
        """The calibrated logit of one reply."""
        return float(self.scores(features.vector(self.layer)[None, :])[0])

    def probability(self, features: Features) -> float:
        """The calibrated probability of one reply."""
        return float(probability(numpy.array(self.score(features))))


@dataclass(frozen=True, slots=True)
class HeldOutQuality:
    """Quality of a head on held-out examples."""

    auc: float  # area under the ROC curve
    calibration_error: float  # expected, over ten bins
    positive: int  # number of examples
    negative: int


def feature_matrix(features: Sequence[Features], layer: int) -> Matrix:
    """The features of ``layer`` as a matrix, shape (examples, n_embd + 3)."""
    return numpy.stack([each.vector(layer) for each in features])


class Examples(NamedTuple):
    """Examples of both classes; the replies of one group are held out together."""

    features: Sequence[Features]
    labels: Labels  # shape (replies,)
    groups: Sequence[object]

    def chosen(self, mask: Labels) -> Examples:
        """The examples of a mask."""
        groups = list(compress(self.groups, mask))
        return Examples(list(compress(self.features, mask)), self.labels[mask], groups)


def fit_head(examples: Examples, layers: Sequence[int], *, seed: int = 0) -> LinearHead:
    """Fit a head; selects layer, penalty and emphasis by the loss on held-out groups."""
    return best_head(fit_heads(examples, layers, seed=seed)).head


@dataclass(frozen=True, slots=True)
class FittedHead:
    """A head, fitted on all examples, with its quality on held-out groups."""

    head: LinearHead
    loss: float
    auc: float
    held_out: Vector  # calibrated logit of each example by a fit that did not see its group

    def balanced(self, labels: Labels) -> FittedHead:
        """The head corrected to balanced classes, which shifts all logits.

        Source: King and Zeng, "Logistic regression in rare events data", 2001, prior correction.
        """
        shift = math.log((~labels).sum() / labels.sum())
        calibration = replace(self.head.calibration, offset=self.head.calibration.offset + shift)
        head = replace(self.head, calibration=calibration)
        return replace(self, head=head, held_out=self.held_out + shift)


def fit_heads(examples: Examples, layers: Sequence[int], *, seed: int = 0) -> dict[int, FittedHead]:
    """`fit_head` for each layer by itself."""
    return {layer: _fitted(examples, layer, seed) for layer in layers}


def best_head(heads: Mapping[int, FittedHead]) -> FittedHead:
    """The head with the lowest loss."""
    return min(heads.values(), key=lambda each: each.loss)


def held_out_quality(examples: Examples, layers: Sequence[int], *, seed: int = 0) -> HeldOutQuality:
    """The quality of `fit_head`, by nested cross-validation."""
    labels = examples.labels
    chances = numpy.zeros(len(labels))
    for train, test in group_folds(examples.groups, OUTER_FOLDS, seed + 1):
        head = fit_head(examples.chosen(train), layers, seed=seed)
        data = feature_matrix(examples.chosen(test).features, head.layer)
        chances[test] = probability(head.scores(data))
    return HeldOutQuality(
        auc(chances, labels),
        calibration_error(chances, labels),
        int(labels.sum()),
        int((~labels).sum()),
    )


def _fitted(examples: Examples, layer: int, seed: int) -> FittedHead:
    """Fit a head of one layer; selects penalty and emphasis by the loss on held-out groups."""
    data, labels = feature_matrix(examples.features, layer), examples.labels
    found: list[tuple[float, float, float, Vector]] = []
    for emphasis in EMPHASES:
        center, spread = standardize(data, emphasis)
        held_out = held_out_scores((data - center) / spread, labels, examples.groups, seed=seed)
        found += [
            (log_loss(scores, labels), emphasis, penalty, scores)
            for penalty, scores in held_out.items()
        ]
    loss, emphasis, penalty, scores = min(found, key=lambda each: each[0])
    center, spread = standardize(data, emphasis)
    line = fit((data - center) / spread, labels, penalty)
    calibration = PlattScaling.fit(scores, labels)
    head = LinearHead(layer, center, spread, line, calibration)
    calibrated = calibration.slope * scores + calibration.offset
    return FittedHead(head, loss, auc(scores, labels), calibrated)


def standardize(data: Matrix, emphasis: float) -> tuple[Vector, Vector]:
    """Mean and scale of each feature; scalars are scaled up by ``emphasis``.

    Constant features are not scaled.
    """
    spread = data.std(axis=0)
    spread = numpy.where(spread > 1e-9, spread, 1.0)
    spread[-len(SCALAR_FEATURES) :] /= emphasis
    return data.mean(axis=0), spread


@dataclass(frozen=True, slots=True)
class LinearModel:
    """A linear score of features: ``features @ weights + bias``, a logit."""

    weights: Vector  # shape (features,)
    bias: float

    def scores(self, features: Matrix) -> Vector:
        """Logits, shape (examples,), of features of shape (examples, features)."""
        result: Vector = features @ self.weights + self.bias
        return result


def probability(scores: Vector) -> Vector:
    """The logistic function of logits."""
    result: Vector = 1.0 / (1.0 + numpy.exp(-numpy.clip(scores, -_FARTHEST, _FARTHEST)))
    return result


def fit(
    features: Matrix,
    labels: Labels | Vector,
    penalty: float,
    *,
    start: LinearModel | None = None,
    intercept: bool = True,
) -> LinearModel:
    """Fit by Newton's method (iteratively reweighted least squares).

    Args:
        features: Shape (examples, features), each of about unit spread.
        labels: Shape (examples,); soft labels are allowed.
        penalty: Of half the squared weights, per example; above 0, so that there is one optimum.
        start: Initial solution.
        intercept: Whether there is a bias; it is not penalized.
    """
    count, width = features.shape
    if count < width:
        # The optimum is a sum of examples, so their own span is wide enough to look for it.
        axes, parts = numpy.linalg.qr(features.T)
        began = LinearModel(start.weights @ axes, start.bias) if start else None
        within = fit(parts.T, labels, penalty, start=began, intercept=intercept)
        return LinearModel(axes @ within.weights, within.bias)
    full = numpy.hstack([features, numpy.full((count, 1), float(intercept))])
    ridge = numpy.full(width + 1, penalty * count)
    ridge[-1] = 0.0 if intercept else 1.0
    solution = numpy.zeros(width + 1)
    if start is not None:
        solution[:-1], solution[-1] = start.weights, start.bias
    loss = _loss(full, labels, ridge, solution)
    for _ in range(_STEPS):
        step = _step(full, labels, ridge, solution)
        share = 1.0
        while share > 1e-4 and _loss(full, labels, ridge, solution - share * step) > loss:
            share /= 2
        solution = solution - share * step
        before, loss = loss, _loss(full, labels, ridge, solution)
        if before - loss < _TOLERANCE * count:
            break
    return LinearModel(solution[:-1], float(solution[-1]))


def _step(full: Matrix, labels: Labels | Vector, ridge: Vector, solution: Vector) -> Vector:
    """The Newton step."""
    chances = probability(full @ solution)
    slope = full.T @ (chances - labels) + ridge * solution
    curve = (full * (chances * (1 - chances))[:, None]).T @ full + numpy.diag(ridge)
    curve[numpy.diag_indices_from(curve)] += 1e-9 * len(full)
    return numpy.asarray(numpy.linalg.solve(curve, slope), numpy.float64)


def fit_sparse(
    features: Matrix,
    labels: Labels | Vector,
    penalty: float,
    rounds: int,
    *,
    start: LinearModel | None = None,
    intercept: bool = True,
) -> LinearModel:
    """`fit`, then again ``rounds`` times with each feature scaled by the weight it got.

    Small weights are penalized more each time, which gives a sparse model. Source: the adaptive
    ridge of Grandvalet, "Least absolute shrinkage is equivalent to quadratic penalization", 1998.
    """
    line = fit(features, labels, penalty, start=start, intercept=intercept)
    for _ in range(rounds):
        sizes = numpy.abs(line.weights)
        if not sizes.max():
            break
        scale = sizes / sizes.max() + _SMALLEST
        again = fit(features * scale, labels, penalty, intercept=intercept)
        line = LinearModel(again.weights * scale, again.bias)
    return line


def _loss(full: Matrix, labels: Labels | Vector, ridge: Vector, solution: Vector) -> float:
    scores = full @ solution
    likelihood = (numpy.logaddexp(0.0, scores) - labels * scores).sum()
    return float(likelihood + 0.5 * (ridge * solution**2).sum())


def group_folds(groups: Sequence[object], count: int, seed: int) -> Iterator[tuple[Labels, Labels]]:
    """Yield masks of training and held-out examples for ``count`` folds.

    Examples of one group, for instance of one prompt, are never split.

    Raises:
        ValueError: There is only one group.
    """
    names = sorted(set(groups), key=str)
    if len(names) < 2:
        raise ValueError("two groups are needed")
    order = numpy.random.default_rng(seed).permutation(len(names))
    folds = {names[at]: number % count for number, at in enumerate(order)}
    sides = numpy.array([folds[group] for group in groups])
    for number in range(min(count, len(names))):
        yield sides != number, sides == number


def held_out_scores(
    features: Matrix,
    labels: Labels,
    groups: Sequence[object],
    *,
    seed: int = 0,
    rounds: int = 0,
    intercept: bool = True,
) -> dict[float, Vector]:
    """For each of `PENALTIES`, the score of every example by a fit that did not see its group.

    ``rounds`` and ``intercept`` are those of `fit_sparse`.
    """
    scores = {penalty: numpy.zeros(len(labels)) for penalty in PENALTIES}
    for train, test in group_folds(groups, FOLDS, seed):
        line: LinearModel | None = None
        for penalty in PENALTIES:
            line = fit_sparse(
                features[train],
                labels[train],
                penalty,
                rounds,
                start=None if rounds else line,
                intercept=intercept,
            )
            scores[penalty][test] = line.scores(features[test])
    return scores


def log_loss(scores: Vector, labels: Labels) -> float:
    """Mean negative log-likelihood of the labels."""
    return float(numpy.logaddexp(0.0, numpy.where(labels, -scores, scores)).mean())


@dataclass(frozen=True, slots=True)
class PlattScaling:
    """Platt's scaling: the probability of a score is the logistic function of a line of it.

    Source: Platt, "Probabilistic outputs for support vector machines", 1999, with his smoothed
    targets.
    """

    slope: float = 1.0
    offset: float = 0.0

    def probability(self, scores: Vector) -> Vector:
        """Calibrated probabilities."""
        return probability(self.slope * scores + self.offset)

    @classmethod
    def fit(cls, scores: Vector, labels: Labels) -> PlattScaling:
        """Fit to held-out scores; the slope is never negative."""
        yes, no = int(labels.sum()), int((~labels).sum())
        targets = numpy.where(labels, (yes + 1) / (yes + 2), 1 / (no + 2))
        spread = float(scores.std()) or 1.0
        line = fit(scores[:, None] / spread, targets, 1e-6)
        slope = float(line.weights[0]) / spread
        if slope <= 0.0:  # the scores say nothing, so that each has the chance of all
            return cls(0.0, math.log(targets.mean() / (1 - targets.mean())))
        return cls(slope, line.bias)


def auc(scores: Vector, labels: Labels) -> float:
    """Area under the ROC curve: the share of pairs that are in order, ties counted half."""
    order = numpy.argsort(scores, kind="stable")
    ordered = scores[order]
    first = numpy.searchsorted(ordered, ordered, side="left")
    last = numpy.searchsorted(ordered, ordered, side="right")
    ranks = numpy.empty(len(scores))
    ranks[order] = (first + last + 1) / 2
    yes, no = int(labels.sum()), int((~labels).sum())
    if not yes or not no:
        raise ValueError("both labels are needed")
    return float((ranks[labels].sum() - yes * (yes + 1) / 2) / (yes * no))


def calibration_error(chances: Vector, labels: Labels, bins: int = 10) -> float:
    """Expected calibration error over ``bins`` bins of equal counts.

    Source: Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", 2015.
    """
    order = numpy.argsort(chances, kind="stable")
    parts = [part for part in numpy.array_split(order, bins) if len(part)]
    gaps = [len(part) * abs(chances[part].mean() - labels[part].mean()) for part in parts]
    return float(sum(gaps) / len(labels))
