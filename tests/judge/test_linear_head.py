"""Heads on made-up features whose answer is known."""

from __future__ import annotations

import numpy
import pytest

from tchat.judge.features import Features, distinct_n
from tchat.judge.linear_head import (
    feature_matrix,
    fit_head,
    fit_heads,
    held_out_quality,
    layer_aucs,
)
from tests.judge.synthetic import LAYERS, WIDTH, features

COUNT = 60


def examples(
    shift: float, *, seed: int = 0, log_probability: float = 0.0
) -> tuple[list[Features], numpy.ndarray, list[int]]:
    rng = numpy.random.default_rng(seed)
    people = [
        features(rng, shift, log_probability=float(rng.normal(-2 - log_probability, 0.3)))
        for _ in range(COUNT)
    ]
    models = [features(rng) for _ in range(COUNT)]
    return people + models, numpy.arange(2 * COUNT) < COUNT, [*range(COUNT), *range(COUNT)]


def test_the_layer_that_knows_is_chosen() -> None:
    given = examples(3.0)
    head = fit_head(*given, LAYERS)
    assert head.layer == 1
    found = layer_aucs(*given, LAYERS)
    assert found[1] > 0.9 > 0.65 > found[2]


def test_the_gradient_points_where_people_are() -> None:
    head = fit_head(*examples(3.0), (1,))
    assert int(abs(head.line.weights[:WIDTH]).argmax()) == 0
    assert head.line.weights[0] > 0


def test_a_plain_figure_alone_is_enough() -> None:
    """Three figures among the many of a state: the emphasis lets them count."""
    assert held_out_quality(*examples(0.0, log_probability=1.0), (2,)).auc > 0.9


def test_how_many_there_are_of_a_kind_moves_no_balanced_chance() -> None:
    given, labels, groups = examples(2.0)
    keep = numpy.array([*range(12), *range(COUNT, 2 * COUNT)])
    few = [given[at] for at in keep], labels[keep], [groups[at] for at in keep]
    fitted = fit_heads(*few, (1,))[1]
    balanced = fitted.balanced(few[1])
    new, kinds, _ = examples(2.0, seed=9)
    people = feature_matrix([each for each, kind in zip(new, kinds, strict=True) if kind], 1)
    assert (fitted.head.scores(people) > 0).mean() < 0.5
    assert (balanced.head.scores(people) > 0).mean() > 0.6
    assert balanced.held_out - fitted.held_out == pytest.approx(
        numpy.full(len(keep), 1.609), abs=1e-3
    )


def test_noise_has_no_quality() -> None:
    found = held_out_quality(*examples(0.0), LAYERS)
    assert 0.35 < found.auc < 0.65
    assert (found.positive, found.negative) == (COUNT, COUNT)


def test_the_quality_promised_is_that_on_new_examples() -> None:
    promised = held_out_quality(*examples(1.6), LAYERS)
    head = fit_head(*examples(1.6), LAYERS)
    new, labels, _ = examples(1.6, seed=9)
    right = [(head.score(each) > 0) == label for each, label in zip(new, labels, strict=True)]
    assert promised.auc - 0.12 < sum(right) / len(right) + 0.08
    assert promised.calibration_error < 0.15


def test_probabilities_follow_the_scores() -> None:
    given = examples(2.0)
    head = fit_head(*given, LAYERS)
    one = given[0][0]
    assert head.probability(one) == pytest.approx(1 / (1 + numpy.exp(-head.score(one))))


def test_distinct_2() -> None:
    assert distinct_n([1, 2, 1, 2]) == pytest.approx(2 / 3)
    assert distinct_n([1]) == 1.0
