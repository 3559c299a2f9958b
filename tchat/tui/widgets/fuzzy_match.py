"""Whether a filter fits a line, how well, and where."""

from __future__ import annotations

from typing import NamedTuple

# How far from perfect a word's place is; each gap of a word whose letters stand apart adds one.
WHOLE, WORD, INSIDE, APART = 0, 1, 3, 6


class Match(NamedTuple):
    """A fit. ``distance`` is 0 for the best; ``places`` are ascending character positions."""

    distance: int
    places: tuple[int, ...]


def match(query: str, text: str) -> Match | None:
    """How ``query`` fits ``text``; None when it does not.

    Every word of the query must be in the text: at best where the text begins, then where a word
    of it begins, then inside, then with its letters apart but in their order. Case does not count.
    """
    folded = _folded(text)
    distance = 0
    places: set[int] = set()
    for word in _folded(query).split():
        found = _find(word, folded)
        if found is None:
            return None
        distance += found.distance
        places.update(found.places)
    return Match(distance, tuple(sorted(places)))


def _folded(text: str) -> str:
    lower = text.lower()
    # `İ` becomes two characters in lower case, and the places would be off.
    return lower if len(lower) == len(text) else text


def _find(word: str, text: str) -> Match | None:
    at = text.find(word)
    if at < 0:
        return _find_apart(word, text)
    start = at
    while start > 0 and text[start - 1].isalnum():
        start = text.find(word, start + 1)
    if start >= 0:
        return Match(WHOLE if start == 0 else WORD, tuple(range(start, start + len(word))))
    return Match(INSIDE, tuple(range(at, at + len(word))))


def _find_apart(word: str, text: str) -> Match | None:
    places: list[int] = []
    gaps = 0
    at = -1
    for letter in word:
        follows = text.startswith(letter, at + 1)
        at = at + 1 if follows else text.find(letter, at + 1)
        if at < 0:
            return None
        gaps += not follows
        places.append(at)
    return Match(APART + gaps, tuple(places))
