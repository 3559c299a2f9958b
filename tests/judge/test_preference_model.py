"""The preference model on preferences with a known rule, and the groups that are held out."""

from __future__ import annotations

from collections.abc import Callable

import numpy
import pytest

from tchat.engine.prompt import ChatMessage
from tchat.errors import UsageError
from tchat.judge.features import Features
from tchat.judge.preference_model import (
    PreferenceFeatures,
    can_learn_preference,
    fit_preference,
    held_out_accuracy,
    preference_groups,
    train_preference,
)
from tchat.judge.training_data import PreferencePair, PromptedReply
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
    right = [fitted.score(c.chosen) > fitted.score(c.rejected) for c in unseen]
    assert sum(right) / len(right) >= reached


def test_without_a_rule_there_is_no_accuracy() -> None:
    assert 0.3 < held_out_accuracy(choices(lambda _: 0.0, 100, 0.5, seed=3), LAYERS) < 0.7


def test_held_out_accuracy_is_of_choices_that_training_never_saw() -> None:
    given = choices(rule_length, 60, 0.0, seed=1)
    assert held_out_accuracy(given, LAYERS) > 0.8
    assert held_out_accuracy(choices(rule_length, 60, 0.5, seed=1), LAYERS) < 0.75


def test_replies_that_score_the_same_are_right_by_half() -> None:
    one = features(numpy.random.default_rng(0))
    assert held_out_accuracy([PreferenceFeatures(one, one, n) for n in range(40)], LAYERS) == 0.5


def answer(question: str, text: str = "a reply") -> PromptedReply:
    return PromptedReply((ChatMessage("user", question),), text)


def choice(chosen: str, rejected: str, number: int = 0) -> PreferencePair:
    return PreferencePair(answer(chosen), answer(rejected, f"no {number}"), number)


def test_choices_about_one_question_are_one_group_in_whatever_session() -> None:
    one, again, other = preference_groups(
        [choice("a", "a", 1), choice("a", "a", 2), choice("b", "b", 3)]
    )
    assert one == again != other


def test_choices_joined_by_a_reply_are_one_group() -> None:
    """One bad reply is held against several good ones, and these against others in turn."""
    joined = preference_groups(
        [choice("a", "x"), choice("b", "x"), choice("b", "y"), choice("c", "z")]
    )
    assert joined[0] == joined[1] == joined[2] != joined[3]


def test_many_good_replies_and_a_single_bad_one_are_nothing_to_learn_from() -> None:
    assert not can_learn_preference([choice(f"q{n}", "the bad one") for n in range(40)])
    assert can_learn_preference([choice(f"q{n}", f"q{n}") for n in range(8)])


def test_a_quality_takes_choices_about_several_questions() -> None:
    rng = numpy.random.default_rng(2)

    def trained(questions: int) -> float | None:
        given = [PreferenceFeatures(features(rng), features(rng), n % questions) for n in range(32)]
        head = train_preference(given, [], LAYERS[:1], model="m", fingerprint="f")
        return head.provenance.accuracy

    assert trained(3) is None
    assert trained(16) is not None
    with pytest.raises(UsageError, match="about 1 questions that have nothing in common"):
        trained(1)
