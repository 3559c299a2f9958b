"""How well what was typed fits the texts of a list, and the names that complete a word."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
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


class Candidate(NamedTuple):
    """Something that can be put in the place of the word typed.

    Attributes:
        text: What is put there, raw: ``/regen``, ``src/main.py``, ``src/``.
        detail: Shown beside it.
        aliases: Other names that find it.
    """

    text: str
    detail: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that finds it."""
        return (self.text, *self.aliases)


class CompletionMatch(NamedTuple):
    """A candidate, the name that the word was found in, and where in it (character positions)."""

    candidate: Candidate
    name: str
    positions: tuple[int, ...] = ()


def rank(word: str, candidates: Iterable[Candidate], limit: int = 50) -> list[CompletionMatch]:
    """The candidates that hold the characters of ``word`` in their order, the best first.

    Best is the whole name, then its beginning, the beginning of its last path part, of any part of
    it, a place inside, characters apart that begin with a part. Among equals the order stays. Case
    does not count, nor does the folder that ``word`` begins with.
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


def _find(wanted: str, name: str, skipped: int) -> tuple[int, tuple[int, ...]] | None:
    """How well ``name`` behind ``skipped`` matches, 0 is best, and where; None if it does not."""
    folded = name.lower()
    if len(folded) != len(name):  # `İ` folds to two characters, and the positions would be off
        folded = name
    base = folded.rstrip("/").rfind("/") + 1
    whole = folded.rstrip("/")
    for tier, start in ((0, skipped), (2, max(base, skipped))):
        if folded.startswith(wanted, start):
            is_whole = whole[start:] == wanted
            return tier + (not is_whole), tuple(range(start, start + len(wanted)))
    inside = _at_part(wanted, folded, skipped)
    tier = 4
    if inside < 0:
        inside, tier = folded.find(wanted, skipped), 5
    if inside >= 0:
        return tier, tuple(range(inside, inside + len(wanted)))
    return _find_apart(wanted, folded, skipped)


def _at_part(wanted: str, folded: str, start: int) -> int:
    """Where ``wanted`` begins a part of the name; -1 where it does not."""
    at = folded.rfind(wanted, start)
    while at > start and folded[at - 1].isalnum():
        at = folded.rfind(wanted, start, at + len(wanted) - 1)
    return at


def _find_apart(wanted: str, folded: str, start: int) -> tuple[int, tuple[int, ...]] | None:
    """As `_find`, for characters that stand apart; more gaps are worse."""
    at = _at_part(wanted[0], folded, start)
    if at < 0:
        return None
    positions = [at]
    for character in wanted[1:]:
        at = folded.find(character, at + 1)
        if at < 0:
            return None
        positions.append(at)
    gaps = sum(after - before > 1 for before, after in pairwise(positions))
    return 6 + gaps, tuple(positions)
