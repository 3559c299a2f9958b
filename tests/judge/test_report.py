"""What a report says of a verdict."""

from __future__ import annotations

import numpy
import pytest

from tchat.judge.game import fit_outsider, verdict_of
from tchat.judge.guard import Reply
from tests.judge.synthetic import LAYERS, features


def replies(shift: float, count: int, seed: int) -> list[Reply]:
    rng = numpy.random.default_rng(seed)
    return [Reply(f"p{n}", "x", features(rng, shift)) for n in range(count)]


def test_a_verdict_tells_a_gain_from_chance() -> None:
    outsider = fit_outsider(replies(4.0, 60, 1), replies(0.0, 60, 2), LAYERS)
    plain, people = replies(0.0, 80, 3), replies(4.0, 40, 4)
    gained = verdict_of(outsider, plain, replies(4.0, 40, 5), people)
    assert gained.after > 0.8 > 0.2 > gained.before
    assert "chance" not in gained.words
    same = verdict_of(outsider, plain, replies(0.0, 40, 6), people)
    assert same.words.endswith("which may be chance)")
    expected = (same.before * (1 - same.before) / 80 + same.after * (1 - same.after) / 40) ** 0.5
    assert same.error == pytest.approx(expected)
