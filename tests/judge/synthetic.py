"""Made-up features with known answers."""

from __future__ import annotations

import numpy

from tchat.judge.features import Features

WIDTH = 24
LAYERS = (1, 2)


def features(rng: numpy.random.Generator, shift: float = 0.0, **plain: float) -> Features:
    """Noise, shifted along the first axis of layer 1; layer 2 is noise alone."""
    states = {layer: rng.normal(size=WIDTH).astype(numpy.float32) for layer in LAYERS}
    states[1][0] += shift
    return Features(
        states,
        (
            plain.get("length", float(rng.normal(4.0, 0.5))),
            plain.get("log_probability", float(rng.normal(-2.0, 0.3))),
            plain.get("distinct_2", float(rng.uniform(0.8, 1.0))),
        ),
    )
