"""Whether a decode of several tokens equals decodes of single ones, bit by bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from tchat.engine.context import Context
from tchat.engine.kv_cache import KVCache

if TYPE_CHECKING:
    import numpy

    Row = numpy.ndarray[Any, numpy.dtype[numpy.float32]]

COMPARED = 3  # tokens
STEP = 256  # llama.cpp pads the cache to multiples of this, and chooses kernels by its length

KernelRegime: TypeAlias = tuple[int, int, int, int]  # all that the choice of kernels depends on


def kernel_regime(context: Context, cached: int, size: int) -> KernelRegime:
    """What holds for decodes of ``size`` tokens behind ``cached`` ones."""
    return size, _range(cached), context.threads(1), context.threads(size)


def crosses(cached: int, size: int) -> bool:
    """Whether a decode of ``size`` tokens behind ``cached`` ones is of two regimes."""
    return _range(cached) != _range(cached + size - 1)


class ExactnessTrial:
    """Tokens of a reply that are decoded singly, and then once more in one decode.

    Args:
        context: Where.
        kv: Its cache.
        size: Tokens of the one decode.

    Attributes:
        cached_tokens: Tokens in the cache before.
        exact: Whether both were equal; None when that is not known.
        row: Output row of the last decode that the reply continues from.
    """

    def __init__(self, context: Context, kv: KVCache, size: int) -> None:
        self._context, self._kv, self.size = context, kv, size
        self._tokens: list[int] = []
        self._rows: list[Row] = []
        self.cached_tokens = len(kv.tokens)
        self.exact: bool | None = None
        self.row = -1

    @property
    def full(self) -> bool:
        """Whether there are enough tokens to compare."""
        return len(self._tokens) == COMPARED

    def take(self, token: int) -> None:
        """Add a token that was just decoded singly."""
        self._tokens.append(token)
        self._rows.append(self._context.output(-1))

    def run(self) -> bool:
        """Decode them all at once and compare; False when it was stopped.

        Afterwards the cache is as after the single decodes, to the last bit.
        """
        if crosses(self.cached_tokens, self.size):
            return True
        filled = [*self._tokens, *[self._tokens[0]] * (self.size - COMPARED)]
        self._kv.truncate(self.cached_tokens)
        if not self._kv.verify(filled):
            return False
        rows = enumerate(self._rows)
        self.exact = all((self._context.output(place) == row).all() for place, row in rows)
        if self.exact:
            self._kv.truncate(self.cached_tokens + COMPARED)
            self.row = COMPARED - 1
            return True
        self._kv.truncate(self.cached_tokens)
        return all(map(self._kv.step, self._tokens))


def _range(cached: int) -> int:
    return (cached // STEP).bit_length()
