"""A calibrated linear classifier over the features of one layer, and its model selection."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy

from tchat.judge.features import SCALAR_FEATURES, Features
from tchat.judge.logistic_regression import (
    Labels,
    LinearModel,
    Matrix,
    PlattScaling,
    Vector,
    auc,
    calibration_error,
    fit,
    group_folds,
    held_out_scores,
    log_loss,
)

OUTER_FOLDS = 5
# How much more a plain figure counts than one of the hundreds of numbers of a state.
EMPHASES = (1.0, 8.0, 32.0)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LinearHead:
    """A calibrated linear classifier of replies.

    Args:
        layer: The layer of its hidden states.
        center: Mean of the features, shape (n_embd + 3,).
        spread: Scale of the features, same shape.
        line: Linear model of the standardized features.
        calibration: From score to probability.
    """

    layer: int
    center: Vector
    spread: Vector
    line: LinearModel
    calibration: PlattScaling

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
        return float(1.0 / (1.0 + numpy.exp(-numpy.clip(self.score(features), -30.0, 30.0))))


@dataclass(frozen=True, slots=True)
class HeldOutQuality:
    """Quality of a head on held-out examples.

    Args:
        auc: Area under the ROC curve.
        calibration_error: Expected calibration error over ten bins.
        positive: Number of positive examples.
        negative: Number of negative examples.
    """

    auc: float
    calibration_error: float
    positive: int
    negative: int


def feature_matrix(features: Sequence[Features], layer: int) -> Matrix:
    """The features of ``layer`` as a matrix, shape (examples, n_embd + 3)."""
    return numpy.stack([each.vector(layer) for each in features])


def fit_head(
    features: Sequence[Features],
    labels: Labels,
    groups: Sequence[object],
    layers: Sequence[int],
    *,
    seed: int = 0,
) -> LinearHead:
    """Fit a head; selects layer, penalty and emphasis by the loss on held-out groups."""
    heads = fit_heads(features, labels, groups, layers, seed=seed)
    return min(heads.values(), key=lambda each: each.loss).head


@dataclass(frozen=True, slots=True)
class FittedHead:
    """A head with its cross-validated scores.

    Args:
        head: Fitted on all examples.
        loss: On held-out groups.
        held_out: Calibrated logit of each example by a fit that did not see its group.
    """

    head: LinearHead
    loss: float
    held_out: Vector

    def balanced(self, labels: Labels) -> FittedHead:
        """The head corrected to balanced classes, which shifts all logits.

        Source: King and Zeng, "Logistic regression in rare events data", 2001, prior correction.
        """
        shift = math.log((~labels).sum() / labels.sum())
        calibration = replace(self.head.calibration, offset=self.head.calibration.offset + shift)
        head = replace(self.head, calibration=calibration)
        return replace(self, head=head, held_out=self.held_out + shift)


def fit_heads(
    features: Sequence[Features],
    labels: Labels,
    groups: Sequence[object],
    layers: Sequence[int],
    *,
    seed: int = 0,
) -> dict[int, FittedHead]:
    """`fit_head` for each layer by itself."""
    heads = {}
    for layer, found in _best_by_layer(features, labels, groups, layers, seed).items():
        data = feature_matrix(features, layer)
        center, spread = standardize(data, found.emphasis)
        line = fit((data - center) / spread, labels, found.penalty)
        calibration = PlattScaling.fit(found.scores, labels)
        head = LinearHead(layer, center, spread, line, calibration)
        held_out = calibration.slope * found.scores + calibration.offset
        heads[layer] = FittedHead(head, found.loss, held_out)
    return heads


def held_out_quality(
    features: Sequence[Features],
    labels: Labels,
    groups: Sequence[object],
    layers: Sequence[int],
    *,
    seed: int = 0,
) -> HeldOutQuality:
    """The quality of `fit_head`, by nested cross-validation."""
    chances = numpy.zeros(len(labels))
    for train, test in group_folds(groups, OUTER_FOLDS, seed + 1):
        head = fit_head(
            _chosen(features, train),
            labels[train],
            _chosen(groups, train),
            layers,
            seed=seed,
        )
        scores = head.scores(feature_matrix(_chosen(features, test), head.layer))
        chances[test] = 1.0 / (1.0 + numpy.exp(-numpy.clip(scores, -30.0, 30.0)))
    return HeldOutQuality(
        auc(chances, labels),
        calibration_error(chances, labels),
        int(labels.sum()),
        int((~labels).sum()),
    )


def layer_aucs(
    features: Sequence[Features],
    labels: Labels,
    groups: Sequence[object],
    layers: Sequence[int],
    *,
    seed: int = 0,
) -> Mapping[int, float]:
    """The held-out AUC of each layer."""
    best = _best_by_layer(features, labels, groups, layers, seed)
    return {layer: auc(each.scores, labels) for layer, each in best.items()}


@dataclass(frozen=True, slots=True)
class _Candidate:
    layer: int
    emphasis: float
    penalty: float
    scores: Vector
    loss: float


def _best_by_layer(
    features: Sequence[Features],
    labels: Labels,
    groups: Sequence[object],
    layers: Sequence[int],
    seed: int,
) -> dict[int, _Candidate]:
    best: dict[int, _Candidate] = {}
    for each in _candidates(features, labels, groups, layers, seed):
        if each.layer not in best or each.loss < best[each.layer].loss:
            best[each.layer] = each
    return best


def _candidates(
    features: Sequence[Features],
    labels: Labels,
    groups: Sequence[object],
    layers: Sequence[int],
    seed: int,
) -> Iterator[_Candidate]:
    for layer in layers:
        data = feature_matrix(features, layer)
        for emphasis in EMPHASES:
            center, spread = standardize(data, emphasis)
            scores = held_out_scores((data - center) / spread, labels, groups, seed=seed)
            for penalty, values in scores.items():
                yield _Candidate(layer, emphasis, penalty, values, log_loss(values, labels))


def standardize(data: Matrix, emphasis: float) -> tuple[Vector, Vector]:
    """Mean and scale of each feature; scalars are scaled up by ``emphasis``.

    Constant features are not scaled.
    """
    spread = data.std(axis=0)
    spread = numpy.where(spread > 1e-9, spread, 1.0)
    spread[-len(SCALAR_FEATURES) :] /= emphasis
    return data.mean(axis=0), spread


def _chosen(items: Sequence[T], mask: Labels) -> list[T]:
    return [item for item, chosen in zip(items, mask, strict=True) if chosen]
