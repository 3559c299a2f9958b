"""How long a step is: as long as it is allowed to be, found in few tries."""

from __future__ import annotations

TRIES = 3  # lengths of a step that are tried: finer ones differ by less than replies do
GROWTH = 1.5  # from an allowed length to the next one, while none was refused
ENOUGH = 0.8  # share of the bounds that is used up: a longer step is not tried


class LineSearch:
    """Lengths to try one after the other: longer until one is refused, then between.

    Args:
        first: The length that it begins with.

    Attributes:
        tries: How many were asked for.
    """

    def __init__(self, first: float) -> None:
        self._now = first
        self._allowed, self._refused = 0.0, 0.0  # the longest and the shortest; 0 for none
        self._enough = False
        self.tries = 0

    def next(self) -> float | None:
        """The next length; None when it is found, or there were `TRIES`."""
        if self.tries == TRIES or self._enough:
            return None
        self.tries += 1
        return self._now

    def note(self, *, allowed: bool, used: float) -> None:
        """Note what became of it: whether it was ``allowed``, and its share of the bounds."""
        if allowed:
            self._allowed = self._now
            self._enough = used >= ENOUGH
        else:
            self._refused = self._now
        if not self._refused:
            self._now = GROWTH * self._allowed
        else:
            self._now = (self._allowed + self._refused) / 2
