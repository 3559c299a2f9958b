"""Fuzzy matching: the texts of a list against a filter, and names that complete a word."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

# The distance of a word by its place; each gap between letters that stand apart adds one.
WHOLE, WORD, INSIDE, APART = 0, 1, 3, 6


class Match(NamedTuple):
    """A match; ``distance`` is 0 for the best, ``places`` are ascending character positions."""

    distance: int
    places: tuple[int, ...]


def match(query: str, text: str) -> Match | None:
    """Match ``query`` against ``text``; None if a word of it is missing.

    Every word of the query must be in the text: at best where the text begins, then where a word
    of it begins, then inside, then with its letters apart but in their order. Case does not count.
    """
    folded = _folded(text)
    distance = 0
    places: set[int] = set()
    for word in _folded(query).split():
        found = _find_word(word, folded)
        if found is None:
            return None
        distance += found.distance
        places.update(found.places)
    return Match(distance, tuple(sorted(places)))


def _folded(text: str) -> str:
    lower = text.lower()
    # `İ` becomes two characters in lower case, and the places would be off.
    return lower if len(lower) == len(text) else text


def _find_word(word: str, text: str) -> Match | None:
    at = text.find(word)
    if at < 0:
        return _find_word_apart(word, text)
    start = at
    while start > 0 and text[start - 1].isalnum():
        start = text.find(word, start + 1)
    if start >= 0:
        return Match(WHOLE if start == 0 else WORD, tuple(range(start, start + len(word))))
    return Match(INSIDE, tuple(range(at, at + len(word))))


def _find_word_apart(word: str, text: str) -> Match | None:
    places = _letters_apart(word, text, 0)
    return Match(APART + _gaps([-1, *places]), tuple(places)) if places else None


def _letters_apart(word: str, text: str, at: int) -> list[int]:
    """The places of the letters of ``word`` in order, from ``at`` on; empty if one is missing."""
    places = []
    for letter in word:
        at = text.find(letter, at)
        if at < 0:
            return []
        places.append(at)
        at += 1
    return places


def _gaps(places: list[int]) -> int:
    return sum(after - before > 1 for before, after in pairwise(places))


class Candidate(NamedTuple):
    """Something that can replace the word typed.

    Attributes:
        text: The replacement, raw: ``regen``, ``src/main.py``, ``src/``.
        detail: Shown beside it.
        aliases: Other names that match it.
    """

    text: str
    detail: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names that match it."""
        return (self.text, *self.aliases)


class CompletionMatch(NamedTuple):
    """A candidate, the name of it that matched, and the character positions in that."""

    candidate: Candidate
    name: str
    positions: tuple[int, ...] = ()


def rank(word: str, candidates: Iterable[Candidate], limit: int = 50) -> list[CompletionMatch]:
    """The candidates that hold the characters of ``word`` in their order, the best first.

    Best is the whole name, then its beginning, the beginning of its last path part, of any part of
    it, a place inside, characters apart that begin with a part. Among equals the order stays. Case
    and the folder that ``word`` begins with do not count.
    """
    folder = word.rpartition("/")[0]
    skipped = len(folder) + 1 if folder else 0
    wanted = word[skipped:].lower()
    scored = []
    for candidate in candidates:
        found = [
            (*hit, alias, name)
            for alias, name in enumerate(candidate.names)
            if name[:skipped].lower() == word[:skipped].lower()
            and (hit := _find(wanted, name, skipped)) is not None
        ]
        if found:
            tier, positions, alias, name = min(found)
            scored.append((tier, bool(alias), CompletionMatch(candidate, name, positions)))
    scored.sort(key=lambda each: each[:2])
    return [match for *_, match in scored[:limit]]


def _find(wanted: str, name: str, skipped: int) -> Match | None:
    """Match ``wanted`` against ``name`` behind ``skipped``; None if it does not match."""
    folded = _folded(name)
    base = folded.rstrip("/").rfind("/") + 1
    whole = folded.rstrip("/")
    for tier, start in ((0, skipped), (2, max(base, skipped))):
        if folded.startswith(wanted, start):
            is_whole = whole[start:] == wanted
            return Match(tier + (not is_whole), tuple(range(start, start + len(wanted))))
    inside = _at_part(wanted, folded, skipped)
    tier = 4
    if inside < 0:
        inside, tier = folded.find(wanted, skipped), 5
    if inside >= 0:
        return Match(tier, tuple(range(inside, inside + len(wanted))))
    return _find_apart(wanted, folded, skipped)


def _at_part(wanted: str, folded: str, start: int) -> int:
    """Where ``wanted`` begins a part of the name; -1 if it does not."""
    at = folded.rfind(wanted, start)
    while at > start and folded[at - 1].isalnum():
        at = folded.rfind(wanted, start, at + len(wanted) - 1)
    return at


def _find_apart(wanted: str, folded: str, start: int) -> Match | None:
    """As `_find`, for characters that stand apart."""
    at = _at_part(wanted[0], folded, start)
    places = _letters_apart(wanted, folded, at) if at >= 0 else []
    return Match(6 + _gaps(places), tuple(places)) if places else None
