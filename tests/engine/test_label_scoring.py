"""Exact probabilities of labels."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy
import pytest

from tchat.engine.binding import Cancel
from tchat.engine.events import LabelScores
from tchat.engine.model import Model
from tchat.engine.prompt import ChatMessage
from tchat.engine.scoring import LabelScorer
from tchat.settings import Sampling
from tests.engine.conftest import OpenEngine, finished

ASKED = [ChatMessage("user", "Pick one.")]


def shares(engine: object, labels: list[str]) -> dict[str, float]:
    events = list(engine.score_labels(ASKED, labels))  # type: ignore[attr-defined]
    chosen = next(event for event in events if isinstance(event, LabelScores))
    assert finished(events).text == chosen.probabilities[0][0]
    return dict(chosen.probabilities)


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_recurrent", "tiny_sliding"])
def test_probabilities_sum_to_one_best_first(
    open_engine: OpenEngine, request: pytest.FixtureRequest, fixture: str
) -> None:
    engine = open_engine(request.getfixturevalue(fixture))
    found = shares(engine, ["yes", "no", "perhaps so"])
    assert sum(found.values()) == pytest.approx(1)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_order_of_the_labels_does_not_matter(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model)
    one = shares(engine, ["alpha", "beta", "gamma"])
    other = shares(engine, ["gamma", "alpha", "beta"])
    assert one == pytest.approx(other, rel=1e-3)


def test_labels_that_share_a_beginning_are_weighed_as_each_alone(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = open_engine(tiny_model)
    labels = ["value 1 a", "value 1 b", "value 2", "valid", "other"]
    together = shares(engine, labels)
    for one, other in pairwise(labels):
        pair = shares(engine, [one, other])
        assert pair[one] / pair[other] == pytest.approx(together[one] / together[other], rel=0.02)


def test_many_labels_are_decoded_by_their_beginnings(tiny_model: Path) -> None:
    model = Model(tiny_model, cancel=Cancel())
    labels = [f"{prefix}{number:03}" for prefix in ("red-", "green-") for number in range(1000)]
    choice = LabelScorer(model, labels)
    spelled = [tuple(model.tokenize(label, special=False)) for label in labels]
    starts = {tokens[:count] for tokens in spelled for count in range(len(tokens))}
    row = numpy.zeros(model.shape.n_vocab)
    taken = 0
    while not choice.done:
        known = taken and choice.is_known
        choice.add_row(None if known else row)
        taken += not known
    assert taken == len(starts) < sum(map(len, spelled)) / 5
    assert len(choice.probabilities) == 2000
    model.close()


def test_the_greedy_token_is_the_likeliest_label(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model)
    top = finished(engine.generate(ASKED, Sampling(temp=0, max_tokens=1))).text
    assert max(shares(engine, [top, "q"]).items(), key=lambda item: item[1])[0] == top


def test_a_label_that_begins_another_can_lose(open_engine: OpenEngine, starter_model: Path) -> None:
    engine = open_engine(starter_model, ctx_size=512)
    asked = [ChatMessage("user", "Which city is called the Big Apple? Answer in two words.")]
    events = list(engine.score_labels(asked, ["New", "New York"]))
    assert finished(events).text == "New York"


def test_choosing_leaves_the_cache_usable(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model)
    greedy = Sampling(temp=0, max_tokens=20)
    expected = finished(open_engine(tiny_model).generate(ASKED, greedy)).text
    shares(engine, ["red", "green", "blue and yellow"])
    assert finished(engine.generate(ASKED, greedy)).text == expected


def test_an_empty_label_is_weighed_by_the_end_of_the_reply(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    found = shares(open_engine(tiny_model), ["", "yes"])
    assert sum(found.values()) == pytest.approx(1)
    assert all(0 < share < 1 for share in found.values())
