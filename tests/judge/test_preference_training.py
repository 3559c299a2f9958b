"""Choices as groups to hold out together: a reply is never learnt from and judged."""

from __future__ import annotations

import numpy
import pytest

from tchat.engine.prompt import ChatMessage
from tchat.errors import UsageError
from tchat.judge.feedback import PreferencePair, PromptedReply
from tchat.judge.preference_model import (
    PreferenceFeatures,
    can_learn_preference,
    preference_groups,
    train_preference,
)
from tests.judge.synthetic import LAYERS, features


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
