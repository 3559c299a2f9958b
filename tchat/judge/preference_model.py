"""The preference model: a Bradley-Terry model over chosen and rejected replies.

Source: Bradley and Terry, "Rank analysis of incomplete block designs", 1952: the probability that
one reply is chosen over another is the logistic function of the difference of their scores.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import compress

import numpy

from tchat.errors import UsageError
from tchat.judge.discriminator import PREFERENCE, Discriminator, TrainingProvenance
from tchat.judge.features import FeatureExtractor, Features
from tchat.judge.linear_head import (
    EMPHASES,
    OUTER_FOLDS,
    Labels,
    LinearHead,
    Matrix,
    PlattScaling,
    Vector,
    feature_matrix,
    fit_sparse,
    group_folds,
    held_out_scores,
    log_loss,
    standardize,
)
from tchat.judge.training import MIN_TO_FIT, TrainingProgress, can_validate
from tchat.judge.training_data import PreferencePair, PromptedReply
from tchat.translation import tr

ROUNDS = (0, 2, 4)  # of `fit_sparse`: from all features mattering to a few


@dataclass(frozen=True, slots=True)
class PreferenceFeatures:
    """The features of a preference pair; pairs of one group are held out together."""

    chosen: Features
    rejected: Features
    group: object


def fit_preference(choices: Sequence[PreferenceFeatures], layers: Sequence[int]) -> LinearHead:
    """Fit the model; cross-validation selects layer, penalty, emphasis and sparsity."""
    found = (each for layer in layers for each in _candidates(choices, layer))
    return min(found, key=lambda each: each.loss).head(choices)


def held_out_accuracy(choices: Sequence[PreferenceFeatures], layers: Sequence[int]) -> float:
    """The accuracy of `fit_preference` on held-out prompts, by nested cross-validation.

    A tie counts as half right.
    """
    right = 0.0
    for train, test in group_folds([each.group for each in choices], OUTER_FOLDS, seed=1):
        head = fit_preference(list(compress(choices, train)), layers)
        unseen = compress(choices, test)
        leads = [head.score(each.chosen) - head.score(each.rejected) for each in unseen]
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

    def head(self, choices: Sequence[PreferenceFeatures]) -> LinearHead:
        center, spread, data, labels = _standardized(choices, self.layer, self.emphasis)
        line = fit_sparse(data, labels, self.penalty, self.rounds, intercept=False)
        # Only differences of scores mean something, so there is no offset.
        calibration = PlattScaling(PlattScaling.fit(self.scores, labels).slope, 0.0)
        return LinearHead(self.layer, center, spread, line, calibration)


def _candidates(choices: Sequence[PreferenceFeatures], layer: int) -> Iterator[_Candidate]:
    groups = [each.group for each in choices] * 2
    for emphasis in EMPHASES:
        _, _, data, labels = _standardized(choices, layer, emphasis)
        for rounds in ROUNDS:
            found = held_out_scores(data, labels, groups, rounds=rounds, intercept=False)
            for penalty, scores in found.items():
                loss = log_loss(scores, labels)
                yield _Candidate(layer, emphasis, rounds, penalty, scores, loss)


def _standardized(
    choices: Sequence[PreferenceFeatures], layer: int, emphasis: float
) -> tuple[Vector, Vector, Matrix, Labels]:
    """Mean and scale of the features, and the scaled differences of the pairs with their labels.

    Each pair is there in both orders, so that both labels occur.
    """
    chosen = feature_matrix([each.chosen for each in choices], layer)
    rejected = feature_matrix([each.rejected for each in choices], layer)
    center, spread = standardize(numpy.vstack([chosen, rejected]), emphasis)
    difference = (chosen - rejected) / spread
    labels = numpy.arange(2 * len(choices)) < len(choices)
    return center, spread, numpy.vstack([difference, -difference]), labels


def read_choices(
    reader: FeatureExtractor, choices: Sequence[PreferencePair]
) -> Generator[TrainingProgress, None, list[PreferenceFeatures]]:
    """Extract the features of each pair; skips replies that are too long.

    Raises:
        InterruptedError: The engine's cancel flag was set.
    """
    known: dict[PromptedReply, Features | None] = {}
    groups = preference_groups(choices)
    found: list[PreferenceFeatures] = []
    for index, choice in enumerate(choices):
        yield TrainingProgress(tr("reading"), index, len(choices))
        for answer in (choice.chosen, choice.rejected):
            if answer not in known:
                known[answer] = reader.features(answer.messages, answer.text)
        chosen, rejected = known[choice.chosen], known[choice.rejected]
        if chosen and rejected:
            found.append(PreferenceFeatures(chosen, rejected, groups[index]))
    return found


def can_learn_preference(choices: Sequence[PreferencePair]) -> bool:
    """Whether there are enough pairs, about several questions, to fit a model."""
    return len(choices) >= MIN_TO_FIT and len(set(preference_groups(choices))) > 1


def preference_groups(choices: Sequence[PreferencePair]) -> list[str]:
    """The cross-validation group of each pair.

    Pairs that share a question, directly or through other pairs, are in one group, so that no reply
    is both in the training and the test set.
    """
    leads: dict[str, str] = {}

    def first(question: str) -> str:
        while (before := leads.setdefault(question, question)) != question:
            question = before
        return question

    for choice in choices:
        leads[first(_question(choice.rejected))] = first(_question(choice.chosen))
    return [first(_question(choice.chosen)) for choice in choices]


def _question(answer: PromptedReply) -> str:
    return answer.messages[-1].content


def train_preference(
    preferences: Sequence[PreferenceFeatures],
    choices: Sequence[PreferencePair],
    layers: Sequence[int],
    *,
    model: str,
    fingerprint: str,
) -> Discriminator:
    """Train the preference model.

    Its accuracy is None with too few pairs, see `can_validate`.

    Raises:
        UsageError: There are too few, or about one question, to fit anything.
    """
    count, groups = len(preferences), {each.group for each in preferences}
    if count < MIN_TO_FIT or len(groups) < 2:
        raise UsageError(
            tr(
                "{count} choices about {groups} questions that have nothing in common are "
                "too few to learn from",
                count=count,
                groups=len(groups),
            ),
            tr(
                "pick among replies (/try, /pick) or rate them until there are {min_to_fit} "
                "choices about several questions",
                min_to_fit=MIN_TO_FIT,
            ),
        )
    digest = hashlib.sha256()
    for choice in choices:
        digest.update(json.dumps(asdict(choice), default=bytes.hex).encode())
    enough = can_validate(count, groups)
    return Discriminator(
        fit_preference(preferences, layers),
        TrainingProvenance(
            model=model,
            fingerprint=fingerprint,
            data=digest.hexdigest(),
            examples=(count, count),
            quality=None,
            layers={},
            created_at=time.time(),
            kind=PREFERENCE,
            accuracy=held_out_accuracy(preferences, layers) if enough else None,
        ),
    )
