"""Which candidates a word could become, the likeliest first."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple


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


class Match(NamedTuple):
    """A candidate, the name that the word was found in, and where in it (character positions)."""

    candidate: Candidate
    name: str
    positions: tuple[int, ...] = ()


def rank(word: str, candidates: Iterable[Candidate], limit: int = 50) -> list[Match]:
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
            scored.append((tier, bool(alias), Match(candidate, name, positions)))
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
