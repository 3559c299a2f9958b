"""What the user prefers, learnt from what was chosen over what.

Source: Bradley and Terry, "Rank analysis of incomplete block designs", 1952: the chance that one
reply is chosen over another is the logistic function of the difference of their scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy

from tchat.judge.features import Features
from tchat.judge.head import EMPHASES, Head, matrix, standard
from tchat.judge.logistic import Calibration, Labels, Matrix, fit, held_out_scores, log_loss


@dataclass(frozen=True, slots=True)
class Preference:
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

    head: Head
    accuracy: float


def fit_preference(choices: Sequence[Preference], layers: Sequence[int]) -> PreferenceFit:
    """Fit the model; layer, penalty and emphasis have the least loss on held-out prompts."""
    found = [each for layer in layers for each in _candidates(choices, layer)]
    _, best = min(found, key=lambda each: each[0])
    return best


def _candidates(choices: Sequence[Preference], layer: int) -> Iterator[tuple[float, PreferenceFit]]:
    chosen = matrix([each.chosen for each in choices], layer)
    rejected = matrix([each.rejected for each in choices], layer)
    groups = [each.group for each in choices] * 2
    for emphasis in EMPHASES:
        center, spread = standard(numpy.vstack([chosen, rejected]), emphasis)
        data, labels = _mirrored((chosen - rejected) / spread)
        for penalty, scores in held_out_scores(data, labels, groups, intercept=False).items():
            line = fit(data, labels, penalty, intercept=False)
            # Only differences of scores mean something, so there is no offset.
            calibration = Calibration(Calibration.fit(scores, labels).slope, 0.0)
            head = Head(layer, center, spread, line, calibration)
            accuracy = float((scores[: len(choices)] > 0).mean())
            yield log_loss(scores, labels), PreferenceFit(head, accuracy)


def _mirrored(difference: Matrix) -> tuple[Matrix, Labels]:
    """Each choice seen from both sides, so that both labels are there."""
    count = len(difference)
    labels = numpy.arange(2 * count) < count
    return numpy.vstack([difference, -difference]), labels
