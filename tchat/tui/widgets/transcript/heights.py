"""Heights of many entries, and where each begins: every question takes O(log n)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Heights:
    """A Fenwick tree over positive heights (Fenwick 1994, "A new data structure for cumulative
    frequency tables").
    """

    def __init__(self, heights: Iterable[int] = ()) -> None:
        self._heights = list(heights)
        # Node n (from 1) holds the sum of the n & -n heights that end with the n-th.
        self._tree = [0, *self._heights]
        for node in range(1, len(self._tree)):
            if (above := node + (node & -node)) < len(self._tree):
                self._tree[above] += self._tree[node]

    def __len__(self) -> int:
        return len(self._heights)

    def __getitem__(self, index: int) -> int:
        return self._heights[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._heights)

    @property
    def total(self) -> int:
        """The sum of all."""
        return self.before(len(self))

    def __setitem__(self, index: int, height: int) -> None:
        change = height - self._heights[index]
        self._heights[index] = height
        node = index + 1
        while change and node < len(self._tree):
            self._tree[node] += change
            node += node & -node

    def append(self, height: int) -> None:
        """Add one at the end."""
        self._heights.append(height)
        node = len(self._heights)
        begin = node - (node & -node)
        self._tree.append(self.before(node - 1) - self.before(begin) + height)

    def before(self, index: int) -> int:
        """The sum of the first ``index`` heights."""
        total = 0
        while index:
            total += self._tree[index]
            index -= index & -index
        return total

    def find(self, position: int) -> tuple[int, int]:
        """The index of the entry that covers ``position``, and how far in it that is.

        Positions outside belong to the first and the last entry; there must be one.
        """
        position = max(0, min(position, self.total - 1))
        index = 0
        for bit in range(len(self._heights).bit_length() - 1, -1, -1):
            ahead = index + (1 << bit)
            if ahead < len(self._tree) and self._tree[ahead] <= position:
                index = ahead
                position -= self._tree[ahead]
        return index, position
