"""The name that a user most likely meant."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, names: Iterable[str], cutoff: float = 0.7) -> str:
    """The name most like ``word``, or the empty string when none is close.

    Args:
        word: What was typed.
        names: What could have been meant.
        cutoff: Smallest likeness that counts, 0..1 (`difflib.SequenceMatcher.ratio`).
    """
    import difflib

    matches = difflib.get_close_matches(word, list(names), n=1, cutoff=cutoff)
    return matches[0] if matches else ""


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """``did you mean `name`?`` as a hint, or the empty string."""
    name = nearest(word, names)
    return f"did you mean `{name}`?" if name else ""
