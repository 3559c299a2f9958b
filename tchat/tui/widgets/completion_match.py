"""Completion: the word at the cursor, and what it could become, the likeliest first."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
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


class Kind(Enum):
    """What a word could become."""

    COMMAND = "/"
    FILE = "@"


class Word(NamedTuple):
    """A word that ends at the cursor.

    Attributes:
        kind: Command or file.
        start: Column of its sign, ``/`` or ``@``.
        text: What is typed behind the sign.
    """

    kind: Kind
    start: int
    text: str

    @property
    def end(self) -> int:
        """Column behind it: the cursor's."""
        return self.start + 1 + len(self.text)


def word_at(line: str, row: int, column: int, entered: str = "") -> Word | None:
    """The word in front of the cursor; None where there is nothing to complete.

    A command stands at the very beginning. A file name begins at an ``@`` behind white space or an
    opening bracket or quote, and ends at white space, except inside ``entered``: the folder that
    completion went into may have blanks in its name.

    Args:
        line: The line that the cursor is on.
        row: Its number; 0 is the first.
        column: The cursor's, in characters.
        entered: Folder accepted before, as it stands behind the ``@``.
    """
    before = line[:column]
    if row == 0 and before.startswith("/"):
        name = before[1:]
        is_name = not any(character.isspace() or character == "/" for character in name)
        return Word(Kind.COMMAND, 0, name) if is_name else None
    start = before.rfind("@")
    while start >= 0:
        text = before[start + 1 :]
        rest = text.removeprefix(entered)
        if any(map(str.isspace, rest)):
            return None
        if start == 0 or before[start - 1].isspace() or before[start - 1] in "([{'\"":
            return Word(Kind.FILE, start, text)
        start = before.rfind("@", 0, start)
    return None
