"""What the discriminator sees of a reply: averaged hidden states and a few plain figures."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

    from tchat.engine.events import Finished
    from tchat.engine.hidden_states import LayerStates

    Floats = numpy.ndarray[Any, numpy.dtype[numpy.float32]]

SCALAR_FEATURES = ("length", "log_probability", "distinct_2")


@dataclass(frozen=True, slots=True)
class Features:
    """One reply, as a discriminator sees it.

    Args:
        states: Layer to its hidden state averaged over the reply's tokens, shape (width,).
        plain: Values of `SCALAR_FEATURES`: log(1 + tokens), the mean natural
            logarithm of their probability, and the share of token pairs that are different.
    """

    states: Mapping[int, Floats]
    plain: tuple[float, float, float]

    @property
    def tokens(self) -> int:
        """How many tokens the reply has."""
        return round(math.expm1(self.plain[0]))

    @property
    def log_probability(self) -> float:
        """Mean natural logarithm of its tokens' probability, to the unsteered model."""
        return self.plain[1]

    @property
    def distinct_2(self) -> float:
        """Share of its token pairs that are different."""
        return self.plain[2]

    def vector(self, layer: int) -> numpy.ndarray[Any, numpy.dtype[numpy.float64]]:
        """The state of ``layer`` and the plain figures behind it, shape (width + 3,)."""
        import numpy

        return numpy.concatenate([self.states[layer].astype(numpy.float64), self.plain])


def reply_features(observation: LayerStates, tokens: Sequence[int]) -> Features:
    """The features of an observed reply that consists of ``tokens``."""
    plain = (math.log1p(len(tokens)), observation.log_probability, distinct_n(tokens))
    return Features(observation.states, plain)


def generated_reply_features(reply: Finished, layer: int) -> Features | None:
    """The features of a reply that came with an `Observed`, of the final ``layer``.

    None where nothing came with it, or no numbers.
    """
    import numpy

    if reply.hidden_states is None or reply.log_probability is None:
        return None
    if not numpy.isfinite([reply.log_probability, *reply.hidden_states.state]).all():
        return None
    tokens = reply.hidden_states.tokens
    plain = (math.log1p(len(tokens)), reply.log_probability, distinct_n(tokens))
    return Features({layer: reply.hidden_states.state}, plain)


def distinct_n(items: Sequence[Hashable], size: int = 2) -> float:
    """Share of the runs of ``size`` items that are different; 1 where there is none.

    Source: distinct-n of Li et al., "A diversity-promoting objective function", 2016.
    """
    runs = [tuple(items[at : at + size]) for at in range(len(items) - size + 1)]
    return len(set(runs)) / len(runs) if runs else 1.0
