"""Whether decodes of several tokens give what decodes of single ones give, bit by bit."""

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


def kernel_regime(context: Context, held: int, size: int) -> KernelRegime:
    """Names what holds for decodes of ``size`` tokens behind ``held``."""
    return size, _range(held), context.threads(1), context.threads(size)


def crosses(held: int, size: int) -> bool:
    """Whether a decode of ``size`` tokens behind ``held`` is of two regimes."""
    return _range(held) != _range(held + size - 1)


class ExactnessTrial:
    """Tokens of a reply that are decoded singly, and then once more in one decode.

    Args:
        context: Where.
        kv: Its cache.
        size: Tokens of that one decode.

    Attributes:
        held: Tokens in the cache before.
        same: What came out; None when that says nothing.
        row: Output of the last decode that the reply goes on from.
    """

    def __init__(self, context: Context, kv: KVCache, size: int) -> None:
        self._context, self._kv, self.size = context, kv, size
        self._tokens: list[int] = []
        self._rows: list[Row] = []
        self.held = len(kv.tokens)
        self.same: bool | None = None
        self.row = -1

    @property
    def full(self) -> bool:
        """Whether there is enough to compare."""
        return len(self._tokens) == COMPARED

    def take(self, token: int) -> None:
        """Note a token that was decoded singly just now."""
        self._tokens.append(token)
        self._rows.append(self._context.output(-1))

    def settle(self) -> bool:
        """Decode them all at once and compare; False when it was stopped.

        Afterwards the cache holds them as decoded singly, to the last bit.
        """
        if crosses(self.held, self.size):
            return True
        filled = [*self._tokens, *[self._tokens[0]] * (self.size - COMPARED)]
        self._kv.truncate(self.held)
        if not self._kv.verify(filled):
            return False
        rows = enumerate(self._rows)
        self.same = all((self._context.output(place) == row).all() for place, row in rows)
        if self.same:
            self._kv.truncate(self.held + COMPARED)
            self.row = COMPARED - 1
            return True
        self._kv.truncate(self.held)
        return all(map(self._kv.step, self._tokens))


def _range(held: int) -> int:
    return (held // STEP).bit_length()
