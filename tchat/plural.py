"""Counts with the right form of their noun."""

from __future__ import annotations


def counted(count: int, one: str, more: str = "") -> str:
    """A count with its noun: ``1 reply``, ``1,200 replies``.

    Args:
        count: How many.
        one: The noun for one of them, with its verb where one follows: ``row is``.
        more: For any other count; empty adds an s.
    """
    return f"{count:,} {one if count == 1 else more or one + 's'}"
