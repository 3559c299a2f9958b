"""The hidden states that come with a reply's logits, averaged while it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tchat.engine.context import Context
from tchat.engine.events import HiddenStates

if TYPE_CHECKING:
    import numpy

    Floats = numpy.ndarray[Any, numpy.dtype[numpy.float32]]


class FinalStates:
    """The sum of the final states of an answer's tokens, and the tokens.

    Args:
        width: Length of a state.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._sum: Floats | None = None
        self._count = 0
        self._tokens: list[int] = []

    def add(self, context: Context, row: int) -> None:
        """Add the state of the answer's last token, the ``row``-th of the last decode."""
        import numpy

        state = numpy.ctypeslib.as_array(context.state(row), shape=(self._width,))
        self._sum = state.copy() if self._sum is None else self._sum + state
        self._count += 1

    def note(self, token: int) -> None:
        """Note a token of the answer; its state comes with the decode that it goes into."""
        self._tokens.append(token)

    @property
    def observed(self) -> HiddenStates | None:
        """The mean; None while no token was decoded."""
        import numpy

        if self._sum is None:
            return None
        mean = (self._sum / self._count).astype(numpy.float32)
        return HiddenStates(mean, tuple(self._tokens))
