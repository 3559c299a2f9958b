"""What the user prefers, learnt from what was chosen over what.

Source: Bradley and Terry, "Rank analysis of incomplete block designs", 1952: the chance that one
reply is chosen over another is the logistic function of the difference of their scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy

from tchat.judge.features import Features
from tchat.judge.linear_head import EMPHASES, OUTER_FOLDS, LinearHead, feature_matrix, standardize
from tchat.judge.logistic_regression import (
    Labels,
    Matrix,
    PlattScaling,
    Vector,
    fit_sparse,
    group_folds,
    held_out_scores,
    log_loss,
)

ROUNDS = (0, 2, 4)  # of `fit_sparse`: from all features mattering to a few


@dataclass(frozen=True, slots=True)
class PreferenceFeatures:
    """One choice.

    Args:
        chosen: The reply that was picked.
        rejected: One that was not, to the same prompt.
        group: What tells the prompt from others.
    """

    chosen: Features
    rejected: Features
    group: object


@dataclass(frozen=True, slots=True)
class PreferenceFit:
    """A preference head, and the share of held-out choices that it gets right."""

    head: LinearHead
    accuracy: float


def fit_preference(choices: Sequence[PreferenceFeatures], layers: Sequence[int]) -> PreferenceFit:
    """Fit the model; what is chosen by cross-validation has the least loss on held-out prompts.

    That is the layer, the penalty, how much the plain figures count, and how few numbers matter:
    a taste may hang on two of hundreds.
    """
    found = [each for layer in layers for each in _candidates(choices, layer)]
    best = min(found, key=lambda each: each.loss)
    return PreferenceFit(best.head(choices), best.accuracy)


def held_out_accuracy(
    choices: Sequence[PreferenceFeatures], layers: Sequence[int], *, seed: int = 0
) -> float:
    """The share of choices that `fit_preference` gets right on prompts that it never saw.

    By nested cross-validation: all that it chooses is chosen anew within each part. Where both
    replies score the same, half of the choice is right.
    """
    right = 0.0
    for train, test in group_folds([each.group for each in choices], OUTER_FOLDS, seed + 1):
        head = fit_preference(_chosen(choices, train), layers).head
        leads = [
            head.score(each.chosen) - head.score(each.rejected) for each in _chosen(choices, test)
        ]
        right += sum((lead > 0) + (lead == 0) / 2 for lead in leads)
    return right / len(choices)


@dataclass(frozen=True, slots=True)
class _Candidate:
    layer: int
    emphasis: float
    rounds: int
    penalty: float
    scores: Vector  # held out, of each choice and of its mirror
    loss: float

    @property
    def accuracy(self) -> float:
        return float((self.scores[: len(self.scores) // 2] > 0).mean())

    def head(self, choices: Sequence[PreferenceFeatures]) -> LinearHead:
        center, spread, difference = _standardized(choices, self.layer, self.emphasis)
        data, labels = _mirrored(difference)
        line = fit_sparse(data, labels, self.penalty, self.rounds, intercept=False)
        # Only differences of scores mean something, so there is no offset.
        calibration = PlattScaling(PlattScaling.fit(self.scores, labels).slope, 0.0)
        return LinearHead(self.layer, center, spread, line, calibration)


def _candidates(choices: Sequence[PreferenceFeatures], layer: int) -> Iterator[_Candidate]:
    groups = [each.group for each in choices] * 2
    for emphasis in EMPHASES:
        _, _, difference = _standardized(choices, layer, emphasis)
        data, labels = _mirrored(difference)
        for rounds in ROUNDS:
            found = held_out_scores(data, labels, groups, rounds=rounds, intercept=False)
            for penalty, scores in found.items():
                loss = log_loss(scores, labels)
                yield _Candidate(layer, emphasis, rounds, penalty, scores, loss)


def _standardized(
    choices: Sequence[PreferenceFeatures], layer: int, emphasis: float
) -> tuple[Vector, Vector, Matrix]:
    """Mean and spread of the features, and the differences of the choices in that spread."""
    chosen = feature_matrix([each.chosen for each in choices], layer)
    rejected = feature_matrix([each.rejected for each in choices], layer)
    center, spread = standardize(numpy.vstack([chosen, rejected]), emphasis)
    return center, spread, (chosen - rejected) / spread


def _mirrored(difference: Matrix) -> tuple[Matrix, Labels]:
    """Each choice seen from both sides, so that both labels are there."""
    count = len(difference)
    labels = numpy.arange(2 * count) < count
    return numpy.vstack([difference, -difference]), labels


def _chosen(choices: Sequence[PreferenceFeatures], mask: Labels) -> list[PreferenceFeatures]:
    return [each for each, wanted in zip(choices, mask, strict=True) if wanted]
