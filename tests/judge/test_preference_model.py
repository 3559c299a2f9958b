"""The Bradley–Terry head on preferences with a known rule."""

from __future__ import annotations

from collections.abc import Callable

import numpy
import pytest

from tchat.judge.features import Features
from tchat.judge.preference_model import PreferenceFeatures, fit_preference, held_out_accuracy
from tests.judge.synthetic import LAYERS, features


def rule_length(one: Features) -> float:
    return -one.plain[0]


def rule_state(one: Features) -> float:
    return float(one.states[1][0] + one.states[1][1])


Rule = Callable[[Features], float]


def choices(rule: Rule, count: int, noise: float, seed: int) -> list[PreferenceFeatures]:
    rng = numpy.random.default_rng(seed)
    found = []
    for group in range(count):
        better, worse = sorted((features(rng), features(rng)), key=rule, reverse=True)
        if rng.random() < noise:
            better, worse = worse, better
        found.append(PreferenceFeatures(better, worse, group))
    return found


@pytest.mark.parametrize(("rule", "reached"), [(rule_length, 0.85), (rule_state, 0.85)])
def test_a_known_rule_is_learnt_from_noisy_choices(rule: Rule, reached: float) -> None:
    """100 pairs, 10 % of them the wrong way around; the rule is one number of 51, or two."""
    fitted = fit_preference(choices(rule, 100, 0.1, seed=1), LAYERS)
    unseen = choices(rule, 400, 0.0, seed=2)
    right = [fitted.head.score(c.chosen) > fitted.head.score(c.rejected) for c in unseen]
    assert sum(right) / len(right) >= reached
    assert fitted.accuracy >= 0.7


def test_without_a_rule_there_is_no_accuracy() -> None:
    fitted = fit_preference(choices(lambda _: 0.0, 100, 0.5, seed=3), LAYERS)
    assert 0.3 < fitted.accuracy < 0.7


def test_held_out_accuracy_is_of_choices_that_training_never_saw() -> None:
    given = choices(rule_length, 60, 0.0, seed=1)
    assert held_out_accuracy(given, LAYERS) > 0.8
    assert held_out_accuracy(choices(rule_length, 60, 0.5, seed=1), LAYERS) < 0.75


def test_replies_that_score_the_same_are_right_by_half() -> None:
    one = features(numpy.random.default_rng(0))
    assert held_out_accuracy([PreferenceFeatures(one, one, n) for n in range(40)], LAYERS) == 0.5
