"""Where a generator is steered: towards those of its own replies that the discriminator prefers.

A discriminator's gradient points where a small step changes the score most, also where no reply
of the model ever goes. Here it is weighed by how the model's own replies to one prompt differ:
the covariance of their states with the score. To first order that is what the mean state does when
the replies are drawn with a probability that grows with the score (exponential tilting), which is
where choosing the best of several leads, and there the model can write. Of the score only that
counts which perplexity, diversity and length do not explain, so that these stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from tchat.judge.game.constraints import GameReply
from tchat.judge.logistic_regression import Matrix, Vector

MASSIVE_ACTIVATION = 5.0  # times the median size of a state's numbers


def control_directions(
    replies: Sequence[GameReply],
    scores: Vector,
    layers: Sequence[int],
    sought: Sequence[float] = (0.0, 0.0, 0.0),
) -> dict[int, Vector]:
    """The direction of each layer; zero where no prompt has several replies.

    The few numbers of a state that are many times as large as the others are left alone, since a
    model breaks when they move (Sun et al., "Massive activations in large language models",
    arXiv 2402.17762).

    Args:
        replies: Unsteered, several to a prompt.
        scores: The discriminator's, shape (replies,).
        layers: Which are steered.
        sought: Weight of each of `SCALAR_FEATURES` against 1 for the score; both are counted
            in standard deviations of what the other figures do not explain.
    """
    prompts = [reply.prompt for reply in replies]
    bounded = numpy.clip(scores, -6.0, 6.0)[:, None]  # one reply must not decide for all
    score = _within(bounded, prompts)[:, 0]
    kept = _within(numpy.array([reply.features.plain for reply in replies]), prompts)
    wanted = _standardize(_unexplained(score, kept))
    for at, weight in enumerate(sought):
        wanted += weight * _standardize(_unexplained(kept[:, at], numpy.delete(kept, at, axis=1)))
    return {layer: _tilt(replies, prompts, wanted, layer) for layer in layers}


def _tilt(
    replies: Sequence[GameReply], prompts: Sequence[str], wanted: Vector, layer: int
) -> Vector:
    states = numpy.stack([r.features.states[layer] for r in replies]).astype(numpy.float64)
    sizes = numpy.abs(states).mean(axis=0)
    covariance = _within(states, prompts).T @ wanted / len(replies)
    direction: Vector = numpy.where(
        sizes < MASSIVE_ACTIVATION * numpy.median(sizes), covariance, 0.0
    )
    return direction


def _within(rows: Matrix, prompts: Sequence[str]) -> Matrix:
    """What is left of each row without the mean of its prompt's rows; shape as ``rows``."""
    _, places, counts = numpy.unique(prompts, return_inverse=True, return_counts=True)
    sums = numpy.zeros((len(counts), rows.shape[1]))
    numpy.add.at(sums, places, rows)
    centred: Matrix = rows - (sums / counts[:, None])[places]
    return centred


def _unexplained(values: Vector, by: Matrix) -> Vector:
    """What no line of the columns of ``by`` explains; shape as ``values``."""
    rest: Vector = values - by @ numpy.linalg.lstsq(by, values, rcond=None)[0]
    return rest


def _standardize(values: Vector) -> Vector:
    """In standard deviations; as they are where they do not differ."""
    spread = values.std()
    return values / spread if spread > 1e-9 else values
