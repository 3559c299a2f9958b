"""Heads on made-up features whose answer is known; fits against closed forms."""

from __future__ import annotations

import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.judge.features import distinct_n
from tchat.judge.linear_head import (
    Examples,
    PlattScaling,
    auc,
    calibration_error,
    feature_matrix,
    fit,
    fit_head,
    fit_heads,
    fit_sparse,
    group_folds,
    held_out_quality,
    held_out_scores,
    log_loss,
    probability,
)
from tests.judge.synthetic import LAYERS, WIDTH, features

COUNT = 60


def examples(shift: float, *, seed: int = 0, log_probability: float = 0.0) -> Examples:
    rng = numpy.random.default_rng(seed)
    people = [
        features(rng, shift, log_probability=float(rng.normal(-2 - log_probability, 0.3)))
        for _ in range(COUNT)
    ]
    models = [features(rng) for _ in range(COUNT)]
    labels = numpy.arange(2 * COUNT) < COUNT
    return Examples(people + models, labels, [*range(COUNT), *range(COUNT)])


def test_the_layer_that_knows_is_chosen() -> None:
    given = examples(3.0)
    head = fit_head(given, LAYERS)
    assert head.layer == 1
    heads = fit_heads(given, LAYERS)
    assert heads[1].auc > 0.9 > 0.65 > heads[2].auc


def test_the_gradient_points_where_people_are() -> None:
    head = fit_head(examples(3.0), (1,))
    assert int(abs(head.line.weights[:WIDTH]).argmax()) == 0
    assert head.line.weights[0] > 0


def test_a_plain_figure_alone_is_enough() -> None:
    """Three figures among the many of a state: the emphasis lets them count."""
    assert held_out_quality(examples(0.0, log_probability=1.0), (2,)).auc > 0.9


def test_how_many_there_are_of_a_kind_moves_no_balanced_chance() -> None:
    given, labels, groups = examples(2.0)
    keep = numpy.isin(numpy.arange(2 * COUNT), [*range(12), *range(COUNT, 2 * COUNT)])
    few = Examples(given, labels, groups).chosen(keep)
    fitted = fit_heads(few, (1,))[1]
    balanced = fitted.balanced(few.labels)
    new, kinds, _ = examples(2.0, seed=9)
    people = feature_matrix([each for each, kind in zip(new, kinds, strict=True) if kind], 1)
    assert (fitted.head.scores(people) > 0).mean() < 0.5
    assert (balanced.head.scores(people) > 0).mean() > 0.6
    assert balanced.held_out - fitted.held_out == pytest.approx(
        numpy.full(keep.sum(), 1.609), abs=1e-3
    )


def test_noise_has_no_quality() -> None:
    found = held_out_quality(examples(0.0), LAYERS)
    assert 0.35 < found.auc < 0.65
    assert (found.positive, found.negative) == (COUNT, COUNT)


def test_the_quality_promised_is_that_on_new_examples() -> None:
    promised = held_out_quality(examples(1.6), LAYERS)
    head = fit_head(examples(1.6), LAYERS)
    new, labels, _ = examples(1.6, seed=9)
    right = [(head.score(each) > 0) == label for each, label in zip(new, labels, strict=True)]
    assert promised.auc - 0.12 < sum(right) / len(right) + 0.08
    assert promised.calibration_error < 0.15


def test_probabilities_follow_the_scores() -> None:
    given = examples(2.0)
    head = fit_head(given, LAYERS)
    one = given[0][0]
    assert head.probability(one) == pytest.approx(1 / (1 + numpy.exp(-head.score(one))))


def test_distinct_2() -> None:
    assert distinct_n([1, 2, 1, 2]) == pytest.approx(2 / 3)
    assert distinct_n([1]) == 1.0


def separable(count: int, width: int, seed: int = 0) -> tuple[numpy.ndarray, numpy.ndarray]:
    rng = numpy.random.default_rng(seed)
    labels = rng.random(count) < 0.5
    data = rng.normal(size=(count, width))
    data[:, 0] += numpy.where(labels, 2.0, -2.0)
    return data, labels


@pytest.mark.parametrize(("count", "width"), [(200, 5), (20, 60)])
def test_a_fit_is_where_the_gradient_vanishes(count: int, width: int) -> None:
    data, labels = separable(count, width)
    line = fit(data, labels, 0.1)
    error = probability(line.scores(data)) - labels
    slope = data.T @ error + 0.1 * count * line.weights
    assert abs(slope).max() < 1e-2
    assert abs(error.sum()) < 1e-2


def test_a_fit_does_not_depend_on_where_it_starts() -> None:
    data, labels = separable(80, 6)
    cold = fit(data, labels, 0.03)
    warm = fit(data, labels, 0.03, start=fit(data, labels, 0.3))
    assert warm.weights == pytest.approx(cold.weights, abs=1e-3)


def test_without_an_intercept_the_zero_vector_scores_zero() -> None:
    data, labels = separable(80, 6)
    line = fit(data + 1.0, labels, 0.1, intercept=False)
    assert line.bias == pytest.approx(0.0)


def test_known_odds_are_found() -> None:
    """One feature, log-odds 1.5 x - 0.5: with much data and little penalty it is recovered."""
    rng = numpy.random.default_rng(3)
    data = rng.normal(size=(20_000, 1))
    labels = rng.random(20_000) < probability(1.5 * data[:, 0] - 0.5)
    line = fit(data, labels, 1e-6)
    assert line.weights[0] == pytest.approx(1.5, abs=0.08)
    assert line.bias == pytest.approx(-0.5, abs=0.08)


def test_groups_are_never_on_both_sides() -> None:
    groups = [f"prompt {index // 3}" for index in range(60)]
    seen = numpy.zeros(60, dtype=int)
    for train, test in group_folds(groups, 5, seed=1):
        assert not {g for g, t in zip(groups, train, strict=True) if t} & {
            g for g, t in zip(groups, test, strict=True) if t
        }
        seen += test
    assert (seen == 1).all()


def test_a_single_group_cannot_be_held_out() -> None:
    with pytest.raises(ValueError, match="two groups"):
        next(group_folds(["one"] * 8, 5, seed=1))


def test_scores_that_say_nothing_give_each_the_chance_of_all() -> None:
    """They point the wrong way around, so the best that can be said is the share of all."""
    labels = numpy.arange(40) < 10
    fitted = PlattScaling.fit(numpy.where(labels, 1.0, 3.0), labels)
    assert fitted.slope == 0.0
    chances = fitted.probability(numpy.array([-5.0, 0.0, 5.0]))
    assert chances == pytest.approx([0.25] * 3, abs=0.03)


def test_held_out_scores_of_noise_are_at_chance() -> None:
    """The labels are independent of the data: whoever sees the held-out ones would do better."""
    rng = numpy.random.default_rng(5)
    data, labels = rng.normal(size=(300, 40)), numpy.arange(300) % 2 == 0
    for scores in held_out_scores(data, labels, list(range(300))).values():
        assert 0.38 < auc(scores, labels) < 0.62


def test_calibration_undoes_a_known_distortion() -> None:
    rng = numpy.random.default_rng(7)
    scores = rng.normal(scale=2.0, size=20_000)
    labels = rng.random(20_000) < probability(scores)
    found = PlattScaling.fit(3.0 * scores + 1.0, labels)
    assert found.slope == pytest.approx(1 / 3, abs=0.03)
    assert found.offset == pytest.approx(-1 / 3, abs=0.1)
    assert calibration_error(found.probability(3.0 * scores + 1.0), labels) < 0.02


def test_calibration_never_turns_a_score_around() -> None:
    scores = numpy.linspace(-1, 1, 40)
    assert PlattScaling.fit(scores, scores < 0).slope == 0.0


@given(
    st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=40).filter(
        lambda rows: len({label for _, label in rows}) == 2
    )
)
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    yes = [score for score, label in rows if label]
    no = [score for score, label in rows if not label]
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in yes for b in no]
    scores = numpy.array([float(score) for score, _ in rows])
    labels = numpy.array([label for _, label in rows])
    assert auc(scores, labels) == pytest.approx(sum(pairs) / len(pairs))


def test_calibration_error_of_known_bins() -> None:
    chances = numpy.array([0.9] * 10 + [0.1] * 10)
    labels = numpy.array([True] * 5 + [False] * 5 + [False] * 10)
    assert calibration_error(chances, labels, bins=2) == pytest.approx((0.4 + 0.1) / 2)


def test_log_loss_of_a_coin_is_ln_2() -> None:
    assert log_loss(numpy.zeros(4), numpy.array([True, False] * 2)) == pytest.approx(math.log(2))


def test_a_sparse_fit_leaves_the_features_that_matter() -> None:
    data, labels = separable(80, 40)
    data[:, 0] /= 2  # so that it is not told at a glance
    ridge, sparse = fit(data, labels, 0.03), fit_sparse(data, labels, 0.03, 4)
    share = [abs(line.weights[0]) / abs(line.weights).sum() for line in (ridge, sparse)]
    assert share[1] > 0.9 > 2 * share[0]
