"""Control vectors: a direction per layer, added to hidden states, and how it is computed.

Source: Zou et al., "Representation engineering", arXiv 2310.01405; the file is the one of
llama.cpp's ``llama-cvector-generator``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from tchat.engine.loading import ControlVector
from tchat.judge.game.constraints import GameReply
from tchat.judge.logistic_regression import Matrix, Vector
from tchat.judge.npz import whole
from tchat.paths import private_folder

ARCHITECTURE = "controlvector"


@dataclass(frozen=True, slots=True)
class Steering:
    """A control vector.

    Args:
        directions: From the layer, from 1 on, to the vector added to its output, shape (n_embd,).
    """

    directions: Mapping[int, Vector]

    def moved(self, gradients: Mapping[int, Vector], step: Mapping[int, float]) -> Steering:
        """Move by ``gradients``, scaled to the length in ``step`` for each layer."""
        moved = dict(self.directions)
        for layer, gradient in gradients.items():
            length = float(numpy.linalg.norm(gradient))
            if length:
                here = moved.get(layer, numpy.zeros_like(gradient))
                moved[layer] = here + gradient * (step[layer] / length)
        return Steering(moved)

    def vectors(self) -> tuple[ControlVector, ...]:
        """For `Engine.steered`; empty without directions."""
        if not self.directions:
            return ()
        width = len(next(iter(self.directions.values())))
        rows = {layer: row.tolist() for layer, row in self.directions.items()}
        return (ControlVector(Path("steering"), width, rows),)


def write_control_vector(steering: Steering, path: Path, *, architecture: str) -> None:
    """Write a GGUF file that tchat and llama.cpp load with ``--control-vector``.

    The file is written atomically.

    Args:
        steering: At least one direction.
        path: The file.
        architecture: GGUF architecture of the model, for example ``llama``.

    Raises:
        StorageError: It cannot be written.
    """
    import gguf

    private_folder(path.parent)
    with whole(path) as partial:
        writer: Any = gguf.GGUFWriter(partial, ARCHITECTURE)
        writer.add_string(f"{ARCHITECTURE}.model_hint", architecture)
        writer.add_uint32(f"{ARCHITECTURE}.layer_count", max(steering.directions))
        for layer, direction in sorted(steering.directions.items()):
            writer.add_tensor(f"direction.{layer}", direction.astype(numpy.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


MASSIVE_ACTIVATION = 5.0  # times the median size of a state's numbers


def control_directions(
    replies: Sequence[GameReply],
    scores: Vector,
    layers: Sequence[int],
    sought: Sequence[float] = (0.0, 0.0, 0.0),
) -> dict[int, Vector]:
    """Compute the direction of each layer: the covariance of hidden states with the score.

    To first order this moves the mean state like sampling replies with a probability that grows
    with the score (exponential tilting), which is where best-of-n leads. Only the part of the score
    counts that perplexity, diversity and length do not explain. Massive activations are not moved,
    since that breaks the model (Sun et al., "Massive activations in large language models",
    arXiv 2402.17762). The direction is zero where no prompt has several replies.

    Args:
        replies: Unsteered, several per prompt.
        scores: Scores of the discriminator, shape (replies,).
        layers: Steered layers.
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
    return {layer: _control_direction(replies, prompts, wanted, layer) for layer in layers}


def _control_direction(
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
    """Subtract from each row the mean of its prompt; shape as ``rows``."""
    _, places, counts = numpy.unique(prompts, return_inverse=True, return_counts=True)
    sums = numpy.zeros((len(counts), rows.shape[1]))
    numpy.add.at(sums, places, rows)
    centred: Matrix = rows - (sums / counts[:, None])[places]
    return centred


def _unexplained(values: Vector, by: Matrix) -> Vector:
    """The residual of a regression on the columns of ``by``; shape as ``values``."""
    rest: Vector = values - by @ numpy.linalg.lstsq(by, values, rcond=None)[0]
    return rest


def _standardize(values: Vector) -> Vector:
    """Divide by the standard deviation, unless it is zero."""
    spread = values.std()
    return values / spread if spread > 1e-9 else values
