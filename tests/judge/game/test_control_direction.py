"""Where a generator is steered, on replies whose best direction is known."""

from __future__ import annotations

import numpy
import pytest

from tchat.judge.features import Features
from tchat.judge.game.constraints import GameReply
from tchat.judge.game.steering import control_directions

WIDTH = 6


def replies(prompts: int = 80, draws: int = 4, massive: float = 0.0) -> list[GameReply]:
    """Axis 0 varies by prompt only, axis 1 freely, axis 2 with diversity, axis 3 hardly."""
    rng = numpy.random.default_rng(3)
    found = []
    for number in range(prompts):
        theme = rng.normal()
        for _ in range(draws):
            state = rng.normal(size=WIDTH) * [0.01, 1.0, 1.0, 0.05, 1.0, 1.0]
            state[0] += 5 * theme
            state[4] += massive
            plain = (float(rng.normal(4, 0.3)), float(rng.normal(-2, 0.3)), 0.8 + 0.1 * state[2])
            made = Features({1: state.astype(numpy.float32)}, plain)
            found.append(GameReply(f"p{number}", "x", made))
    return found


def axis(own: list[GameReply], at: int) -> numpy.ndarray:
    return numpy.array([float(reply.features.states[1][at]) for reply in own])


def shares(direction: numpy.ndarray) -> numpy.ndarray:
    return abs(direction) / numpy.linalg.norm(direction)


def test_it_is_where_replies_to_one_prompt_differ() -> None:
    """The score hangs on all axes alike; what only prompts differ in, or nothing, is no way."""
    own = replies()
    found = control_directions(own, axis(own, 0) + axis(own, 1) + axis(own, 3), (1,))[1]
    assert found[1] > 0
    assert shares(found)[1] > 0.95
    assert shares(found)[[0, 3]].max() < 0.05


def test_diversity_stays_as_it_is() -> None:
    own = replies()
    found = control_directions(own, axis(own, 1) + 3 * axis(own, 2), (1,))[1]
    assert shares(found)[1] > 0.95
    assert shares(found)[2] < 0.05


def test_what_is_sought_besides_is_moved_too() -> None:
    own = replies()
    found = control_directions(own, axis(own, 1), (1,), (0.0, 0.0, 1.0))[1]
    assert found[1] > 0
    assert found[2] > 0
    assert shares(found)[[1, 2]].min() > 0.5
    lowered = control_directions(own, axis(own, 1), (1,), (0.0, 0.0, -1.0))[1]
    assert lowered[2] < 0


def test_massive_activations_are_left_alone() -> None:
    own = replies(massive=100.0)
    found = control_directions(own, axis(own, 1) + axis(own, 4) - 100.0, (1,))[1]
    assert found[4] == 0.0
    assert shares(found)[1] > 0.9


def test_one_reply_a_prompt_shows_no_direction() -> None:
    own = replies(draws=1)
    assert control_directions(own, axis(own, 1), (1,))[1] == pytest.approx(numpy.zeros(WIDTH))
